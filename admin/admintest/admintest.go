// Package admintest runs the APIs of the admin listener in tests.
package admintest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"lictor/admin"
	"lictor/admin/access"
	"lictor/admin/edit"
	"lictor/admin/mapping"
	"lictor/admin/objects"
	"lictor/admin/openapi"
	"lictor/admin/openapi/openapitest"
	"lictor/policy"
	"lictor/policy/live"
	"lictor/policy/store"
	dirstore "lictor/policy/store/dir"
	"lictor/policy/store/memory"
)

// Server is an admin listener on a policy store, with the policy in force.
type Server struct {
	Store  store.Store
	Policy *live.Policy
	Log    *bytes.Buffer // what the API logged
	Notes  bool          // answers tell what does not do what it seems to

	t      *testing.T
	server *admin.Server
}

// Run runs a test on a memory and on a file store.
func Run(t *testing.T, test func(t *testing.T, s *Server)) {
	t.Run("memory", func(t *testing.T) { test(t, Memory(t)) })
	t.Run("file", func(t *testing.T) { test(t, File(t)) })
}

// Memory starts a server on a store in memory.
func Memory(t *testing.T) *Server {
	return Start(t, memory.New(hclog.NewNullLogger()))
}

// File starts a server on a store in a directory.
func File(t *testing.T) *Server {
	s, err := dirstore.New(dirstore.Config{Dir: t.TempDir(), Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	return Start(t, s)
}

// Start starts a server on a store, which asks for the tokens of those accesses, if
// there are any; it ends with the test.
func Start(t *testing.T, s store.Store, may ...admin.Access) *Server {
	t.Helper()
	p, err := live.New(live.Config{Store: s, Prefix: "lictor/", Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	loaded := make(chan struct{}, 1)
	p.OnChange(func() {
		select {
		case loaded <- struct{}{}:
		default:
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	<-loaded
	out := &Server{t: t, Store: s, Policy: p, Log: &bytes.Buffer{}}
	policy := edit.New(s, p.Loaded)
	log := hclog.New(&hclog.LoggerOptions{Output: out.Log})
	mappings, err := mapping.Routes(policy)
	if err != nil {
		t.Fatal(err)
	}
	documents, err := objects.New(s, policy, out.notes)
	if err != nil {
		t.Fatal(err)
	}
	resources, err := access.Routes(access.Config{Policy: policy, Log: log, Notes: out.notes})
	if err != nil {
		t.Fatal(err)
	}
	out.server, err = admin.New(admin.Config{Log: hclog.NewNullLogger(), Registry: prometheus.NewRegistry(), Access: may, Routes: slices.Concat(mappings, resources, documents.Routes())})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// notes are those of the policy in force, to which no service is known.
func (s *Server) notes(k policy.Key, o policy.Object) policy.Problems {
	if !s.Notes {
		return nil
	}
	return s.Policy.Loaded().NotesOn(k, o, func(string) bool { return false })
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.server.ServeHTTP(w, r) }

// Answer is what a request got.
type Answer struct {
	Status int
	Header http.Header
	Text   string
	JSON   map[string]any // nil if it is none
}

// Do sends a request. A body that begins with { or [, or goes where nothing but
// JSON is taken, is JSON, another one a form; header holds names and values in
// turn.
func (s *Server) Do(method, target, body string, header ...string) Answer {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "localhost"
	if body == "" {
		r.Body = http.NoBody
	}
	switch {
	case body == "":
	case body[0] == '{' || body[0] == '[' || strings.HasPrefix(target, "/v1/"):
		r.Header.Set("Content-Type", "application/json")
	default:
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	a := Answer{Status: w.Code, Header: w.Result().Header}
	text, _ := io.ReadAll(w.Result().Body)
	a.Text = string(text)
	if json.Unmarshal(text, &a.JSON) != nil {
		a.JSON = nil
	}
	s.checkDescribed(r, &a)
	return a
}

// checkDescribed holds a request and its answer against what the API says of
// itself: every status, and every field.
func (s *Server) checkDescribed(r *http.Request, a *Answer) {
	paths := s.server.Paths()
	at := slices.IndexFunc(paths, func(p openapi.Path) bool { return p.Method+" "+p.Path == r.Pattern })
	if at < 0 {
		return
	}
	path := &paths[at]
	var schema *openapi.Schema
	described := slices.Contains(path.Refusals(), a.Status)
	if described {
		schema = admin.ErrorSchema
	}
	for _, answer := range path.Operation.Answers {
		if answer.Status == a.Status {
			described, schema = true, answer.Body
		}
		for _, name := range answer.Header {
			if answer.Status == a.Status && a.Header.Get(name) == "" {
				s.t.Errorf("%s %s: the answer %d has no %s", r.Method, r.URL, a.Status, name)
			}
		}
	}
	if !described {
		s.t.Errorf("%s %s: the status %d is not described", r.Method, r.URL, a.Status)
	}
	if schema == nil {
		return
	}
	if err := openapitest.Check(schema, a.JSON); err != nil {
		s.t.Errorf("%s %s: %d %s: %v", r.Method, r.URL, a.Status, a.Text, err)
	}
}

// Want sends a request and checks the status.
func (s *Server) Want(t *testing.T, status int, method, target, body string, header ...string) Answer {
	t.Helper()
	a := s.Do(method, target, body, header...)
	if a.Status != status {
		t.Errorf("%s %s %s: got %d %s, want %d", method, target, body, a.Status, a.Text, status)
	}
	return a
}

// Compact is the JSON of an answer without the fields that differ each time.
func (a Answer) Compact(without ...string) string {
	for _, name := range without {
		delete(a.JSON, name)
	}
	text, err := json.Marshal(a.JSON)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Value returns the document at a key, "" if there is none.
func (s *Server) Value(kind policy.Kind, name string) string {
	o, err := s.Store.Get(context.Background(), string(kind), name)
	if err != nil {
		return ""
	}
	return string(o.Value)
}

// Write writes a document as an operator does by hand, and waits until it is in
// force.
func (s *Server) Write(t *testing.T, kind policy.Kind, name, value string) {
	t.Helper()
	if _, err := s.Store.Write(t.Context(), []store.Op{{Kind: string(kind), Name: name, Value: []byte(value)}}); err != nil {
		t.Fatal(err)
	}
}
