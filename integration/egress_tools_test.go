//go:build integration

package integration_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestEgressWithStandardTools: programs that honour http_proxy work unchanged,
// by request and by tunnel.
func TestEgressWithStandardTools(t *testing.T) {
	together(t)
	o := startOutside(t, "", "")
	o.put(t, "blacklist", "ops", "other.example")
	o.soon(t, "http://other.example:"+o.Plain+"/", 403)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.cert.Certificate().Raw})
	if err := os.WriteFile(ca, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	plain, secure, denied := "http://shop.example:"+o.Plain, "https://shop.example:"+o.Secure, "http://other.example:"+o.Plain
	python := `import ssl, sys, urllib.request, urllib.error
ctx = ssl.create_default_context(); ctx.check_hostname = False; ctx.verify_mode = ssl.CERT_NONE
try:
    print(urllib.request.urlopen(urllib.request.Request(sys.argv[1], data=b"body"), context=ctx).read().decode())
except urllib.error.HTTPError as e:
    print(e.code, e.read().decode())`
	node := `const http = require("http"), proxy = new URL(process.env.http_proxy), url = process.argv[1];
http.request({host: proxy.hostname, port: proxy.port, path: url, headers: {host: new URL(url).host}},
  res => { res.setEncoding("utf8"); res.on("data", d => process.stdout.write(res.statusCode + " " + d)); }).end();`
	nodeTunnel := `const http = require("http"), tls = require("tls"), proxy = new URL(process.env.https_proxy), url = new URL(process.argv[1]);
http.request({host: proxy.hostname, port: proxy.port, method: "CONNECT", path: url.host}).on("connect", (res, socket) => {
  const s = tls.connect({socket, rejectUnauthorized: false}, () => s.write("GET /a HTTP/1.1\r\nHost: inside\r\nConnection: close\r\n\r\n"));
  s.pipe(process.stdout);
}).end();`
	tests := []struct {
		name, want string
		command    []string
	}{
		{"curl", "GET shop.example:" + o.Plain + " /a", []string{"curl", "-sS", plain + "/a"}},
		{"curl, a tunnel", "GET shop.example:" + o.Secure + " /a", []string{"curl", "-sSk", secure + "/a"}},
		{"curl, a tunnel for http", "GET shop.example:" + o.Secure + " /a", []string{"curl", "-sSk", "-p", secure + "/a"}},
		{"curl, denied", `"reason": "blacklist"`, []string{"curl", "-sS", denied + "/a"}},
		{"curl, an upload", "POST shop.example:" + o.Plain + " /a body", []string{"curl", "-sS", "-d", "body", plain + "/a"}},
		{"Python", "POST shop.example:" + o.Plain + " /a body", []string{"python3", "-c", python, plain + "/a"}},
		{"Python, a tunnel", "POST shop.example:" + o.Secure + " /a body", []string{"python3", "-c", python, secure + "/a"}},
		{"Python, denied", `403 {"message": "Denied"`, []string{"python3", "-c", python, denied + "/a"}},
		{"Node", "200 GET shop.example:" + o.Plain + " /a", []string{"node", "-e", node, plain + "/a"}},
		{"Node, a tunnel", "GET inside /a", []string{"node", "-e", nodeTunnel, secure + "/a"}},
		{"Node, denied", `403 {"message": "Denied"`, []string{"node", "-e", node, denied + "/a"}},
		{"Go", "GET shop.example:" + o.Plain + " /a", []string{os.Args[0], "-test.run=^TestProgramWithProxy$", "-test.v"}},
		{"Go, a tunnel", "GET shop.example:" + o.Secure + " /a", []string{os.Args[0], "-test.run=^TestProgramWithProxy$", "-test.v"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			target := plain + "/a"
			if strings.Contains(tt.name, "tunnel") {
				target = secure + "/a"
			}
			if out := o.tool(t, []string{"LICTOR_TEST_URL=" + target, "SSL_CERT_FILE=" + ca}, tt.command...); !strings.Contains(out, tt.want) {
				t.Errorf("got %q, want %q in it", out, tt.want)
			}
		})
	}
}

// TestProgramWithProxy is the Go program of the test above; alone it has
// nothing to do.
func TestProgramWithProxy(t *testing.T) {
	together(t)
	target := os.Getenv("LICTOR_TEST_URL")
	if target == "" {
		return
	}
	tr := http.DefaultTransport.(*http.Transport).Clone() // proxies come from the environment
	tr.TLSClientConfig.InsecureSkipVerify = true          //nolint:gosec // the server is the test's
	resp, err := (&http.Client{Transport: tr}).Get(target)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(string(body))
}

// tool runs a program with the egress as its proxy and returns what it said.
func (o *outside) tool(t *testing.T, env []string, command ...string) string {
	t.Helper()
	if _, err := exec.LookPath(command[0]); err != nil {
		t.Fatalf("the test needs %s: %v", command[0], err)
	}
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	proxy := "http://" + o.Egress
	cmd.Env = append(os.Environ(), "http_proxy="+proxy, "https_proxy="+proxy, "HTTP_PROXY="+proxy, "HTTPS_PROXY="+proxy, "no_proxy=", "NO_PROXY=")
	cmd.Env = append(cmd.Env, env...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", command[0], err, out)
	}
	return string(out)
}

// TestGitOverEgress clones a repository by https.
func TestGitOverEgress(t *testing.T) {
	together(t)
	repos := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	work := filepath.Join(repos, "work")
	git("init", "-q", work)
	if err := os.WriteFile(filepath.Join(work, "file"), []byte(strings.Repeat("some text\n", 20_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	git("-C", work, "add", "file")
	git("-C", work, "commit", "-qm", "first")
	git("clone", "-q", "--bare", work, filepath.Join(repos, "repo.git"))

	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewTLSServer(&cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + repos, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	})
	defer srv.Close()
	port := portOf(t, srv.URL)
	o := startOutside(t, "", "")
	cfg := o.cfg
	cfg.Rest = strings.Replace(cfg.Rest, "connect_ports = [", "connect_ports = ["+port+", ", 1)
	o.Stop(t)
	o.Configure(t, cfg)
	o.Start(t)
	o.Ready(t)
	clone := filepath.Join(repos, "clone")
	o.tool(t, []string{"GIT_SSL_NO_VERIFY=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0"},
		"git", "clone", "-q", "https://shop.example:"+port+"/repo.git", clone)
	if text, err := os.ReadFile(filepath.Join(clone, "file")); err != nil || len(text) != 200_000 {
		t.Errorf("cloned %d bytes, %v", len(text), err)
	}
}

// TestAptOverEgress has apt update from a repository that it reaches only so.
func TestAptOverEgress(t *testing.T) {
	together(t)
	const packages = "Package: lictor-test\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example>\n" +
		"Filename: ./lictor-test.deb\nSize: 1\nSHA256: 0000000000000000000000000000000000000000000000000000000000000000\nDescription: none\n"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/Packages") {
			_, _ = io.WriteString(w, packages)
			return
		}
		http.NotFound(w, r)
	}))
	defer srv.Close()
	o := startOutside(t, "", "")
	dir := t.TempDir()
	for _, sub := range []string{"lists/partial", "cache/archives/partial", "etc"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	list := filepath.Join(dir, "sources.list")
	line := fmt.Sprintf("deb [trusted=yes] http://shop.example:%s/debian ./\n", portOf(t, srv.URL))
	if err := os.WriteFile(list, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	options := []string{
		"-o", "Dir::Etc::SourceList=" + list, "-o", "Dir::Etc::SourceParts=-", "-o", "Dir::State::Lists=" + dir + "/lists",
		"-o", "Dir::Cache=" + dir + "/cache", "-o", "APT::Sandbox::User=", "-o", "Acquire::http::Proxy=http://" + o.Egress, "-o", "Acquire::Languages=none",
		"-o", "Acquire::Retries=0",
	}
	o.tool(t, nil, append([]string{"apt-get", "update"}, options...)...)
	if out := o.tool(t, nil, append([]string{"apt-cache", "show", "lictor-test"}, options...)...); !strings.Contains(out, "Version: 1.0") {
		t.Errorf("apt did not get the list: %s", out)
	}
}
