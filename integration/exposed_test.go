//go:build integration

package integration_test

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
)

// openWarning begins the line that warns of a gateway that exposes everything.
const openWarning = "a path reaches every service in consul"

// TestWhatAPathMayReach: K1, the default of hide, and SIGHUP.
func TestWhatAPathMayReach(t *testing.T) {
	together(t)
	c := startConsul(t)
	b, tagged := startBackend(t, "any"), startBackend(t, "tagged")
	for _, name := range []string{"shop", "cart", "nomad", "nomad-client", "nomad-server", "vault"} {
		register(t, c, name, name, b.Addr)
	}
	register(t, c, "shop", "shop-tagged", tagged.Addr, withTags("public"))
	p := startLictor(t, lictorConfig{Rest: consulConfig(c, "")})
	url := func(name string) string { return "http://" + p.Gateway + "/" + name + "/x" }
	asks(t, soon, 200, "GET", url("shop"))
	asks(t, soon, 200, "GET", url("cart"))
	for _, name := range []string{"consul", "nomad", "nomad-client", "nomad-server", "vault", "lictor"} {
		if status, why, _ := ask(t, "GET", url(name)); status != 503 || why != "unknown_service" {
			t.Errorf("%s is hidden: got %d %s", name, status, why)
		}
	}
	reload := func(options string) {
		t.Helper()
		p.Configure(t, lictorConfig{Rest: consulConfig(c, options)})
		p.Signal(t, syscall.SIGHUP)
	}
	reload(`hide = ["cart"]`)
	asks(t, soon, 503, "GET", url("cart"))
	asks(t, soon, 200, "GET", url("vault"))
	reload(`expose = ["cart"]`)
	asks(t, soon, 200, "GET", url("cart"))
	asks(t, soon, 503, "GET", url("shop"))
	reload(`tag = "public"`)
	asks(t, soon, 503, "GET", url("cart"))
	asks(t, soon, 200, "GET", url("shop"))
	for range 4 {
		if _, body := fetch(t, url("shop")); body != "tagged" {
			t.Errorf("an instance without the tag answers: %s", body)
		}
	}
	reload(`expose = ["["]`)
	eventually(t, soon, "the mistake is told", func() error {
		if !strings.Contains(p.Log(), "the configuration is wrong") {
			return fmt.Errorf("the log is %s", p.Log())
		}
		return nil
	})
	asks(t, soon, 200, "GET", url("shop"))
	if strings.Contains(p.Log(), "needs a restart") || strings.Contains(p.Log(), openWarning) {
		t.Errorf("the log says\n%s", p.Log())
	}
}

// TestAStartThatExposesEverythingWarns, once, and only where other machines reach it.
func TestAStartThatExposesEverythingWarns(t *testing.T) {
	together(t)
	c := startConsul(t)
	tests := []struct {
		name, host, options string
		want                int
	}{
		{"every service on every address", "0.0.0.0", "", 1},
		{"said in so many words", "0.0.0.0", `expose = ["*"]`, 1},
		{"on loopback", "127.0.0.1", "", 0},
		{"names are named", "0.0.0.0", `expose = ["shop"]`, 0},
		{"a tag is wanted", "0.0.0.0", `tag = "public"`, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newLictor(t, lictorConfig{})
			_, port, err := net.SplitHostPort(p.Gateway)
			if err != nil {
				t.Fatal(err)
			}
			p.Gateway = net.JoinHostPort(tt.host, port)
			p.Configure(t, lictorConfig{Rest: consulConfig(c, tt.options)})
			p.Start(t)
			p.Ready(t)
			p.Stop(t)
			if got := strings.Count(p.Log(), openWarning); got != tt.want || tt.want == 1 && !strings.Contains(p.Log(), "[WARN]") {
				t.Errorf("the log warns %d times, want %d:\n%s", got, tt.want, p.Log())
			}
		})
	}
}
