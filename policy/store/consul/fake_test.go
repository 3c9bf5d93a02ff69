package consul_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	client "lictor/internal/consul"
	"lictor/policy/store/consul"
	"lictor/policy/store/modeltest"
)

// fakeConsul speaks as much of Consul's KV as the store needs, without a
// network, so that it lives in a bubble of synctest.
type fakeConsul struct {
	mu      sync.Mutex
	index   uint64
	pairs   map[string]fakePair
	graves  map[string]uint64 // index of the deletion, by key or deleted prefix
	changed chan struct{}     // closed by the next write
	fault   modeltest.Fault
	asked   []string // paths with queries
	bytes   int      // of all answers
}

type fakePair struct {
	LockIndex   uint64
	Key         string
	Flags       uint64
	Value       []byte
	CreateIndex uint64
	ModifyIndex uint64
}

func newFake() *fakeConsul {
	return &fakeConsul{index: 10, pairs: map[string]fakePair{}, graves: map[string]uint64{}, changed: make(chan struct{})}
}

// open returns a store on the fake.
func (f *fakeConsul) open(t *testing.T, dataDir string) *consul.Store {
	t.Helper()
	return f.openAt(t, dataDir, "")
}

func (f *fakeConsul) openAt(t *testing.T, dataDir, prefix string) *consul.Store {
	t.Helper()
	return f.openWith(t, consul.Config{DataDir: dataDir, Prefix: prefix})
}

func (f *fakeConsul) openStale(t *testing.T, maxStale time.Duration) *consul.Store {
	t.Helper()
	return f.openWith(t, consul.Config{MaxStale: maxStale})
}

func (f *fakeConsul) openWith(t *testing.T, cfg consul.Config) *consul.Store {
	t.Helper()
	c, err := client.New(client.Config{
		API: &api.Config{Address: "consul.test:8500", HttpClient: &http.Client{Transport: f}, Token: "secret"},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Client, cfg.Log = c, hclog.NewNullLogger()
	cfg.Kinds, cfg.Shard = []string{
		"acls", "apis", "blacklist", "consumers", "credentials", "filters",
		"groups", "mappings", "plugin-mappings", "plugins", "whitelist",
	}, "credentials"
	s, err := consul.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// SetFault makes every request go to fault, where it returns something.
func (f *fakeConsul) SetFault(fault modeltest.Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
	f.wake()
}

// requests returns what was asked since the last call.
func (f *fakeConsul) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = nil
	return asked
}

// wake lets blocked queries look again. The caller holds mu.
func (f *fakeConsul) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// Value is what a key below policy/ has.
func (f *fakeConsul) Value(key string) (value string, there bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pair, there := f.pairs["lictor/policy/"+key]
	return string(pair.Value), there
}

func (f *fakeConsul) Put(key, value string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.index++
	f.set("lictor/policy/"+key, []byte(value))
	f.wake()
}

func (f *fakeConsul) Remove(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.index++
	f.delete("lictor/policy/" + key)
	f.wake()
}

// clear deletes everything below policy/ at one stroke.
func (f *fakeConsul) clear() { f.RemoveAll("") }

// RemoveAll deletes everything below a prefix at one stroke.
func (f *fakeConsul) RemoveAll(prefix string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.index++
	prefix = "lictor/policy/" + prefix
	maps.DeleteFunc(f.pairs, func(key string, _ fakePair) bool { return strings.HasPrefix(key, prefix) })
	f.graves[prefix] = f.index
	f.wake()
}

// Forget makes an empty Consul of it, which counts from the start.
func (f *fakeConsul) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.index = 3
	clear(f.pairs)
	clear(f.graves)
}

func (f *fakeConsul) set(key string, value []byte) fakePair {
	p := fakePair{Key: key, Value: value, CreateIndex: f.index, ModifyIndex: f.index}
	if old, ok := f.pairs[key]; ok {
		p.CreateIndex = old.CreateIndex
		if bytes.Equal(old.Value, value) {
			return old // as Consul does
		}
	}
	f.pairs[key] = p
	return p
}

func (f *fakeConsul) delete(key string) {
	if _, ok := f.pairs[key]; ok {
		delete(f.pairs, key)
		f.graves[key] = f.index
	}
}

// answered is how many bytes all answers had.
func (f *fakeConsul) answered() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bytes
}

// RoundTrip answers a request, and counts.
func (f *fakeConsul) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := f.answer(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bytes += len(body)
	return resp, err
}

func (f *fakeConsul) answer(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	f.asked = append(f.asked, strings.TrimPrefix(r.URL.RequestURI(), "/v1/kv/lictor/policy/"))
	fault := f.fault
	f.mu.Unlock()
	if r.Header.Get("X-Consul-Token") != "secret" {
		return modeltest.Respond(http.StatusForbidden, 0, "ACL not found"), nil
	}
	if fault != nil {
		if resp, err := fault(r); resp != nil || err != nil {
			return resp, err
		}
	}
	switch key, isKV := strings.CutPrefix(r.URL.Path, "/v1/kv/"); {
	case isKV && r.Method == http.MethodGet:
		return f.get(r, key)
	case isKV && r.Method == http.MethodPut:
		return f.putLarge(r, key)
	case r.URL.Path == "/v1/txn":
		return f.txn(r)
	}
	return modeltest.Respond(http.StatusNotFound, 0, "no such endpoint"), nil
}

// get answers a query, as soon as there is something newer than it knows.
func (f *fakeConsul) get(r *http.Request, key string) (*http.Response, error) {
	q := r.URL.Query()
	known, _ := strconv.ParseUint(q.Get("index"), 10, 64)
	wait, _ := time.ParseDuration(q.Get("wait"))
	over := time.NewTimer(wait)
	defer over.Stop()
	for late := known == 0; ; {
		f.mu.Lock()
		index, body := f.look(key, q)
		changed := f.changed
		f.mu.Unlock()
		if index > known || late {
			status := http.StatusOK
			if body == "" {
				status = http.StatusNotFound
			}
			return modeltest.Respond(status, index, body), nil
		}
		select {
		case <-changed:
		case <-over.C:
			late = true
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// look returns the index and the answer on a prefix. The caller holds mu.
func (f *fakeConsul) look(key string, q url.Values) (uint64, string) {
	names := q.Has("keys")
	prefix := names || q.Has("recurse")
	var found []fakePair
	var folded []string
	index := uint64(0)
	for _, k := range slices.Sorted(maps.Keys(f.pairs)) {
		if k == key || prefix && strings.HasPrefix(k, key) {
			found = append(found, f.pairs[k])
			index = max(index, f.pairs[k].ModifyIndex)
			rest, _, cut := strings.Cut(k[len(key):], "/")
			name := key + rest + strings.Repeat("/", map[bool]int{cut: 1}[true])
			if !q.Has("separator") {
				name = k
			}
			if !slices.Contains(folded, name) {
				folded = append(folded, name)
			}
		}
	}
	for k, at := range f.graves {
		if strings.HasPrefix(k, key) {
			index = max(index, at)
		}
	}
	if index == 0 {
		index = f.index
	}
	if len(found) == 0 {
		return index, ""
	}
	var answer any = found
	if names {
		answer = folded
	}
	text, _ := json.Marshal(answer)
	return index, string(text)
}

func (f *fakeConsul) putLarge(r *http.Request, key string) (*http.Response, error) {
	value, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if cas := r.URL.Query().Get("cas"); cas != "" && cas != strconv.FormatUint(f.pairs[key].ModifyIndex, 10) {
		return modeltest.Respond(http.StatusOK, 0, "false"), nil
	}
	f.index++
	f.set(key, value)
	f.wake()
	return modeltest.Respond(http.StatusOK, 0, "true"), nil
}

func (f *fakeConsul) txn(r *http.Request) (*http.Response, error) {
	var ops api.TxnOps
	if err := json.NewDecoder(r.Body).Decode(&ops); err != nil {
		return modeltest.Respond(http.StatusBadRequest, 0, err.Error()), nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	type result struct{ KV fakePair }
	out := struct {
		Results []result
		Errors  api.TxnErrors
	}{}
	for i, op := range ops {
		has := f.pairs[op.KV.Key].ModifyIndex
		bad := false
		switch op.KV.Verb {
		case api.KVCAS, api.KVDeleteCAS:
			bad = has != op.KV.Index
		case api.KVCheckIndex:
			bad = has == 0 || has != op.KV.Index
		case api.KVCheckNotExists:
			bad = has != 0
		}
		if bad {
			out.Errors = append(out.Errors, &api.TxnError{OpIndex: i, What: "failed index check for the key"})
		}
	}
	status := http.StatusConflict
	if len(out.Errors) == 0 {
		status = http.StatusOK
		if slices.ContainsFunc(ops, func(op *api.TxnOp) bool { return op.KV.Verb != api.KVCheckIndex }) {
			f.index++
		}
		for _, op := range ops {
			switch op.KV.Verb {
			case api.KVCheckIndex:
				p := f.pairs[op.KV.Key]
				p.Value = nil
				out.Results = append(out.Results, result{p})
			case api.KVSet, api.KVCAS:
				p := f.set(op.KV.Key, op.KV.Value)
				p.Value = nil
				out.Results = append(out.Results, result{p})
			case api.KVDelete, api.KVDeleteCAS:
				f.delete(op.KV.Key)
			}
		}
		f.wake()
	}
	text, _ := json.Marshal(out)
	return modeltest.Respond(status, 0, string(text)), nil
}

func refuse(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }
