package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"lictor/admin/api"
	"lictor/resolver"
)

// source is a resolver as a test wants it.
type source struct {
	kind    string
	catalog *resolver.Catalog
	status  resolver.Status
}

func (s *source) Kind() string               { return s.kind }
func (s *source) Catalog() *resolver.Catalog { return s.catalog }
func (s *source) Want(string) <-chan struct{} {
	answered := make(chan struct{})
	close(answered)
	return answered
}
func (s *source) Status() resolver.Status { return s.status }

func newServer(t *testing.T, cfg Config) *Server {
	t.Helper()
	cfg.Log, cfg.Registry = hclog.NewNullLogger(), prometheus.NewRegistry()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ask(t *testing.T, s *Server, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	r.Host = "localhost"
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result()
}

// wantError checks a body of X5 and that its request id is the header's.
func wantError(t *testing.T, resp *http.Response, status int, reason string) api.Error {
	t.Helper()
	var body api.Error
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		t.Fatalf("body: %v", err)
	}
	if resp.StatusCode != status || body.Reason != reason {
		t.Errorf("got %d %+v, want %d %s", resp.StatusCode, body, status, reason)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/json; charset=utf-8" {
		t.Errorf("Content-Type: got %q", got)
	}
	if body.Message == "" || body.RequestID == "" || body.RequestID != resp.Header.Get("X-Request-Id") {
		t.Errorf("got %+v, want a message and the request id %q", body, resp.Header.Get("X-Request-Id"))
	}
	return body
}

func TestToken(t *testing.T) { // X8
	tests := []struct {
		name   string
		path   string
		header []string
		status int
		reason string
	}{
		{"none", "/status", nil, 401, "no_token"},
		{"none, at a path that does not exist", "/nothing", nil, 401, "no_token"},
		{"an empty one", "/status", []string{"X-Key", ""}, 401, "no_token"},
		{"of another scheme", "/status", []string{"Authorization", "Basic c2VjcmV0"}, 401, "no_token"},
		{"in the header that is not configured", "/status", []string{"X-Admin-Token", "secret"}, 401, "no_token"},
		{"wrong", "/status", []string{"X-Key", "secreT"}, 403, "wrong_token"},
		{"the beginning of the right one", "/status", []string{"X-Key", "secre"}, 403, "wrong_token"},
		{"wrong as bearer", "/metrics", []string{"Authorization", "Bearer no"}, 403, "wrong_token"},
		{"wrong, at a path that does not exist", "/nothing", []string{"X-Key", "no"}, 403, "wrong_token"},
		{"right", "/status", []string{"X-Key", "secret"}, 200, ""},
		{"right as bearer", "/metrics", []string{"Authorization", "bearer secret"}, 200, ""},
		{"right, at a path that does not exist", "/nothing", []string{"X-Key", "secret"}, 404, "not_found"},
		{"not needed for health", "/healthz", nil, 200, ""},
		{"not needed for readiness", "/readyz", nil, 200, ""},
	}
	s := newServer(t, Config{Access: full("secret"), Header: "X-Key", Sources: []resolver.Source{
		&source{kind: "static", status: resolver.Status{Ready: true}},
	}})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp := ask(t, s, "GET", tt.path, tt.header...)
			if tt.reason != "" {
				wantError(t, resp, tt.status, tt.reason)
			} else if resp.StatusCode != tt.status {
				t.Errorf("got %d, want %d", resp.StatusCode, tt.status)
			}
			if got := resp.Header.Get("WWW-Authenticate") != ""; got != (tt.status == 401) {
				t.Errorf("WWW-Authenticate: got %v for %d", got, tt.status)
			}
		})
	}
	t.Run("not needed where none is configured", func(t *testing.T) {
		if resp := ask(t, newServer(t, Config{}), "GET", "/status"); resp.StatusCode != 200 {
			t.Errorf("got %d, want 200", resp.StatusCode)
		}
	})
}

func TestRoutes(t *testing.T) {
	says := func(what string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, what+" "+r.PathValue("a")+" "+r.PathValue("b"))
		}
	}
	s := newServer(t, Config{Routes: []Route{
		{Method: "GET", Path: "/x/{a}/", Handler: says("name")},
		{Method: "DELETE", Path: "/x/{a}", Handler: says("delete")},
		{Method: "GET", Path: "/x/y", Handler: says("literal")},
		{Method: "GET", Path: "/x/{a}/z/{b}", Handler: says("both")},
		{Method: "POST", Path: "/only", Handler: says("post")},
	}})
	tests := []struct {
		name, method, path string
		status             int
		want               string // the body, or what Allow says
	}{
		{"a name", "GET", "/x/one", 200, "name one "},
		{"a slash at the end changes nothing", "GET", "/x/one/", 200, "name one "},
		{"the method chooses", "DELETE", "/x/one", 200, "delete one "},
		{"a literal wins", "GET", "/x/y", 200, "literal  "},
		{"but not for other methods", "DELETE", "/x/y", 200, "delete y "},
		{"two names, decoded one by one", "GET", "/x/a%2Fb/z/c%20d", 200, "both a/b c d"},
		{"HEAD goes where GET does", "HEAD", "/x/y", 200, "literal  "},
		{"an empty name is no name", "GET", "/x/", 404, ""},
		{"an empty segment is one", "GET", "//x/one", 404, ""},
		{"dots are nothing special", "GET", "/x/../healthz", 404, ""},
		{"the root is nothing", "GET", "/", 404, ""},
		{"another method", "POST", "/x/one", 405, "DELETE, GET, HEAD"},
		{"no GET, no HEAD", "HEAD", "/only", 405, "POST"},
		{"other methods of the own routes", "PUT", "/healthz", 405, "GET, HEAD"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp := ask(t, s, tt.method, tt.path)
			switch tt.status {
			case 404:
				wantError(t, resp, 404, "not_found")
			case 405:
				wantError(t, resp, 405, "method_not_allowed")
				if got := resp.Header.Get("Allow"); got != tt.want {
					t.Errorf("Allow: got %q, want %q", got, tt.want)
				}
			default:
				if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(body) != tt.want {
					t.Errorf("got %d %q, want 200 %q", resp.StatusCode, body, tt.want)
				}
			}
		})
	}
}

func TestReadiness(t *testing.T) { // contract 5
	waiting := &source{kind: "consul", status: resolver.Status{Error: "connection refused"}}
	ready := &source{kind: "static", status: resolver.Status{Ready: true}}
	snapshot := &source{kind: "consul", status: resolver.Status{Ready: true, Snapshot: true, Error: "connection refused"}}
	fails := func() error { return errors.New("it fails") }
	tests := []struct {
		name    string
		sources []resolver.Source
		checks  []Check
		why     string // "" = ready
		reason  string
	}{
		{"one resolver that answered is enough", []resolver.Source{waiting, ready}, nil, "", ""},
		{"a snapshot is enough", []resolver.Source{snapshot}, nil, "", ""},
		{"no answer", []resolver.Source{waiting}, nil, "resolver: consul has not answered yet (connection refused)", "not_ready"},
		{"no resolver", nil, nil, "resolver: none is configured", "not_ready"},
		{"another check fails", []resolver.Source{ready}, []Check{{Name: "policy", Ready: fails, Reason: "policy_unavailable"}}, "policy: it fails", "policy_unavailable"},
		{"of several the first has the reason", []resolver.Source{waiting}, []Check{{Name: "shutdown", Ready: fails, Reason: "stopping"}}, "shutdown: it fails", "stopping"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp := ask(t, newServer(t, Config{Sources: tt.sources, Checks: tt.checks}), "GET", "/readyz")
			if tt.why == "" {
				if resp.StatusCode != 200 {
					t.Errorf("got %d, want 200", resp.StatusCode)
				}
				return
			}
			if body := wantError(t, resp, 503, tt.reason); !strings.Contains(body.Message, tt.why) {
				t.Errorf("got %q, want %q", body.Message, tt.why)
			}
		})
	}
}

func TestReadinessTellsStrangersOnlyWhether(t *testing.T) {
	cfg := Config{Access: full("secret"), Closed: func() []string { return []string{"egress: evil"} }}
	for _, ready := range []bool{true, false} {
		cfg.Sources = []resolver.Source{&source{kind: "consul", status: resolver.Status{Ready: ready, Error: "10.1.2.3 refused"}}}
		for header, told := range map[string]bool{"": false, "wrong": false, "secret": true} {
			resp := ask(t, newServer(t, cfg), "GET", "/readyz", "X-Admin-Token", header)
			text, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode == 200 != ready {
				t.Errorf("ready %v: got %d, %v", ready, resp.StatusCode, err)
			}
			if is := strings.Contains(string(text), "10.1.2.3") || strings.Contains(string(text), "evil"); is != told {
				t.Errorf("with the token %q: got %s", header, text)
			}
		}
	}
}

func shop() []resolver.Source {
	return []resolver.Source{
		&source{
			kind: "consul",
			status: resolver.Status{
				Ready: true, Since: time.Now().Add(-time.Minute), Contact: time.Now(), Watches: 2, Error: "EOF", ErrorTime: time.Now(),
			},
			catalog: resolver.NewCatalog(
				&resolver.Service{Name: "shop", Loaded: true, Index: 7, Problems: []string{"lictor-timeout: soon"}, Instances: []*resolver.Instance{
					{ID: "n/shop-1", Address: "10.0.0.1:80", State: resolver.Passing, Weight: 1},
					{ID: "n/shop-2", Address: "10.0.0.2:80", State: resolver.Passing, Weight: 1},
					{ID: "n/shop-3", Address: "10.0.0.3:80", State: resolver.Critical, Weight: 1, Note: "disk full"},
				}},
				&resolver.Service{Name: "cart"},
			),
		},
		&source{kind: "static"},
	}
}

func TestStatus(t *testing.T) {
	s := newServer(t, Config{Sources: shop(), Describe: []func(*api.Status){
		func(st *api.Status) { st.Listeners = []api.Listener{{Name: "gateway", Address: "127.0.0.1:8000"}} },
	}})
	var st api.Status
	if err := json.NewDecoder(ask(t, s, "GET", "/status").Body).Decode(&st); err != nil {
		t.Fatal(err)
	}
	if !st.Ready || len(st.Listeners) != 1 || len(st.Resolvers) != 2 || len(st.Services) != 2 {
		t.Fatalf("got %+v", st)
	}
	if cart := st.Services[0]; cart.Name != "cart" || cart.Loaded || cart.Usable {
		t.Errorf("cart: got %+v", cart)
	}
	if got := st.Services[1].Instances[2]; got != (api.InstanceStatus{ID: "n/shop-3", Address: "10.0.0.3:80", State: "critical", Weight: 1, Note: "disk full"}) {
		t.Errorf("shop-3: got %+v", got)
	}
	if age := st.Resolvers[0].AgeSeconds; age == nil || *age < 60 || *age > 90 {
		t.Errorf("age of consul: got %v", age)
	}
	if st.Resolvers[1].AgeSeconds != nil {
		t.Errorf("age of static: got %v, want none", *st.Resolvers[1].AgeSeconds)
	}
	if got := strings.Join(st.Problems, "; "); got != "resolver consul: EOF; service shop: lictor-timeout: soon" {
		t.Errorf("problems: got %q", got)
	}
}

func TestMetrics(t *testing.T) { // contract 6
	body, _ := io.ReadAll(ask(t, newServer(t, Config{Sources: shop()}), "GET", "/metrics").Body)
	for _, want := range []string{
		`lictor_resolver_instances{service="shop",state="passing"} 2`,
		`lictor_resolver_instances{service="shop",state="critical"} 1`,
		`lictor_resolver_staleness_seconds{resolver="consul"} 6`,
		`lictor_resolver_staleness_seconds{resolver="static"} `,
		`lictor_panics_total{where="telemetry"} 0`,
		`lictor_limits_hit_total{limit="hold"} 0`,
		"go_goroutines ",
		"process_cpu_seconds_total ",
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("/metrics lacks %q", want)
		}
	}
}

func TestRunFinishesRequests(t *testing.T) { // X16
	arrived, leave := make(chan struct{}), make(chan struct{})
	s := newServer(t, Config{Routes: []Route{{Method: "GET", Path: "/wait", Handler: func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-leave
		io.WriteString(w, "done")
	}}}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended, answer := make(chan error, 1), make(chan string, 1)
	go func() { ended <- s.Run(ctx, ln) }()
	go func() {
		resp, err := http.Get("http://" + ln.Addr().String() + "/wait")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()
	<-arrived
	cancel()
	close(leave)
	if got := <-answer; got != "done" {
		t.Errorf("answer: got %q", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: got %v", err)
	}
}

// Each answer is the whole document, made once for all: nobody may write to it.
func TestTheDescriptionIsReadByManyAtOnce(t *testing.T) {
	s := newServer(t, Config{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			w := httptest.NewRecorder()
			r := httptest.NewRequest("GET", "/openapi.json", nil)
			r.Host = "localhost"
			if s.ServeHTTP(w, r); w.Code != 200 || !json.Valid(w.Body.Bytes()) {
				t.Errorf("got %d %.100s", w.Code, w.Body)
			}
		})
	}
	wg.Wait()
}
