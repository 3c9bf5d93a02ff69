package ui

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"lictor/admin"
	"lictor/admin/api"
	"lictor/policy"
	"lictor/policy/live"
)

// hostile is text that would do something in a page if it were taken for markup.
const hostile = `"'><script>alert(1)</script><img src=x onerror=alert(1)>`

// site is the pages of a lictor without a token.
type site struct {
	t      *testing.T
	server *admin.Server
	ui     *UI
}

func newSite(t *testing.T, cfg Config) *site {
	t.Helper()
	if cfg.Status == nil {
		cfg.Status = func() *api.Status {
			return &api.Status{Ready: true, Policy: &api.PolicyStatus{Hash: "0123456789abcdef"}}
		}
	}
	if cfg.Traffic == nil {
		cfg.Traffic = func() Traffic { return Traffic{} }
	}
	if cfg.Changes == nil {
		cfg.Changes = func(int, uint64) ([]live.Audited, bool) { return nil, false }
	}
	if cfg.Recent == nil {
		cfg.Recent = func() *api.Recents { return &api.Recents{} }
	}
	if cfg.List == nil {
		cfg = withDocuments(t, cfg, nil)
	}
	u, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server, err := admin.New(admin.Config{Log: hclog.NewNullLogger(), Registry: prometheus.NewRegistry(), Routes: u.Routes()})
	if err != nil {
		t.Fatal(err)
	}
	return &site{t, server, u}
}

// What others wrote is text on the page of changes, and leads to its object.
func TestChangesAreListed(t *testing.T) { // R6
	all := []live.Audited{{Seq: 8, By: "ci", From: "10.0.0.1:7", Key: "acls/shop", Verb: "change", Outcome: "in force", Fields: []string{"groups: +" + hostile}},
		{Seq: 7, By: "consul", Key: "blacklist/" + hostile, Verb: "create", Outcome: "not in force: line 1"}}
	var asked []uint64
	s := newSite(t, Config{Changes: func(limit int, before uint64) ([]live.Audited, bool) {
		asked = append(asked, before)
		return all, before == 0
	}})
	resp, text := s.send("/ui/changes", nil)
	for _, want := range []string{`href="/ui/policy/acls/shop"`, "ci 10.0.0.1:7", `class="bad">not in force: line 1`, `href="/ui/changes?before=7"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in it: %d %s", want, resp.StatusCode, text)
		}
	}
	if strings.Contains(text, "<script>alert") || strings.Contains(text, "<img") {
		t.Errorf("text became markup: %s", text)
	}
	if _, text := s.send("/ui/changes?before=7", nil); strings.Contains(text, "Older") || asked[1] != 7 {
		t.Errorf("asked for %v: %s", asked, text)
	}
	if resp, _ := s.send("/ui/changes?before=x", nil); resp.StatusCode != 200 {
		t.Errorf("got %d", resp.StatusCode)
	}
}

// Every page says what a token needs for it; one that shows a document as it stands,
// with its secrets, or writes it, wants the right to write.
func TestEveryPageNamesItsRight(t *testing.T) { // R6
	for _, r := range newSite(t, Config{}).ui.Routes() {
		writes := strings.HasSuffix(r.Path, "/edit") || r.Path == "/ui/new"
		if !r.Open && (r.May == 0 || writes != (r.May == admin.Write)) {
			t.Errorf("%s %s may be asked with %s", r.Method, r.Path, r.May)
		}
	}
}

// send returns the status and the text of a page; form nil = GET.
func (s *site) send(path string, form url.Values) (*http.Response, string) {
	s.t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	if form != nil {
		_, text := s.send(path, nil)
		form.Set(admin.FormField, regexp.MustCompile(`name="form" value="([0-9a-f]+)"`).FindStringSubmatch(text)[1])
		r = httptest.NewRequest("POST", path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Host = "localhost:8001"
	w := httptest.NewRecorder()
	s.server.ServeHTTP(w, r)
	text, _ := io.ReadAll(w.Body)
	return w.Result(), string(text)
}

// hostileStatus has hostile text wherever it may come from others.
func hostileStatus() *api.Status {
	age := 3.0
	return &api.Status{
		Version: hostile, Commit: hostile, Ready: false, NotReady: []string{hostile}, Listeners: []api.Listener{{Name: hostile, Address: hostile}},
		Resolvers: []api.ResolverStatus{{Kind: hostile, Error: hostile, Held: hostile, AgeSeconds: &age}},
		Services: []api.ServiceStatus{{
			Name: hostile, Resolver: hostile, Loaded: true, Held: hostile, Hosts: []string{hostile}, Problems: []string{hostile},
			Instances: []api.InstanceStatus{{ID: hostile, Address: hostile, State: "critical", Note: hostile, Mesh: hostile}},
		}},
		Policy:       &api.PolicyStatus{Hash: hostile, Store: hostile},
		Lictors:      &api.LictorsStatus{Live: []api.LictorStatus{{ID: hostile, Node: hostile, Datacenter: hostile, Address: hostile, Policy: hostile, Differs: &testTime}}},
		Certificates: []api.Certificate{{Listener: hostile, Name: hostile}},
		Problems:     []string{hostile, "service " + hostile + ": x", "policy: acls/" + hostile + ": x"}, Dispatchers: []api.DispatcherStatus{{Kind: hostile, Error: hostile}},
	}
}

func hostileAnswer() *api.Explanation {
	rule := &policy.Rule{Key: "policy/acls/" + hostile, Entry: hostile}
	return &api.Explanation{
		Status: 403, Reason: hostile, Path: api.PathFact{Received: hostile, Canonical: hostile + "x", Forwarded: hostile},
		Client: api.ClientFact{Address: hostile, From: hostile}, Route: &policy.RouteFact{By: "host", API: hostile, Service: hostile, Claim: hostile, Rule: rule},
		Consumer: &policy.ConsumerFact{Name: hostile, Groups: []string{hostile}}, Steps: []policy.Step{{Step: "acl", Verdict: "deny", Rule: rule, Note: hostile}},
		Plugins:  map[string]policy.PluginUse{hostile: {WonBy: hostile, Config: map[string]any{hostile: hostile}, Rule: *rule, Remaining: map[string]int{hostile: 1}}},
		Dispatch: &api.DispatchFact{Kind: hostile, Intention: hostile, Instances: []api.InstanceFact{{ID: hostile, Address: hostile, State: hostile, Note: hostile}}},
		Policy:   api.PolicyFact{Hash: hostile},
	}
}

// TestTextOfOthersIsNoMarkup: U4.
func TestTextOfOthersIsNoMarkup(t *testing.T) {
	key := "acls/" + strings.ReplaceAll(hostile, "/", "")
	s := newSite(t, withDocuments(t, Config{
		Status:  hostileStatus,
		Traffic: func() Traffic { return Traffic{} },
		Recent: func() *api.Recents {
			return &api.Recents{Requests: []api.Recent{{Client: hostile, Consumer: hostile, Method: hostile, Host: hostile, Path: "/" + hostile, Service: hostile, Instance: hostile, Reason: hostile, Rule: "policy/acls/" + hostile, Entry: hostile}}}
		},
		Explain: admin.Explainer{
			Gateway:  func(context.Context, *api.Question, netip.Addr) (any, error) { return hostileAnswer(), nil },
			Egress:   func(context.Context, *api.Question, netip.Addr) (any, error) { return nil, errors.New(hostile) },
			Decision: func(string) (json.RawMessage, bool) { text, _ := json.Marshal(hostileAnswer()); return text, true },
		},
	}, map[string]string{
		key: hostile, "consumers/x": `{"groups":["` + strings.ReplaceAll(hostile, `"`, "") + `"],"custom_id":"<script>"}`, "blacklist/" + strings.ReplaceAll(hostile, "/", ""): hostile + "\nevil.example",
	}))
	s.ui.history.ring[0] = step{end: testTime, Traffic: Traffic{Refused: map[string]float64{hostile: 3}}}
	q := url.QueryEscape(hostile)
	for _, path := range []string{
		"/ui", "/ui/services", "/ui/services?q=" + q, "/ui/services/" + url.PathEscape(hostile), "/ui/services/nosuch",
		"/ui/explain?url=" + q + "&method=" + q + "&from=" + q + "&headers=" + url.QueryEscape("accept: "+hostile), "/ui/explain?egress=1&url=/" + q,
		"/ui/policy?q=" + q + "&kind=" + q, "/ui/policy", objectPath(key), objectPath(key) + "/edit", "/ui/consumers?q=x", "/ui/egress", "/ui/certificates", "/ui/live", "/ui/live?q=" + q,
		"/ui/explain?url=0123456789abcdef0123456789abcdef", "/ui/explain?url=" + url.QueryEscape("/x"+hostile), "/ui/sign-in?to=" + q,
	} {
		resp, text := s.send(path, nil)
		if strings.Contains(text, "<script>") || strings.Contains(text, "<img") {
			t.Errorf("%s has it as markup:\n%s", path, text)
		}
		if strings.HasPrefix(path, "/ui/policy/") && resp.StatusCode == 404 {
			t.Errorf("%s is not found", path)
		}
		if resp.StatusCode != 200 && resp.StatusCode != 404 && resp.StatusCode != 303 {
			t.Errorf("%s gives %d", path, resp.StatusCode)
		}
	}
}

// TestPagesAllowNothingInline: U4.
func TestPagesAllowNothingInline(t *testing.T) {
	s := newSite(t, Config{})
	for _, path := range []string{"/ui", "/ui/services", "/ui/services/nosuch", "/ui/explain", "/ui/live", "/ui/policy", "/ui/policy/acls/x/edit", "/ui/consumers", "/ui/egress", "/ui/certificates"} {
		resp, text := s.send(path, nil)
		csp := resp.Header.Get("Content-Security-Policy")
		if strings.Contains(csp, "unsafe") || !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") {
			t.Errorf("%s: Content-Security-Policy is %q", path, csp)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store", "X-Frame-Options": "DENY"} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
		if found := regexp.MustCompile(`<style| style=| on[a-z]+=|javascript:|<script>`).FindString(text); found != "" {
			t.Errorf("%s has %q", path, found)
		}
	}
	for _, path := range []string{"/ui/style.css", "/ui/script.js", "/ui/icon.svg"} {
		if resp, text := s.send(path, nil); resp.StatusCode != 200 || resp.Header.Get("X-Content-Type-Options") != "nosniff" || text == "" {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}

func TestThePagesAreSmall(t *testing.T) { // U5
	total := 0
	for _, dir := range []string{"assets", "pages"} {
		entries, err := files.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			text, err := files.ReadFile(dir + "/" + e.Name())
			if err != nil {
				t.Fatal(err)
			}
			total += len(text)
		}
	}
	if total > 60<<10 {
		t.Errorf("style, script and templates have %d bytes", total)
	}
}

func TestTenThousandServicesComeInPages(t *testing.T) {
	st := &api.Status{}
	for i := range 10000 {
		st.Services = append(st.Services, api.ServiceStatus{
			Name: fmt.Sprintf("svc-%05d", i), Resolver: "static", Loaded: true, Usable: i%10 > 0,
			Instances: []api.InstanceStatus{{ID: "x", State: "critical", Weight: 1}},
		})
	}
	s := newSite(t, Config{Status: func() *api.Status { c := *st; c.Services = append([]api.ServiceStatus{}, st.Services...); return &c }})
	tests := []struct {
		path        string
		first, last string
		rows        int
	}{
		{"/ui/services", "svc-00000", "svc-00099", 100},
		{"/ui/services?page=100", "svc-09900", "svc-09999", 100},
		{"/ui/services?page=101", "svc-09900", "svc-09999", 100},
		{"/ui/services?page=-1", "svc-00000", "svc-00099", 100},
		{"/ui/services?q=0123", "svc-00123", "svc-01239", 11},
		{"/ui/services?q=nosuch", "", "", 0},
	}
	for _, tt := range tests {
		_, text := s.send(tt.path, nil)
		rows := regexp.MustCompile(`svc-[0-9]{5}</a>`).FindAllString(text, -1)
		if len(rows) != tt.rows || tt.rows > 0 && (rows[0] != tt.first+"</a>" || rows[len(rows)-1] != tt.last+"</a>") {
			t.Errorf("%s: %d rows, %v", tt.path, len(rows), rows)
		}
	}
	if _, text := s.send("/ui", nil); strings.Count(text, "Look at it") != maxTroubles || !strings.Contains(text, "and 950 more") {
		t.Errorf("the first page names %d troubles", strings.Count(text, "Look at it"))
	}
}

func TestHealthInASentence(t *testing.T) {
	good := api.InstanceStatus{State: "passing", Weight: 1}
	tests := []struct {
		name string
		st   api.Status
		want string
	}{
		{"nothing is wrong", api.Status{Ready: true, Services: []api.ServiceStatus{{Name: "a", Loaded: true, Usable: true, Instances: []api.InstanceStatus{good, {State: "critical", Weight: 1}}}}},
			"All is well: 1 service, 1 of 2 instances usable."},
		{"not ready", api.Status{NotReady: []string{"resolver: consul has not answered yet"}}, "Not ready: resolver: consul has not answered yet."},
		{"a problem", api.Status{Ready: true, Problems: []string{"resolver consul: refused"}}, "Serving, and 1 thing to look at."},
		{"nobody serves", api.Status{Ready: true, Services: []api.ServiceStatus{{Name: "a", Loaded: true, Instances: []api.InstanceStatus{{State: "critical"}}}}}, "service a: none of its 1 instance can serve"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, Config{Status: func() *api.Status { return &tt.st }})
			if _, text := s.send("/ui", nil); !strings.Contains(text, tt.want) {
				t.Errorf("want %q in\n%s", tt.want, text)
			}
		})
	}
}

func TestNobodyIsLedElsewhere(t *testing.T) {
	for to, want := range map[string]string{
		"/ui": "/ui", "/ui/services?q=x": "/ui/services?q=x", "": "/ui", "/": "/ui", "//evil.example/ui": "/ui", "https://evil.example/ui/": "/ui",
		"/uiX": "/ui", `/ui/\evil`: "/ui", "javascript:alert(1)": "/ui", "/status": "/ui", "/ui/%zz": "/ui",
	} {
		if got := ownPage(to); got != want {
			t.Errorf("%q leads to %q, want %q", to, got, want)
		}
	}
}
