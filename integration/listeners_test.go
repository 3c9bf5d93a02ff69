//go:build integration

package integration_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lictor/app/listener/certtest"
)

// listenerBlock is a block listener at a free port, and where that is.
func listenerBlock(t *testing.T, name, more string) (block, addr string) {
	t.Helper()
	addr = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	return fmt.Sprintf("listener %q {\n  address = %q\n%s}\n", name, addr, more), addr
}

// telling is a service that says who came, and how.
func telling(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Real-IP"), " ", r.Header.Get("X-Forwarded-Proto"), " ", r.Header.Get("X-Consumer-Username"))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// says asks once and returns the status and the body.
func says(client *http.Client, url string, header ...string) string {
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return err.Error()
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return "no answer"
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(resp.StatusCode, " ", string(body))
}

// D28: one listener by TLS for everybody, a plain one for a balancer and one by mTLS
// for partners, with the same services, the same policy, and beliefs of their own.
func TestListeners(t *testing.T) {
	together(t)
	ca, partners, staff := certtest.NewCA(t), certtest.NewCA(t), certtest.NewCA(t)
	block, dir := tlsConfig(t, ca)
	clients := partners.WriteCA(t, dir)
	store, access := filepath.Join(dir, "policy"), filepath.Join(dir, "access.log")
	write(t, store+"/consumers/ann", `{"name": "ann", "custom_id": "ann.partner.test"}`)
	write(t, store+"/consumers/root", `{"name": "root", "custom_id": "root.staff.test"}`)
	write(t, store+"/acls/1", `{"api": "closed", "consumers": ["ann", "root"]}`)
	mtls, mtlsAddr := listenerBlock(t, "partners", "  client_names = [\"*.partner.test\"]\n"+strings.TrimSuffix(block, "  }\n")+fmt.Sprintf("    client_ca_file = %q\n  }\n", clients))
	plain, plainAddr := listenerBlock(t, "internal", "  trusted_proxies = [\"127.0.0.0/8\"]\n")
	url := telling(t)
	config := func(listeners string) lictorConfig {
		return lictorConfig{
			Gateway: block + "shutdown_delay = \"300ms\"\n",
			Rest: listeners + fmt.Sprintf("resolver \"static\" {\n  services = { svc = [%q], closed = [%[1]q] }\n}\npolicy {\n  store = \"file\"\n  dir = %q\n}\naccess_log {\n  path = %q\n}\n",
				url, store, access),
		}
	}
	p := startLictor(t, config(mtls+plain))
	by := func(of *certtest.CA, names ...string) *http.Client {
		cfg := &tls.Config{RootCAs: ca.Pool()}
		if of != nil {
			cfg.Certificates = []tls.Certificate{of.Issue(t, names...)}
		}
		transport := &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true, ForceAttemptHTTP2: true}
		return &http.Client{Transport: transport, Timeout: 20 * time.Second}
	}
	forged := []string{"X-Forwarded-For", "203.0.113.9", "X-Forwarded-Proto", "https", "X-Consumer-Username", "root"}
	for _, c := range []struct {
		name, url string
		client    *http.Client
		want      string
	}{
		{"by TLS", "https://" + p.Gateway + "/svc/", by(nil), "200 127.0.0.1 https "},
		{"by the balancer's, in plain text, which is believed", "http://" + plainAddr + "/svc/", by(nil), "200 203.0.113.9 https "},
		{"a partner, which is not", "https://" + mtlsAddr + "/svc/", by(partners, "ann.partner.test"), "200 127.0.0.1 https ann"},
		{"a partner, where only consumers may", "https://" + mtlsAddr + "/closed/", by(partners, "ann.partner.test"), "200 127.0.0.1 https ann"},
		{"a partner with a name of the staff's", "https://" + mtlsAddr + "/closed/", by(partners, "root.staff.test"), "401"},
		{"a stranger at the partners'", "https://" + mtlsAddr + "/svc/", by(staff, "ann.partner.test"), "no answer"},
		{"nobody at the partners'", "https://" + mtlsAddr + "/svc/", by(nil), "no answer"},
		{"a partner's certificate elsewhere", "https://" + p.Gateway + "/closed/", by(partners, "ann.partner.test"), "401"},
		{"the balancer's listener knows nobody", "http://" + plainAddr + "/closed/", by(nil), "401"},
		{"plain text where TLS is spoken", "http://" + mtlsAddr + "/svc/", by(nil), "400"},
	} {
		if got := says(c.client, c.url, forged...); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}

	var listeners []string
	for _, l := range p.Status(t).Listeners {
		listeners = append(listeners, l.Name+" "+l.Address)
	}
	if got := strings.Join(listeners, ", "); !strings.Contains(got, "partners "+mtlsAddr+", internal "+plainAddr) {
		t.Errorf("the status lists %s", got)
	}
	if got := says(by(nil), "http://"+p.Admin+"/metrics"); !strings.Contains(got, `lictor_requests_total{code="2xx",listener="partners",service="svc"} 1`) ||
		!strings.Contains(got, `lictor_denied_total{api="closed",listener="internal",mode="enforce",reason="no_credentials",service="closed"} 1`) || !strings.Contains(got, `lictor_client_connections{listener="internal"}`) ||
		!strings.Contains(got, `lictor_certificate_expiry_seconds{listener="partners"`) {
		t.Errorf("the metrics are\n%s", got)
	}
	eventually(t, soon, "the log names the listeners", func() error {
		text, err := os.ReadFile(access)
		count := map[string]int{}
		for line := range strings.Lines(string(text)) {
			var l struct{ Listener string }
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				return err
			}
			count[l.Listener]++
		}
		if want := map[string]int{"": 2, "internal": 2, "partners": 4}; err != nil || fmt.Sprint(count) != fmt.Sprint(want) {
			return fmt.Errorf("got %v, want %v", count, want)
		}
		return nil
	})

	// Another authority counts at once, and at its listener alone.
	staff.WriteCA(t, dir)
	eventually(t, soon, "the new authority counts", func() error {
		if got := says(by(staff, "ann.partner.test"), "https://"+mtlsAddr+"/closed/"); got != "200 127.0.0.1 https ann" {
			return fmt.Errorf("got %s", got)
		}
		return nil
	})

	// Whom a listener trusts changes by SIGHUP; one that comes or goes waits, and is told.
	other, otherAddr := listenerBlock(t, "other", "")
	p.Configure(t, config(strings.Replace(plain, "127.0.0.0/8", "192.0.2.0/24", 1)+other))
	p.Signal(t, syscall.SIGHUP)
	eventually(t, soon, "the balancer is not believed any more", func() error {
		if got := says(by(nil), "http://"+plainAddr+"/svc/", forged...); got != "200 127.0.0.1 http " {
			return fmt.Errorf("got %s", got)
		}
		return nil
	})
	if problems := strings.Join(p.Status(t).Problems, "\n"); !strings.Contains(problems, `needs a restart: listener "partners", listener "other"`) {
		t.Errorf("the status tells %s", problems)
	}
	if got := says(by(staff, "ann.partner.test"), "https://"+mtlsAddr+"/closed/"); got != "200 127.0.0.1 https ann" {
		t.Errorf("the partners' listener is gone before the restart: %s", got)
	}
	if status := p.Stop(t); status != 0 {
		t.Errorf("it ends with %d", status)
	}
	p.Start(t)
	if got := says(by(nil), "http://"+otherAddr+"/svc/", forged...); got != "200 127.0.0.1 http " {
		t.Errorf("after the restart: %s", got)
	}
	if got := says(by(staff, "ann.partner.test"), "https://"+mtlsAddr+"/closed/"); got != "no answer" {
		t.Errorf("the listener that went: %s", got)
	}
}

// D28, X16: at SIGTERM all listeners serve on for shutdown_delay, and then let what is
// under way end.
func TestListenersDrain(t *testing.T) {
	together(t)
	arrived, end := make(chan struct{}, 2), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			arrived <- struct{}{}
			<-end
		}
		fmt.Fprint(w, "whole")
	}))
	t.Cleanup(s.Close)
	block, addr := listenerBlock(t, "internal", "")
	p := startLictor(t, lictorConfig{Gateway: "shutdown_delay = \"2s\"\n", Rest: block + staticConfig("svc", s.URL)})
	p.Ready(t)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	answers := make(chan string, 2)
	for _, at := range []string{p.Gateway, addr} {
		go func() { answers <- says(client, "http://"+at+"/svc/wait") }()
		<-arrived
	}
	p.Signal(t, syscall.SIGTERM)
	eventually(t, soon, "it is about to stop", func() error {
		if got := says(client, "http://"+p.Admin+"/readyz"); !strings.Contains(got, "stopping") {
			return fmt.Errorf("got %s", got)
		}
		return nil
	})
	for _, at := range []string{p.Gateway, addr} {
		if got := says(client, "http://"+at+"/svc/"); got != "200 whole" {
			t.Errorf("%s within the delay: %s", at, got)
		}
	}
	for _, at := range []string{p.Gateway, addr} {
		eventually(t, soon, "the listener closes", func() error {
			c, err := net.Dial("tcp", at)
			if err == nil {
				c.Close()
				return fmt.Errorf("%s is open", at)
			}
			return nil
		})
	}
	close(end)
	for range 2 {
		if got := <-answers; got != "200 whole" {
			t.Errorf("what was under way: %s", got)
		}
	}
	if status := p.Wait(t, soon); status != 0 {
		t.Errorf("it ends with %d", status)
	}
}

// D28: addresses that cannot both be had, in whatever spelling, are told before
// anything listens, and one that somebody else has is named.
func TestListenersThatConflict(t *testing.T) {
	together(t)
	file := filepath.Join(t.TempDir(), "lictor.hcl")
	port := freePort(t)
	text := fmt.Sprintf("data_dir = \"\"\ngateway {\n  address = \":%d\"\n}\nlistener \"internal\" {\n  address = \"[::]:%[1]d\"\n}\nadmin {\n  address = \"127.0.0.1:%[1]d\"\n}\n", port)
	write(t, file, text)
	for _, command := range []string{"validate", "run"} {
		status, _, errs := runLictor(t, command, "-config", file)
		for _, want := range []string{
			fmt.Sprintf(`%s:6,13-25: listener "internal": the address [::]:%d is taken: gateway listens on :%[2]d (%[1]s:3,13-21)`, file, port),
			fmt.Sprintf(`admin: the address 127.0.0.1:%d is taken: listener "internal" listens on [::]:%[1]d (%s:6,`, port, file),
		} {
			if status != 2 || !strings.Contains(errs, want) {
				t.Errorf("%s: %d %s\nwant %s", command, status, errs, want)
			}
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	write(t, file, fmt.Sprintf("data_dir = \"\"\ngateway {\n  address = \"127.0.0.1:%d\"\n}\nadmin {\n  address = \"127.0.0.1:%d\"\n}\nlistener \"internal\" {\n  address = %q\n}\n", freePort(t), freePort(t), l.Addr()))
	if status, _, errs := runLictor(t, "run", "-config", file); status != 1 || !strings.Contains(errs, "internal: ") || !strings.Contains(errs, l.Addr().String()) {
		t.Errorf("a port that somebody has: %d %s", status, errs)
	}
}

// TestSystemdNamesListeners hands a socket of systemd to a listener by its name.
func TestSystemdNamesListeners(t *testing.T) {
	together(t)
	bin, err := lictorBinary()
	if err != nil {
		t.Fatal(err)
	}
	var sockets []*os.File
	var at []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		sockets, at = append(sockets, f), append(at, l.Addr().String())
	}
	dir := t.TempDir()
	m := &manager{t: t, bin: bin, config: filepath.Join(dir, "lictor.hcl"), socket: sockets[0], more: sockets[1:], names: "internal:gateway", path: filepath.Join(dir, "notify")}
	if m.said, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	defer m.said.Close()
	block, _ := listenerBlock(t, "internal", "  trusted_proxies = [\"127.0.0.0/8\"]\n")
	write(t, m.config, fmt.Sprintf("data_dir = \"\"\nadmin {\n  address = \"127.0.0.1:%d\"\n}\n", freePort(t))+block+staticConfig("svc", telling(t)))
	cmd := m.start()
	defer func() { cmd.Process.Kill(); cmd.Wait() }() // it has ended, unless the test failed
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for i, want := range []string{"200 203.0.113.9 http ", "200 127.0.0.1 http "} {
		if got := says(client, "http://"+at[i]+"/svc/", "X-Forwarded-For", "203.0.113.9"); got != want {
			t.Errorf("socket %d: got %s, want %s\n%s", i, got, want, m.output.String())
		}
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("lictor ended: %v", err)
	}
}
