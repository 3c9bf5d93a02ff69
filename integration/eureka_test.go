//go:build integration

package integration_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"lictor/resolver/eureka/eurekatest"
)

// startEureka runs a server until the test ends.
func startEureka(t *testing.T, opts eurekatest.Options) *eurekatest.Server {
	t.Helper()
	s := eurekatest.New(opts)
	t.Cleanup(s.Close)
	return s
}

// enrol registers an instance at an address.
func enrol(t *testing.T, s *eurekatest.Server, app, id, addr, status string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	must(t, err)
	n, err := strconv.Atoi(port)
	must(t, err)
	s.Register(eurekatest.Instance{ID: id, App: app, HostName: "localhost", IP: host, Port: n, Status: status})
}

func eurekaConfig(options string, urls ...string) string {
	return fmt.Sprintf("resolver \"eureka\" {\n  urls    = %s\n  refresh = \"100ms\"\n%s\n}\n", hclList(urls), options)
}

// serves waits until a path is answered by the backend of that name.
func serves(t *testing.T, p *lictorProcess, path, name string) {
	t.Helper()
	eventually(t, soon, path+" is served by "+name, func() error {
		if status, body := fetch(t, "http://"+p.Gateway+path); status != 200 || body != name {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
}

// Every dialect of server, with and without what it may do otherwise: names in
// any case, gzip, passwords, deltas, one element without its list (E1-E8, E12).
func TestEurekaDialects(t *testing.T) {
	together(t)
	up, spare := startBackend(t, "up"), startBackend(t, "spare")
	tests := []struct {
		name    string
		server  eurekatest.Options
		options string
	}{
		{"Netflix", eurekatest.Options{}, ""},
		{"Netflix with a password and deltas", eurekatest.Options{User: "me", Password: "p-w-d"}, "delta = true"},
		{"Spring Cloud, one element without a list", eurekatest.Options{Base: "/eureka", Single: true, Plain: true}, ""},
		{"Polaris with deltas", eurekatest.Options{Dialect: eurekatest.Polaris, Base: "/eureka"}, "delta = true"},
		{"Amalgam8 with a token in its base", eurekatest.Options{Dialect: eurekatest.Amalgam8, Base: "/api/eureka/t0ken/v2"}, ""},
		{"Amalgam8, which has no deltas", eurekatest.Options{Dialect: eurekatest.Amalgam8, Base: "/api/eureka/t0ken/v2"}, "delta = true"},
		{"by host name", eurekatest.Options{}, "prefer_hostname = true"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			beside(t)
			s := startEureka(t, tt.server)
			enrol(t, s, "orders", "o-1", up.Addr, "UP")
			enrol(t, s, "stays", "s-1", up.Addr, "UP")
			p := startLictor(t, lictorConfig{Rest: eurekaConfig(tt.options, s.URL())})
			for _, path := range []string{"/orders/x", "/ORDERS/x", "/Orders"} {
				serves(t, p, path, "up")
			}
			enrol(t, s, "orders", "o-2", spare.Addr, "UP")
			s.SetStatus("orders", "o-1", "OUT_OF_SERVICE")
			serves(t, p, "/orders/x", "spare")
			enrol(t, s, "fresh", "f-1", spare.Addr, "STARTING")
			asks(t, soon, 503, "GET", "http://"+p.Gateway+"/fresh/x")
			s.SetStatus("fresh", "f-1", "UP")
			serves(t, p, "/fresh/x", "spare")
			s.Cancel("fresh", "f-1")
			asks(t, soon, 503, "GET", "http://"+p.Gateway+"/fresh/x")
			if status, why, _ := ask(t, "GET", "http://"+p.Gateway+"/nobody/x"); status != 503 || why != "unknown_service" {
				t.Errorf("an unknown name: %d %s", status, why)
			}
			if strings.Contains(p.Log(), "p-w-d") {
				t.Error("the password is in the log")
			}
		})
	}
}

// E9, X6: a server that is away, fails, or forgot everything costs nothing.
func TestEurekaAwayUnderLoad(t *testing.T) {
	together(t)
	one := startBackend(t, "one")
	first, second := startEureka(t, eurekatest.Options{}), startEureka(t, eurekatest.Options{Dialect: eurekatest.Polaris})
	for _, s := range []*eurekatest.Server{first, second} {
		enrol(t, s, "orders", "o-1", one.Addr, "UP")
	}
	dir := t.TempDir()
	config := lictorConfig{DataDir: dir, Rest: eurekaConfig(`  empty_hold = "2s"`, first.URL(), second.URL())}
	p := startLictor(t, config)
	serves(t, p, "/orders/x", "one")
	l := startLoad("http://"+p.Gateway+"/orders/x", 4)
	first.Fail(500) // the second one answers
	l.lasts(t, 500*time.Millisecond)
	second.Fail(503) // nobody does
	l.lasts(t, 500*time.Millisecond)
	first.Forget()
	first.Fail(0) // a fresh server, to which nobody has reported yet
	l.lasts(t, time.Second)
	if _, body := fetch(t, "http://"+p.Admin+"/status"); !strings.Contains(body, "are kept until") {
		t.Errorf("status does not say that a loss is held: %s", body)
	}
	enrol(t, first, "orders", "o-1", one.Addr, "UP")
	l.lasts(t, 500*time.Millisecond)
	l.stop(t)

	t.Run("a cold start from the last-good file", func(t *testing.T) {
		eventually(t, soon, "the file is written", func() error {
			_, err := os.Stat(filepath.Join(dir, "catalog-eureka.json"))
			return err
		})
		p.Stop(t)
		first.Fail(500)
		p.Start(t)
		serves(t, p, "/orders/x", "one")
		if _, body := fetch(t, "http://"+p.Admin+"/status"); !strings.Contains(body, `"snapshot": true`) && !strings.Contains(body, `"snapshot":true`) {
			t.Errorf("status does not say so: %s", body)
		}
	})
	t.Run("a loss that lasts is believed", func(t *testing.T) {
		first.Fail(0)
		eventually(t, soon, "the server is read again", func() error { return logged(p, "eureka answers") })
		first.Cancel("orders", "o-1")
		asks(t, soon, 503, "GET", "http://"+p.Gateway+"/orders/x")
	})
}

// D10: the first resolver with a usable instance wins, in the file's order;
// E7: rules for the service hold however a path spells it.
func TestResolverOrder(t *testing.T) {
	together(t)
	c := startConsul(t)
	s := startEureka(t, eurekatest.Options{})
	inConsul, inEureka, inFile := startBackend(t, "consul"), startBackend(t, "eureka"), startBackend(t, "static")
	register(t, c, "both", "both-1", inConsul.Addr, ttlCheck("passing"))
	setCheck(t, c, "both-1", "passing")
	enrol(t, s, "both", "b-1", inEureka.Addr, "UP")
	enrol(t, s, "orders", "o-1", inEureka.Addr, "UP")
	rest := consulConfig(c, "") + eurekaConfig("", s.URL()) +
		fmt.Sprintf("resolver \"static\" {\n  services = { \"both\" = [%q], \"last\" = [%q] }\n}\n", inFile.URL, inFile.URL)
	p := startLictor(t, lictorConfig{Rest: rest})
	serves(t, p, "/both/x", "consul")
	serves(t, p, "/last/x", "static")
	serves(t, p, "/orders/x", "eureka")
	setCheck(t, c, "both-1", "critical")
	serves(t, p, "/both/x", "eureka")
	s.SetStatus("both", "b-1", "DOWN")
	serves(t, p, "/both/x", "static")
	setCheck(t, c, "both-1", "passing")
	serves(t, p, "/both/x", "consul")

	kvPut(t, c, "lictor/policy/acls/a", `{"id": "a", "api": "orders", "groups": ["staff"]}`)
	kvPut(t, c, "lictor/policy/blacklist/b", `["/both/admin"]`)
	kvPut(t, c, "lictor/policy/blacklist/c", `["service:last"]`)
	eventually(t, soon, "the rules are in force", func() error {
		if status, why, _ := ask(t, "GET", "http://"+p.Gateway+"/last/x"); status != 403 {
			return fmt.Errorf("%d %s", status, why)
		}
		return nil
	})
	var wrong []error
	for path, want := range map[string]int{
		"/orders/x": 401, "/ORDERS/x": 401, "/Orders": 401, "/oRDERS/../orders/x": 401,
		"/both/admin": 403, "/BOTH/admin": 403, "/Both/x/..%2fadmin": 403, "/both/x": 200, "/BOTH/x": 200,
	} {
		if status, why, _ := ask(t, "GET", "http://"+p.Gateway+path); status != want {
			wrong = append(wrong, fmt.Errorf("%s: got %d %s, want %d", path, status, why, want))
		}
	}
	if err := errors.Join(wrong...); err != nil {
		t.Error(err)
	}
}
