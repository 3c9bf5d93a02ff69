//go:build integration

package integration_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestNobodyReadsTheLog fills the pipe that the log goes to: requests are
// answered, the admin listener is, and SIGTERM ends the process in time.
func TestNobodyReadsTheLog(t *testing.T) {
	together(t)
	for _, how := range []string{"a pipe that nobody reads", "a reader that went away"} {
		t.Run(how, func(t *testing.T) {
			port := freePort(t)
			p := newLictor(t, lictorConfig{Rest: fmt.Sprintf("egress {\n  address = \"127.0.0.1:%d\"\n}\npolicy {\n  store = \"memory\"\n}\naccess_log {\n  path = \"-\"\n}\n", port)})
			read, write, err := os.Pipe()
			must(t, err)
			defer read.Close()
			cmd := exec.Command(p.bin, "run", "-config", p.File)
			cmd.Stdout, cmd.Stderr = write, write
			must(t, cmd.Start())
			must(t, write.Close())
			exited := make(chan error, 1)
			go func() { exited <- cmd.Wait() }()
			defer func() { _ = cmd.Process.Kill() }()
			eventually(t, soon, "lictor answers", func() error {
				resp, err := http.Get("http://" + p.Admin + "/readyz")
				if err == nil {
					resp.Body.Close()
				}
				return err
			})
			if how == "a reader that went away" {
				must(t, read.Close())
			}
			proxy, _ := url.Parse(fmt.Sprintf("http://127.0.0.1:%d", port))
			c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}}
			target := "http://10.9.8.7/" + strings.Repeat("x", 1000) // refused, and told in log and access log
			for i := range 1000 {
				resp, err := c.Get(target)
				if err != nil {
					t.Fatalf("request %d: %v", i, err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != 403 {
					t.Fatalf("request %d: %d", i, resp.StatusCode)
				}
			}
			if code, _ := fetch(t, "http://"+p.Admin+"/status"); code != 200 {
				t.Errorf("status: %d", code)
			}
			must(t, cmd.Process.Signal(syscall.SIGTERM))
			select {
			case <-exited:
			case <-time.After(15 * time.Second):
				t.Error("SIGTERM does not end it")
			}
		})
	}
}

// TestConfigurationsThatKill has a running lictor read again what would
// overflow the parser's stack: it lives, and status says what was wrong.
func TestConfigurationsThatKill(t *testing.T) {
	together(t)
	p := startLictor(t, lictorConfig{Rest: "policy {\n  store = \"memory\"\n}\n"})
	good, err := os.ReadFile(p.File)
	must(t, err)
	for name, text := range map[string]string{
		"brackets":  "data_dir = " + strings.Repeat("(", 400_000),
		"operators": "data_dir = " + strings.Repeat("!", 400_000) + "true\n",
		"templates": "data_dir = " + strings.Repeat(`"${`, 200_000),
	} {
		must(t, os.WriteFile(p.File, []byte(text), 0o600))
		must(t, p.cmd.Process.Signal(syscall.SIGHUP))
		eventually(t, soon, name+": status tells of it", func() error {
			if _, text := fetch(t, "http://"+p.Admin+"/status"); !strings.Contains(text, "was not reloaded") {
				return fmt.Errorf("status is %s", text)
			}
			return nil
		})
		if v := metric(t, p, "lictor_config_last_reload_successful"); v != 0 {
			t.Errorf("%s: the metric says %v", name, v)
		}
		must(t, os.WriteFile(p.File, good, 0o600))
		must(t, p.cmd.Process.Signal(syscall.SIGHUP))
		eventually(t, soon, name+": it is well again", func() error {
			if metric(t, p, "lictor_config_last_reload_successful") != 1 {
				return fmt.Errorf("it is not")
			}
			return nil
		})
	}
}
