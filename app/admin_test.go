package app

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"lictor/admin"
	"lictor/admin/api"
	"lictor/admin/openapi"
	"lictor/admin/openapi/openapitest"
	"lictor/config"
	"lictor/policy/live"
	"lictor/policy/store/memory"
	"lictor/proxy/gateway"
	"lictor/resolver"
	"lictor/resolver/static"
)

// wiredAdmin is the admin listener as the process has it.
func wiredAdmin(t *testing.T) (*Lictor, []admin.Route, *admin.Server) {
	t.Helper()
	log := hclog.NewNullLogger()
	p := &Lictor{log: log}
	var err error
	if p.policy, err = live.New(live.Config{Store: memory.New(log), Log: log}); err != nil {
		t.Fatal(err)
	}
	source, err := static.New(map[string][]string{"svc": {"http://127.0.0.1:1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.gateway, err = gateway.New(gateway.Config{Sources: []resolver.Source{source}, Log: log, Policy: p.policy}); err != nil {
		t.Fatal(err)
	}
	routes, err := p.adminRoutes()
	if err != nil {
		t.Fatal(err)
	}
	server, err := admin.New(admin.Config{Log: log, Registry: prometheus.NewRegistry(), Routes: routes})
	if err != nil {
		t.Fatal(err)
	}
	return p, routes, server
}

var update = flag.Bool("update", false, "write the tables into the documentation")

func TestEveryRouteIsDescribed(t *testing.T) { // contract 5
	_, _, server := wiredAdmin(t)
	ids := map[string]bool{}
	for _, p := range server.Paths() {
		if p.Operation == nil || p.Operation.Summary == "" || p.Operation.Tag == "" || len(p.Operation.Answers) == 0 {
			t.Errorf("%s %s is not described", p.Method, p.Path)
		}
		for _, field := range fieldsWithoutAbout(p.Operation) {
			t.Errorf("%s %s: the field %s of the body is not described", p.Method, p.Path, field)
		}
		ids[p.Method+" "+p.Path] = true
	}
	for _, want := range []string{"consumers", "groups", "filters", "plugins", "apis", "mappings/acls", "mappings/plugins",
		"apis/{api}/acls", "apis/{api}/plugins", "consumers/{consumer}/key-auth", "blacklist", "whitelist"} {
		for _, path := range []string{"GET /%", "POST /%", "GET /%/{id}", "PATCH /%/{id}", "PUT /%/{id}", "DELETE /%/{id}"} {
			if path = strings.ReplaceAll(path, "%", want); !ids[path] {
				t.Errorf("%s is missing", path)
			}
		}
	}
	for _, want := range []string{"GET /status", "GET /metrics", "GET /healthz", "GET /readyz", "GET /openapi.json", "POST /explain",
		"GET /explain/{id}", "GET /mappings", "POST /mappings", "GET /policy/objects", "POST /policy/objects",
		"PUT /v1/{tenant}/mapping", "POST /v1/{tenant}/mapping/{domain}"} {
		if !ids[want] {
			t.Errorf("%s is missing", want)
		}
	}
}

func fieldsWithoutAbout(op *openapi.Operation) (names []string) {
	if op == nil || op.Body == nil || op.Tag == "Documents" {
		return nil
	}
	for _, f := range op.Body.Fields {
		if f.Schema.About == "" {
			names = append(names, f.Name)
		}
	}
	return names
}

// TestOpenAPIDocument checks that the document hangs together: what it refers
// to is there, and each operation has a name of its own.
func TestOpenAPIDocument(t *testing.T) {
	_, _, server := wiredAdmin(t)
	var doc struct {
		OpenAPI    string
		Paths      map[string]map[string]struct{ OperationID string }
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(server.Document(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" || len(doc.Paths) < 30 {
		t.Errorf("got %s with %d paths", doc.OpenAPI, len(doc.Paths))
	}
	seen := map[string]bool{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if op.OperationID == "" || seen[op.OperationID] {
				t.Errorf("%s %s: the id %q is not its own", method, path, op.OperationID)
			}
			seen[op.OperationID] = true
		}
	}
	for part := range strings.SplitSeq(string(server.Document()), `"#/components/schemas/`) {
		name, _, _ := strings.Cut(part, `"`)
		if !strings.HasPrefix(part, "{") && doc.Components.Schemas[name] == nil {
			t.Errorf("the schema %s is missing", name)
		}
	}
}

// TestExplanationIsDescribed holds what the gateway says against the document.
func TestExplanationIsDescribed(t *testing.T) {
	p, _, _ := wiredAdmin(t)
	schema := openapi.Of(api.Explanation{})
	for _, url := range []string{"/svc/x", "/", "/x/../..", "http://a.b/svc"} {
		e, err := p.explainer().Gateway(t.Context(), &api.Question{URL: url}, netip.Addr{})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		if err := openapitest.Check(schema, v); err != nil {
			t.Errorf("%s: %s: %v", url, text, err)
		}
	}
}

const (
	tablesBegin = "<!-- The tables are made of /openapi.json: go test ./app -run TestAdminTables -update -->\n"
	tablesEnd   = "<!-- End of the tables. -->\n"
)

// TestAdminTables holds the tables of docs/reference/admin.md against the description.
func TestAdminTables(t *testing.T) {
	_, _, server := wiredAdmin(t)
	readme, err := os.ReadFile("../docs/reference/admin.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(readme), tablesBegin)
	have, after, ends := strings.Cut(rest, tablesEnd)
	if !ok || !ends {
		t.Fatal("docs/reference/admin.md has no place for the tables")
	}
	want := "\n" + openapitest.Tables(server.Paths()) + "\n"
	if have == want {
		return
	}
	if !*update {
		t.Fatal("the tables of docs/reference/admin.md are out of date: make docs")
	}
	if err := os.WriteFile("../docs/reference/admin.md", []byte(before+tablesBegin+want+tablesEnd+after), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Every route says what a token needs for it, and every right of the configuration is
// one of the listener's (R6).
func TestEveryRouteNamesItsRight(t *testing.T) {
	_, routes, _ := wiredAdmin(t)
	if len(routes) < 30 {
		t.Fatalf("there are only %d routes", len(routes))
	}
	for _, r := range routes {
		if reads := r.Method == "GET" || r.Path == "/explain" || r.Path == "/ui/explain" || r.Path == "/ui/sign-out"; r.May == 0 || !reads && r.May&(admin.Read|admin.Metrics|admin.Explain) != 0 {
			t.Errorf("%s %s may be asked with %s", r.Method, r.Path, r.May)
		}
	}
	for _, right := range []string{"read", "metrics", "explain", "policy", "admin", "mapping:acme"} {
		file := config.File{Name: "x.hcl", Text: []byte(`admin {
  access "ci" {
    token = "t"
    may = ["` + right + `"]
  }
}`)}
		cfg, err := config.Parse(config.OS(), file)
		if err != nil {
			t.Fatal(err)
		}
		if all := accessOf(&cfg.Admin); len(all) != 1 || all[0].May == 0 && !all[0].All {
			t.Errorf("%s gives %+v", right, all)
		}
	}
}
