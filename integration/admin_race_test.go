//go:build integration

package integration_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// raceFor is how long everybody writes at once.
const raceFor = 20 * time.Second

// adminAnswer is what the admin listener said.
type adminAnswer struct {
	status int
	etag   string
	text   string
}

// into reads the answer as JSON.
func (a adminAnswer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.text), v); err != nil {
		t.Fatalf("%s: %v", a.text, err)
	}
}

// ask sends a request to the admin listener. A body that begins with { is
// JSON, another one a form.
func (p *lictorProcess) ask(t *testing.T, method, path, body string, header ...string) adminAnswer {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+p.Admin+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if req.Header.Set("Content-Type", "application/x-www-form-urlencoded"); strings.HasPrefix(body, "{") {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return adminAnswer{}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return adminAnswer{resp.StatusCode, resp.Header.Get("ETag"), string(text)}
}

// race is what was acknowledged to all writers.
type race struct {
	t     *testing.T
	agent *consulAgent
	until time.Time

	mu        sync.Mutex
	entries   map[string][]string // of the shared lists, by list
	consumers map[string]bool     // that were made; false: deleted again
	owners    map[string]bool     // "tenant domain" of contested domains
	conflicts int
}

func (r *race) note(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

const sharedLists = 3

// TestWritersDoNotLoseEachOther has two lictors, asked by several clients, and
// a direct writer of KV change the same objects at the same time (X7).
func TestWritersDoNotLoseEachOther(t *testing.T) {
	together(t)
	agent := startConsul(t)
	cfg := lictorConfig{Rest: consulConfig(agent, "")}
	nodes := []*lictorProcess{startLictor(t, cfg), startLictor(t, cfg)}
	for _, node := range nodes {
		node.Ready(t)
	}
	r := &race{
		t: t, agent: agent, until: time.Now().Add(raceFor),
		entries: map[string][]string{}, consumers: map[string]bool{}, owners: map[string]bool{},
	}
	for i := range sharedLists {
		if a := nodes[0].ask(t, "POST", "/blacklist", fmt.Sprintf(`{"name":"shared-%d"}`, i)); a.status != 201 {
			t.Fatalf("got %d %s", a.status, a.text)
		}
	}
	var wg sync.WaitGroup
	for i, node := range nodes {
		for j := range 2 {
			who := fmt.Sprintf("node%d-%d", i, j)
			wg.Go(func() { r.appendByAPI(node, who) })
		}
		wg.Go(func() { r.consumersByAPI(node, fmt.Sprint("n", i)) })
		wg.Go(func() { r.domainsByAPI(node, fmt.Sprint("tenant", i)) })
	}
	wg.Go(func() { r.appendByKV("kv") })
	wg.Wait()
	r.compare(nodes)
}

func (r *race) running() bool { return time.Now().Before(r.until) }

// appendByAPI reads a list, adds an entry, and puts it back if nobody else did.
func (r *race) appendByAPI(node *lictorProcess, who string) {
	for n := 0; r.running(); n++ {
		list, entry := fmt.Sprintf("shared-%d", n%sharedLists), fmt.Sprintf("/%s/%d", who, n)
		var o struct {
			Entries []string `json:"entries"`
		}
		got := node.ask(r.t, "GET", "/blacklist/"+list, "")
		got.into(r.t, &o)
		body, _ := json.Marshal(map[string]any{"entries": append(o.Entries, entry)})
		switch a := node.ask(r.t, "PATCH", "/blacklist/"+list, string(body), "If-Match", got.etag); a.status {
		case 200:
			r.note(func() { r.entries[list] = append(r.entries[list], entry) })
		case 412:
			r.note(func() { r.conflicts++ })
		default:
			r.t.Errorf("PATCH: %d %s", a.status, a.text)
		}
	}
}

// appendByKV does the same past lictor.
func (r *race) appendByKV(who string) {
	kv := r.agent.Client.KV()
	pace := time.Tick(5 * time.Millisecond) // an operator at the command line is not that fast
	for n := 0; r.running(); n++ {
		<-pace
		list, entry := fmt.Sprintf("shared-%d", n%sharedLists), fmt.Sprintf("/%s/%d", who, n)
		pair, _, err := kv.Get("lictor/policy/blacklist/"+list, nil)
		if err != nil || pair == nil {
			r.t.Errorf("kv get: %v %v", pair, err)
			return
		}
		var o map[string]any
		if err := json.Unmarshal(pair.Value, &o); err != nil {
			r.t.Error(err)
			return
		}
		entries, _ := o["entries"].([]any)
		o["entries"] = append(entries, entry)
		pair.Value, _ = json.Marshal(o)
		done, _, err := kv.CAS(pair, nil)
		switch {
		case err != nil:
			r.t.Error(err)
			return
		case done:
			r.note(func() { r.entries[list] = append(r.entries[list], entry) })
		default:
			r.note(func() { r.conflicts++ })
		}
	}
}

// consumersByAPI makes consumers of shared groups, and deletes some again.
func (r *race) consumersByAPI(node *lictorProcess, who string) {
	for n := 0; r.running(); n++ {
		name := fmt.Sprintf("%s-%d", who, n)
		a := node.ask(r.t, "POST", "/consumers", fmt.Sprintf("name=%s&groups=g%d,shared&key=k-%s", name, n%5, name))
		if a.status != 201 {
			r.t.Errorf("POST: %d %s", a.status, a.text)
			return
		}
		r.note(func() { r.consumers[name] = true })
		if a = node.ask(r.t, "GET", "/consumers/"+name, ""); a.status != 200 {
			r.t.Errorf("the writer does not read its write: %d %s", a.status, a.text)
		}
		if n%3 == 0 {
			if a := node.ask(r.t, "DELETE", "/consumers/"+name, ""); a.status != 204 {
				r.t.Errorf("DELETE: %d %s", a.status, a.text)
			}
			r.note(func() { r.consumers[name] = false })
		}
		if n%10 == 0 { // both nodes touch the same group
			node.ask(r.t, "PATCH", "/groups/shared", "plugins=")
		}
	}
}

// domainsByAPI has the tenants of the two nodes fight for the same domains.
func (r *race) domainsByAPI(node *lictorProcess, tenant string) {
	for n := 0; r.running(); n++ {
		domain := fmt.Sprintf("d%d.example.org", n)
		switch a := node.ask(r.t, "PUT", "/v1/"+tenant+"/mapping", fmt.Sprintf(`{"domain":%q,"backends":["http://h"]}`, domain)); a.status {
		case 201:
			r.note(func() { r.owners[tenant+" "+domain] = true })
		case 409:
			r.note(func() { r.conflicts++ })
		default:
			r.t.Errorf("PUT: %d %s", a.status, a.text)
		}
	}
}

// compare checks that store, both policies and all answers agree, and that
// everything acknowledged is there.
func (r *race) compare(nodes []*lictorProcess) {
	t := r.t
	var hash string
	eventually(t, soon, "both lictors have the same policy", func() error {
		var hashes []string
		for _, node := range nodes {
			var status struct {
				Policy struct{ Hash string }
			}
			node.ask(t, "GET", "/status", "").into(t, &status)
			hashes = append(hashes, status.Policy.Hash)
		}
		if hash = hashes[0]; hashes[0] != hashes[1] {
			return errors.New(strings.Join(hashes, " "))
		}
		return nil
	})
	for _, path := range []string{"/policy/objects", "/groups?size=1000", "/v1/tenant0/mapping?limit=1000", "/blacklist", "/consumers?size=1000"} {
		eventually(t, soon, path+" is answered alike", func() error { // a policy is in force a moment before it is noted as good
			if a, b := nodes[0].ask(t, "GET", path, ""), nodes[1].ask(t, "GET", path, ""); a.status != 200 || a.text != b.text {
				return errors.New("the nodes answer differently")
			}
			return nil
		})
	}
	r.compareStore(nodes[0])
	r.compareLists(nodes[0])
	t.Logf("%d conflicts, %d consumers, %d domains, policy %.12s", r.conflicts, len(r.consumers), len(r.owners), hash)
	if r.conflicts == 0 {
		t.Error("there was no conflict: this test tests nothing")
	}
}

// compareStore holds what lictor shows against KV, and the acknowledged
// consumers and domains against both.
func (r *race) compareStore(node *lictorProcess) {
	t := r.t
	pairs, _, err := r.agent.Client.KV().List("lictor/policy/", &api.QueryOptions{RequireConsistent: true})
	if err != nil {
		t.Fatal(err)
	}
	inStore := map[string]string{}
	for _, p := range pairs {
		inStore[strings.TrimPrefix(p.Key, "lictor/policy/")] = string(p.Value)
	}
	var shown struct {
		Objects []struct {
			Key   string
			Value []byte
			Error string
		}
	}
	node.ask(t, "GET", "/policy/objects", "").into(t, &shown)
	if len(shown.Objects) != len(inStore) {
		t.Errorf("lictor shows %d objects, the store has %d", len(shown.Objects), len(inStore))
	}
	for _, o := range shown.Objects {
		if inStore[o.Key] != string(o.Value) || o.Error != "" {
			t.Errorf("%s: lictor shows %q %s, the store has %q", o.Key, o.Value, o.Error, inStore[o.Key])
		}
	}
	for name, made := range r.consumers {
		if _, there := inStore["consumers/"+name]; there != made {
			t.Errorf("consumer %s: in the store %v, want %v", name, there, made)
		}
	}
	owned := map[string]bool{}
	for owner := range r.owners {
		tenant, domain, _ := strings.Cut(owner, " ")
		if owned[domain] {
			t.Errorf("%s was given to two tenants", domain)
		}
		if owned[domain] = true; !strings.Contains(inStore["mappings/"+domain], tenant) {
			t.Errorf("%s: the store has %q, want the tenant %s", domain, inStore["mappings/"+domain], tenant)
		}
	}
}

func (r *race) compareLists(node *lictorProcess) {
	for list, want := range r.entries {
		var o struct {
			Entries []string `json:"entries"`
		}
		node.ask(r.t, "GET", "/blacklist/"+list, "").into(r.t, &o)
		slices.Sort(want)
		slices.Sort(o.Entries)
		if !slices.Equal(o.Entries, want) {
			r.t.Errorf("%s: %d entries, want the %d that were acknowledged", list, len(o.Entries), len(want))
		}
	}
}
