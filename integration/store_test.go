//go:build integration

package integration_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"lictor/internal/consul"
	"lictor/policy/store"
	consulstore "lictor/policy/store/consul"
	"lictor/policy/store/storetest"
)

// storeKinds are the kinds of the policy, as lictor hands them in.
var storeKinds = []string{
	"acls", "apis", "blacklist", "consumers", "credentials", "filters",
	"groups", "mappings", "plugin-mappings", "plugins", "whitelist",
}

// openStore returns a store in the agent's KV, below a prefix of its own.
func openStore(t *testing.T, agent *consulAgent, prefix, dataDir string) *consulstore.Store {
	t.Helper()
	client, err := consul.New(consul.Config{API: &api.Config{Address: agent.Addr, Token: agent.Token}, MaxAnswer: consul.MaxPolicy})
	if err != nil {
		t.Fatal(err)
	}
	s, err := consulstore.New(consulstore.Config{Kinds: storeKinds, Shard: "credentials",
		Client: client,
		Prefix: prefix, DataDir: dataDir, Log: testLog(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// testLog shows the log if the test fails.
func testLog(t *testing.T) hclog.Logger {
	output := &lockedBuffer{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the store said:\n%s", output.String())
		}
	})
	return hclog.New(&hclog.LoggerOptions{Output: output, Level: hclog.Debug})
}

// kvPut and kvDelete are the operator at the command line.
func kvPut(t *testing.T, agent *consulAgent, key, value string) {
	t.Helper()
	if _, err := agent.Client.KV().Put(&api.KVPair{Key: key, Value: []byte(value)}, nil); err != nil {
		t.Errorf("consul kv put %s: %v", key, err)
	}
}

func kvDelete(t *testing.T, agent *consulAgent, key string) {
	t.Helper()
	if _, err := agent.Client.KV().Delete(key, nil); err != nil {
		t.Errorf("consul kv delete %s: %v", key, err)
	}
}

func TestConsulStore(t *testing.T) {
	together(t)
	agent := startConsul(t)
	storetest.Run(t, func(t *testing.T) storetest.Fixture {
		prefix := "lictor-" + strings.ReplaceAll(t.Name(), "/", "-") + "/"
		data := t.TempDir()
		return storetest.Fixture{
			Store:  openStore(t, agent, prefix, data),
			Put:    func(key, value string) { kvPut(t, agent, prefix+"policy/"+key, value) },
			Remove: func(key string) { kvDelete(t, agent, prefix+"policy/"+key) },
			RemoveAll: func(kind string) {
				if kind != "" {
					kind += "/"
				}
				if _, err := agent.Client.KV().DeleteTree(prefix+"policy/"+kind, nil); err != nil {
					t.Error(err)
				}
			},
			Reopen:    func() store.Store { return openStore(t, agent, prefix, data) },
			Elsewhere: func() store.Store { return openStore(t, agent, prefix+"elsewhere/", data) },
		}
	})
}
