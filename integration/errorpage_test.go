//go:build integration

package integration_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lictor/app/listener/certtest"
)

// askAccepting asks as a client that accepts what accept says, and returns the answer.
func askAccepting(t *testing.T, client *http.Client, method, url, accept string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// write writes a file, and the folders that it is in.
func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const browserAccepts = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

// D27: browsers get a page of the operator's, others JSON, by HTTP/1.1 and HTTP/2, and
// a template that is wrong changes nothing.
func TestErrorPage(t *testing.T) {
	together(t)
	backend := startBackend(t, "one")
	ca := certtest.NewCA(t)
	block, _ := tlsConfig(t, ca)
	dir := t.TempDir()
	page, store, access := filepath.Join(dir, "error.html"), filepath.Join(dir, "policy"), filepath.Join(dir, "access.log")
	write(t, page, "<!doctype html><h1>{{.Status}} {{.StatusText}}</h1><p>{{.Message}}<p id={{.Reason}}>{{.RequestID}}")
	write(t, store+"/plugins/key", `{"name": "key-auth"}`)
	write(t, store+"/plugin-mappings/key", `{"plugins": ["key"], "api": "svc"}`)
	write(t, store+"/plugins/cors", `{"name": "cors", "config": {"origins": ["https://page.example"]}}`)
	write(t, store+"/plugins/away", `{"name": "request-termination", "config": {"body": "Back at noon", "content_type": "text/plain"}}`)
	write(t, store+"/plugin-mappings/away", `{"plugins": ["away"], "api": "closed"}`)
	write(t, store+"/plugins/noon", `{"name": "request-termination", "config": {"message": "Until noon"}}`)
	write(t, store+"/plugin-mappings/noon", `{"plugins": ["noon"], "api": "noon"}`)
	cfg := lictorConfig{
		Gateway: block + fmt.Sprintf("error_page = %q\n", page),
		Rest:    staticConfig("svc", "http://"+backend.Addr) + fmt.Sprintf("policy {\n  store = \"file\"\n  dir = %q\n}\naccess_log {\n  path = %q\n}\n", store, access),
	}
	p := startLictor(t, cfg)
	for _, h2 := range []bool{false, true} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}, ForceAttemptHTTP2: h2}
		t.Cleanup(transport.CloseIdleConnections)
		client := &http.Client{Transport: transport}
		url := "https://" + p.Gateway
		resp, body := askAccepting(t, client, "GET", url+"/svc/", browserAccepts, "Origin", "https://page.example", "apikey", "SECRET-KEY")
		if h2 != (resp.ProtoMajor == 2) || resp.StatusCode != 401 && resp.StatusCode != 403 || !strings.HasPrefix(body, "<!doctype html><h1>401 Unauthorized</h1>") {
			t.Errorf("a browser: got %s %d %v %s", resp.Proto, resp.StatusCode, resp.Header, body)
		}
		if resp.Header.Get("Access-Control-Allow-Origin") != "https://page.example" || strings.Join(resp.Header.Values("Vary"), ",") != "Accept,Origin" {
			t.Errorf("the fields for browsers are %v", resp.Header)
		}
		_, id, _ := strings.Cut(body, "<p id=bad_credentials>")
		eventually(t, soon, "the log has the id of the page", func() error {
			if log, _ := os.ReadFile(access); len(id) != 32 || !strings.Contains(string(log), id) {
				return fmt.Errorf("%q is not in %s", id, log)
			}
			return nil
		})
		if strings.Contains(body, "SECRET-KEY") {
			t.Errorf("the page tells the key: %s", body)
		}
		if head, none := askAccepting(t, client, "HEAD", url+"/svc/", browserAccepts, "apikey", "SECRET-KEY"); none != "" || head.ContentLength != int64(len(body)) {
			t.Errorf("HEAD: got %d bytes, want %d", head.ContentLength, len(body))
		}
		if resp, body := askAccepting(t, client, "GET", url+"/svc/", "*/*"); resp.Header.Get("Vary") != "Accept" || reason(body) != "no_credentials" {
			t.Errorf("curl: got %v %s", resp.Header, body)
		}
		if resp, body := askAccepting(t, client, "GET", url+"/closed/", browserAccepts); resp.StatusCode != 503 || body != "Back at noon" || resp.Header.Get("Content-Type") != "text/plain" {
			t.Errorf("a page of request-termination: got %v %s", resp.Header, body)
		}
		if resp, body := askAccepting(t, client, "GET", url+"/noon/", browserAccepts); resp.StatusCode != 503 || !strings.Contains(body, "<p>Until noon<p id=terminated>") {
			t.Errorf("a message of request-termination: got %v %s", resp.Header, body)
		}
		if resp, body := askAccepting(t, client, "POST", url+"/svc/", browserAccepts, "Content-Type", "application/grpc"); resp.Header.Get("Grpc-Status") != "16" || body != "" {
			t.Errorf("gRPC: got %v %q", resp.Header, body)
		}
	}

	// A template that is wrong is told, and the former one stays.
	write(t, page, "<h1>{{range 1000000000000}}{{end}}")
	if status, _, errs := runLictor(t, "validate", "-config", p.File); status != 2 || !strings.Contains(errs, page+":1:12: ") || !strings.Contains(errs, "error_page") {
		t.Errorf("validate: %d %s", status, errs)
	}
	p.Signal(t, syscall.SIGHUP)
	eventually(t, soon, "the reload is told to have failed", func() error {
		if problems := strings.Join(p.Status(t).Problems, "\n"); !strings.Contains(problems, page+":1:12: ") {
			return fmt.Errorf("got %q", problems)
		}
		return nil
	})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}, DisableKeepAlives: true}}
	if _, body := askAccepting(t, client, "GET", "https://"+p.Gateway+"/", browserAccepts); !strings.Contains(body, "<h1>404 Not Found") {
		t.Errorf("after a bad reload: %s", body)
	}
	write(t, page, "<h1>new {{.Status}}")
	p.Signal(t, syscall.SIGHUP)
	eventually(t, soon, "the new page is used", func() error {
		if _, body := askAccepting(t, client, "GET", "https://"+p.Gateway+"/", browserAccepts); body != "<h1>new 404" {
			return fmt.Errorf("got %s", body)
		}
		return nil
	})
	if status := p.Stop(t); status != 0 {
		t.Errorf("it ends with %d", status)
	}
	write(t, page, "{{.Secret}}")
	if status, _, errs := runLictor(t, "run", "-config", p.File); status != 2 || !strings.Contains(errs, ".Secret: want .Status") {
		t.Errorf("a start with a bad template: %d %s", status, errs)
	}
}
