//go:build integration

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"lictor/internal/consul"
	"lictor/policy/store"
	consulstore "lictor/policy/store/consul"
	"lictor/policy/store/modeltest"
)

// modelConsul is a real Consul as the model wants it: what fails is the way to it.
type modelConsul struct {
	t     *testing.T
	agent *consulAgent

	mu    sync.Mutex // guards fault
	fault modeltest.Fault
}

const modelRoot = "lictor/policy/"

func (m *modelConsul) Put(key, value string) { kvPut(m.t, m.agent, modelRoot+key, value) }

func (m *modelConsul) Remove(key string) { kvDelete(m.t, m.agent, modelRoot+key) }

func (m *modelConsul) RemoveAll(prefix string) {
	if _, err := m.agent.Client.KV().DeleteTree(modelRoot+prefix, nil); err != nil {
		m.t.Errorf("consul kv delete -recurse %s: %v", prefix, err)
	}
}

func (m *modelConsul) Value(key string) (value string, there bool) {
	pair, _, err := m.agent.Client.KV().Get(modelRoot+key, nil)
	if err != nil {
		m.t.Errorf("consul kv get %s: %v", key, err)
	}
	if pair == nil {
		return "", false
	}
	return string(pair.Value), true
}

func (m *modelConsul) Forget() {
	m.agent.Kill(m.t)
	m.agent.Start(m.t)
}

func (m *modelConsul) SetFault(fault modeltest.Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = fault
}

func (m *modelConsul) Lose(done bool, times int) {
	var mu sync.Mutex
	m.SetFault(func(r *http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method != http.MethodPut || times == 0 {
			return nil, nil
		}
		times--
		if done {
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				return nil, err
			}
			_ = resp.Body.Close() // the answer is lost
		}
		return nil, errors.New("connection reset by peer")
	})
}

// RoundTrip lets a request of the store fail, or brings it to Consul.
func (m *modelConsul) RoundTrip(r *http.Request) (*http.Response, error) {
	m.mu.Lock()
	fault := m.fault
	m.mu.Unlock()
	if fault != nil {
		if resp, err := fault(r); resp != nil || err != nil {
			return resp, err
		}
	}
	return http.DefaultTransport.RoundTrip(r)
}

// Open returns a store that reaches the agent by m; it has one watch, as the
// policy is small.
func (m *modelConsul) Open(data string, _ bool) store.Store {
	client, err := consul.New(consul.Config{API: &api.Config{Address: m.agent.Addr, HttpClient: &http.Client{Transport: m}}})
	if err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = client.Contact.Probe(ctx, client) // ends with ctx
	}()
	m.t.Cleanup(func() { cancel(); <-ended })
	s, err := consulstore.New(consulstore.Config{
		Client: client, Kinds: storeKinds, Shard: "credentials", DataDir: data, MaxStale: time.Second, Log: testLog(m.t),
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

// Pass lets less time pass than the model asks for, which is written for a clock
// that costs nothing.
func (m *modelConsul) Pass(d time.Duration) { time.Sleep(d / 20) }

func (m *modelConsul) Settle(s store.Store, d time.Duration) {
	eventually(m.t, d+time.Minute, "the store has seen everything", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Refresh(ctx); err != nil {
			return fmt.Errorf("%w: %+v", err, s.Status())
		}
		return nil
	})
}

func (m *modelConsul) Patience() time.Duration { return 2 * time.Second }

// TestNothingOpensByAccidentOnARealConsul is the model test of policy/store/consul,
// shortened, on a Consul that is none of ours.
func TestNothingOpensByAccidentOnARealConsul(t *testing.T) {
	together(t)
	for seed := range uint64(2) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			modeltest.Run(t, &modelConsul{t: t, agent: startConsul(t)}, t.TempDir(), seed, 150)
		})
	}
}
