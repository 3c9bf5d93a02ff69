package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"lictor/app"
	"lictor/config"
)

// serve runs the development mode on free ports until the test ends, and fails
// the test if it does not end well. edit may change its configuration.
func serve(t *testing.T, edit func(*config.Config)) (at app.Addresses, token string) {
	t.Helper()
	dev, err := app.NewDev()
	if err != nil {
		t.Fatal(err)
	}
	cfg := dev.Config("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0")
	edit(cfg)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	log := new(output)
	l, err := app.Open(ctx, app.Options{Config: cfg, Dev: dev, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil || !strings.Contains(log.String(), "stopped") {
			t.Errorf("Run: %v, and the log says:\n%s", err, log)
		}
	})
	return l.Addresses(), cfg.Admin.Token.Reveal()
}

// output is a log that a test reads while it is written.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// ask sends a request and returns the status and the reason in its answer.
func ask(t *testing.T, method, url, token, body string) (status int, reason string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Admin-Token", token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct{ Reason string }
	_ = json.Unmarshal(text, &answer) // not every answer is of JSON
	return resp.StatusCode, answer.Reason
}

func TestAWholeLictorRunsInOneProcess(t *testing.T) {
	at, token := serve(t, func(*config.Config) {})
	hello := "http://" + at.Gateway.String() + "/echo/hello"
	if status, _ := ask(t, http.MethodGet, hello, "", ""); status != http.StatusOK {
		t.Errorf("before the change: got %d, want 200", status)
	}
	list := "http://" + at.Admin.String() + "/blacklist"
	if status, _ := ask(t, http.MethodPost, list, token, `{"name": "no-hello", "entries": ["/echo/hello"]}`); status != http.StatusCreated {
		t.Fatalf("the change: got %d, want 201", status)
	}
	// What the admin listener has acknowledged is in force.
	if status, reason := ask(t, http.MethodGet, hello, "", ""); status != http.StatusForbidden || reason != "blacklist" {
		t.Errorf("after the change: got %d %q, want 403 blacklist", status, reason)
	}
	if status, _ := ask(t, http.MethodGet, hello+"/other", "", ""); status != http.StatusForbidden {
		t.Errorf("what lies below: got %d, want 403", status)
	}
}
