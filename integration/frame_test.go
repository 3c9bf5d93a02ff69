//go:build integration

package integration_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runLictor runs a command to its end and returns its exit status and output.
func runLictor(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	bin, err := lictorBinary()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	cmd := exec.Command(bin, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// client gives up in time, so that a gateway that hangs fails one test and not all.
var client = &http.Client{Timeout: 30 * time.Second}

// fetch sends a GET with headers and returns the status and the body.
func fetch(t *testing.T, url string, header ...string) (int, string) {
	t.Helper()
	resp, body := askAccepting(t, client, http.MethodGet, url, "", header...)
	return resp.StatusCode, body
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestValidateShowsAllMistakes(t *testing.T) { // X15
	together(t)
	path := writeFile(t, `gateway {
  address = "8000"
  timeout = "soon"
}
resolver "static" {
  services = { a = ["ftp://x"] }
}
nonsense {
}
`)
	for _, command := range []string{"validate", "run"} {
		t.Run(command, func(t *testing.T) {
			status, stdout, stderr := runLictor(t, command, "-config", path)
			if status != 2 || stdout != "" {
				t.Errorf("got status %d and %q on stdout, want 2 and nothing", status, stdout)
			}
			for _, want := range []string{":2,13-19: ", ":3,13-19: ", ":6,21-30: ", ":8,1-9: "} {
				if !strings.Contains(stderr, path+want) {
					t.Errorf("no mistake at %s in\n%s", want, stderr)
				}
			}
			if got := strings.Count(stderr, "\n"); got != 4 {
				t.Errorf("got %d lines, want one for each of 4 mistakes:\n%s", got, stderr)
			}
		})
	}
}

func TestAdminWithoutTokenIsRefusedBeyondLoopback(t *testing.T) { // X8
	together(t)
	path := writeFile(t, "admin {\n  address = \"0.0.0.0:0\"\n}\n")
	if status, _, stderr := runLictor(t, "run", "-config", path); status != 2 || !strings.Contains(stderr, path+":2,13-24: admin: a token is needed") {
		t.Errorf("got status %d, %q", status, stderr)
	}
}

func TestPortInUseIsNamed(t *testing.T) { // X16
	together(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	tests := []struct{ name, gateway, admin string }{
		{"by the gateway", taken, "127.0.0.1:0"},
		{"by admin", "127.0.0.1:0", taken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := writeFile(t, fmt.Sprintf("data_dir = \"\"\ngateway {\n address = %q\n}\nadmin {\n address = %q\n}\n", tt.gateway, tt.admin))
			if status, _, stderr := runLictor(t, "run", "-config", path); status != 1 || !strings.Contains(stderr, taken) {
				t.Errorf("got status %d, %q, want 1 and %s", status, stderr, taken)
			}
			if status, _, stderr := runLictor(t, "run", "-dev", "-gateway-address", tt.gateway, "-egress-address", "127.0.0.1:0", "-admin-address", tt.admin); status != 1 || !strings.Contains(stderr, taken) {
				t.Errorf("-dev: got status %d, %q, want 1 and %s", status, stderr, taken)
			}
		})
	}
}

func TestDataDirIsCheckedAtTheStart(t *testing.T) {
	together(t)
	notADir := writeFile(t, "")
	path := writeFile(t, fmt.Sprintf("data_dir = %q\ngateway {\n address = \"127.0.0.1:0\"\n}\nadmin {\n address = \"127.0.0.1:0\"\n}\nresolver \"consul\" {\n}\n", notADir+"/sub"))
	if status, _, stderr := runLictor(t, "run", "-config", path); status != 1 || !strings.Contains(stderr, "data_dir") {
		t.Errorf("got status %d, %q, want 1 and data_dir", status, stderr)
	}
}

// slowBackend answers a request to /wait only when told to.
func slowBackend(t *testing.T) (url string, arrived, leave chan struct{}) {
	t.Helper()
	arrived, leave = make(chan struct{}, 1), make(chan struct{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			arrived <- struct{}{}
			<-leave
		}
		io.WriteString(w, "served")
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return "http://" + l.Addr().String(), arrived, leave
}

// later is the outcome of a request that was sent in the background.
type later struct {
	body string
	err  error
}

func getLater(url string) <-chan later {
	out := make(chan later, 1)
	go func() {
		resp, err := client.Get(url)
		if err != nil {
			out <- later{err: err}
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		out <- later{body: string(body), err: err}
	}()
	return out
}

// wantArrival waits until the backend has the request.
func wantArrival(t *testing.T, arrived <-chan struct{}, answer <-chan later) {
	t.Helper()
	select {
	case <-arrived:
	case got := <-answer:
		t.Fatalf("the request did not reach the backend: %+v", got)
	}
}

func TestSIGTERMDrains(t *testing.T) { // X16
	together(t)
	url, arrived, leave := slowBackend(t)
	p := startLictor(t, lictorConfig{Rest: staticConfig("slow", url)})
	answer := getLater("http://" + p.Gateway + "/slow/wait")
	wantArrival(t, arrived, answer)
	p.Signal(t, syscall.SIGTERM)
	eventually(t, soon, "new connections are refused", func() error {
		c, err := net.Dial("tcp", p.Gateway)
		if err == nil {
			c.Close()
			return fmt.Errorf("%s still accepts", p.Gateway)
		}
		return nil
	})
	if status, body := fetch(t, "http://"+p.Admin+"/readyz"); status != 503 || !strings.Contains(body, `"reason": "stopping"`) {
		t.Errorf("/readyz while draining: got %d %s, want 503", status, body)
	}
	close(leave)
	if got := <-answer; got.err != nil || got.body != "served" {
		t.Errorf("the request under way got %+v", got)
	}
	if status := p.Wait(t, 20*time.Second); status != 0 {
		t.Errorf("exit status: got %d, want 0", status)
	}
}

func TestDrainEnds(t *testing.T) { // X16
	together(t)
	url, arrived, leave := slowBackend(t)
	defer close(leave)
	p := startLictor(t, lictorConfig{Gateway: `  drain = "500ms"`, Rest: staticConfig("slow", url)})
	answer := getLater("http://" + p.Gateway + "/slow/wait")
	wantArrival(t, arrived, answer)
	began := time.Now()
	if status := p.Stop(t); status != 0 {
		t.Errorf("exit status: got %d, want 0", status)
	}
	if took := time.Since(began); took < 400*time.Millisecond || took > 5*time.Second {
		t.Errorf("ended after %s, want the 500ms of drain", took)
	}
	if got := <-answer; got.err == nil {
		t.Errorf("the request that was cut looks complete: %+v", got)
	}
}

func TestSIGHUPReloads(t *testing.T) { // X10
	together(t)
	url, _, _ := slowBackend(t)
	p := startLictor(t, lictorConfig{Rest: staticConfig("first", url)})
	gateway := "http://" + p.Gateway
	if status, _ := fetch(t, gateway+"/second/"); status != 503 {
		t.Errorf("before: got %d, want 503", status)
	}

	p.Configure(t, lictorConfig{Rest: staticConfig("second", url) + "nonsense {\n}\n"})
	p.Signal(t, syscall.SIGHUP)
	eventually(t, soon, "the mistake is logged", func() error {
		return logged(p, p.File+":")
	})
	if status, _ := fetch(t, gateway+"/first/"); status != 200 {
		t.Errorf("after a mistake: got %d, want the former configuration", status)
	}

	p.Configure(t, lictorConfig{Gateway: `  max_body = "1"`, Admin: `  header = "X-Other"`, Rest: staticConfig("second", url)})
	p.Signal(t, syscall.SIGHUP)
	eventually(t, soon, "the reload is logged", func() error { return logged(p, "generation=2") })
	eventually(t, soon, "what was not reloaded is logged", func() error { return logged(p, "needs a restart: options=admin") })
	if status, _ := fetch(t, gateway+"/second/"); status != 200 {
		t.Errorf("after: got %d, want 200", status)
	}
	resp, err := client.Post(gateway+"/second/", "text/plain", strings.NewReader("long"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("a body past the new max_body: got %d, want 413", resp.StatusCode)
	}
}

func logged(p *lictorProcess, want string) error {
	if !strings.Contains(p.Log(), want) {
		return fmt.Errorf("no %q in the log", want)
	}
	return nil
}

func TestAdminToken(t *testing.T) { // X8
	together(t)
	p := startLictor(t, lictorConfig{Admin: `  token = "secret"`, Rest: staticConfig("a")})
	tests := []struct {
		name   string
		path   string
		header []string
		status int
		reason string
	}{
		{"none", "/status", nil, 401, "no_token"},
		{"wrong", "/status", []string{"X-Admin-Token", "no"}, 403, "wrong_token"},
		{"right", "/status", []string{"X-Admin-Token", "secret"}, 200, ""},
		{"right as bearer", "/metrics", []string{"Authorization", "Bearer secret"}, 200, ""},
		{"not needed", "/healthz", nil, 200, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, body := fetch(t, "http://"+p.Admin+tt.path, tt.header...)
			var said struct{ Reason string }
			if tt.reason != "" {
				if err := json.Unmarshal([]byte(body), &said); err != nil {
					t.Fatal(err)
				}
			}
			if status != tt.status || said.Reason != tt.reason {
				t.Errorf("got %d %q, want %d %q", status, said.Reason, tt.status, tt.reason)
			}
		})
	}
	t.Run("the status command sends it", func(t *testing.T) {
		if status, stdout, stderr := runLictor(t, "status", "-admin", p.Admin, "-token", "secret"); status != 0 || !strings.Contains(stdout, "RESOLVER") {
			t.Errorf("got %d %q %q", status, stdout, stderr)
		}
		if status, _, stderr := runLictor(t, "status", "-admin", p.Admin); status != 1 || !strings.Contains(stderr, "no_token") {
			t.Errorf("without it: got %d %q", status, stderr)
		}
	})
}

// TestDevNeedsNothing runs the lines that run -dev prints.
func TestDevNeedsNothing(t *testing.T) { // contract 1
	together(t)
	bin, err := lictorBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "run", "-dev", "-gateway-address", "127.0.0.1:0", "-egress-address", "127.0.0.1:0", "-admin-address", "127.0.0.1:0")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Signal(syscall.SIGINT)
		if err := cmd.Wait(); err != nil {
			t.Errorf("after SIGINT: %v", err)
		}
	}()
	line := regexp.MustCompile(`^  curl (?:-N )?(?:-H '(.*): (.*)' )?'?(http://[^']*)'?$`)
	tried := 0
	for in := bufio.NewScanner(stdout); tried < 3 && in.Scan(); {
		m := line.FindStringSubmatch(in.Text())
		if m == nil {
			continue
		}
		tried++
		url, header := m[3], []string(nil)
		if strings.HasSuffix(url, "/stream") {
			url += "?events=1"
		}
		if m[1] != "" {
			header = []string{m[1], m[2]}
		}
		if status, body := fetch(t, url, header...); status != 200 || !strings.Contains(body, "echo") {
			t.Errorf("%s: got %d %s", in.Text(), status, body)
		}
	}
	if tried != 3 {
		t.Errorf("got %d curl lines, want 3", tried)
	}
}
