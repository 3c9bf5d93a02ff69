package presence

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	client "lictor/internal/consul"
)

func TestOnlyServicesOfTheExactNameShareRateLimits(t *testing.T) {
	tests := []struct {
		name, answer string
		want         int
	}{
		{"lictors count", `[{"Service": {"Service": "lictor"}}, {"Service": {"Service": "lictor"}}]`, 2},
		{"a service of another case does not", `[{"Service": {"Service": "lictor"}}, {"Service": {"Service": "LICTOR"}}, {"Service": {"Service": "Lictor"}}]`, 1},
		{"nor does what has no name or is nothing", `[{"Service": {"Service": ""}}, null, {}, {"Service": null}]`, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var entries []entry
			if err := json.Unmarshal([]byte(tt.answer), &entries); err != nil {
				t.Fatal(err)
			}
			if got := live(entries); got != tt.want {
				t.Errorf("counted %d, want %d", got, tt.want)
			}
		})
	}
}

// An agent that was restarted has forgotten the check, and says so with 404.
func TestALictorThatTheAgentForgotRegistersAnewAndLeavesAtTheEnd(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	forgotten, policy := false, "0000aaaa"
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		kind, id, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/agent/"), "/service:lictor-")
		if _, rest, is := strings.Cut(kind, "deregister/lictor-"); is {
			kind, id = "service/deregister", rest
		}
		asked = append(asked, r.Method+" "+kind)
		if kind == "check/update" && forgotten {
			w.WriteHeader(http.StatusNotFound)
		}
		if kind == "service/register" {
			var reg api.AgentServiceRegistration
			if err := json.Unmarshal(body, &reg); err != nil || reg.Name != Service || reg.Check.TTL != ttl.String() || reg.Port != 8000 || reg.Meta[metaPolicy] != policy {
				t.Errorf("registers %+v, %v", reg, err)
			}
		} else if id == "" {
			t.Errorf("asks %s %s", r.Method, r.URL)
		}
	}))
	defer agent.Close()
	c, err := client.New(client.Config{API: &api.Config{Address: agent.URL}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{Client: c, Address: "10.0.0.1:8000", Policy: func() string { return policy }, Count: func(int) {}, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	forgotten = true
	mu.Unlock()
	if err := p.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	forgotten, policy = false, "1111bbbb"
	mu.Unlock()
	for range 2 {
		if err := p.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	p.leave()
	want := []string{"PUT service/register", "PUT check/update", "PUT check/update", "PUT service/register", "PUT service/register", "PUT check/update", "PUT service/deregister"}
	if !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}
