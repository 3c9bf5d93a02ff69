//go:build integration

package integration_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"lictor/internal/consul"
	"lictor/policy/store"
	consulstore "lictor/policy/store/consul"
	"lictor/policy/store/storetest"
)

var entries = flag.Int("entries", 50_000, "among how many entries TestAChangeAmongManyEntries changes one; the aims are for 1,000,000")

// mostMemory bounds what a lictor may hold at its height with 1,000,000 entries, in MiB.
const mostMemory = 500

// changes is how many entries are changed, more where it is measured.
func changes() int { return max(2, *entries/25_000) }

// entriesPerKey makes a key of some 400 KB, of the 512 KiB that Consul allows.
const entriesPerKey = 20_000

// TestAChangeAmongManyEntries measures what a lictor needs to be ready with many
// entries in Consul's KV, half of them names and half addresses, and what a change of
// one entry costs it, from the write to the first request that is refused.
func TestAChangeAmongManyEntries(t *testing.T) {
	together(t)
	agent := startConsul(t)
	lists := fillEntries(t, agent, *entries)
	up := startBackend(t, "up")
	register(t, agent, "steady", "steady-1", up.Addr)
	p := newLictor(t, lictorConfig{Plain: true, DataDir: t.TempDir(), Rest: consulConfig(agent, "") + "policy {\n  store = \"consul\"\n}\n"})
	for _, start := range []string{"cold", "with what was kept"} {
		began := time.Now()
		p.Start(t)
		p.Ready(t)
		answered(t, p, "/steady/", http.StatusOK)
		took, cpu := time.Since(began), cpuOf(t, p.Pid())
		rest(t, p)
		t.Logf("%d entries, %s: ready after %v and %v of CPU, settled after %v of it; %d MiB resident, %d at the height", *entries, start,
			took.Round(time.Millisecond), cpu, cpuOf(t, p.Pid()), memoryOf(t, p, "VmRSS:"), memoryOf(t, p, "VmHWM:"))
		changeEntries(t, agent, p, lists)
		t.Logf("%d MiB resident, %d at the height", memoryOf(t, p, "VmRSS:"), memoryOf(t, p, "VmHWM:"))
		if n := memoryOf(t, p, "VmHWM:"); n > mostMemory {
			t.Errorf("%d MiB at the height, want at most %d", n, mostMemory)
		}
		p.Stop(t)
	}
}

// changeEntries changes one entry of one list after the other.
func changeEntries(t *testing.T, agent *consulAgent, p *lictorProcess, lists map[string][]string) {
	t.Helper()
	times := changes()
	var seen []time.Duration
	theirs, ours := cpuOf(t, agent.cmd.Process.Pid), cpuOf(t, p.Pid())
	for i := range times {
		name := fmt.Sprintf("list-%03d", i*7%len(lists))
		path := fmt.Sprintf("/steady/turn-%d-%d", i, rand.Uint32())
		lists[name][i] = path
		kvPut(t, agent, "lictor/policy/blacklist/"+name, strings.Join(lists[name], "\n"))
		began := time.Now()
		answered(t, p, path, http.StatusForbidden)
		seen = append(seen, time.Since(began))
		time.Sleep(500 * time.Millisecond)
	}
	t.Logf("a change is in force after p50 %v p99 %v, for %v of CPU here and %v in consul", quantile(seen, 50).Round(time.Millisecond), quantile(seen, 99).Round(time.Millisecond),
		(cpuOf(t, p.Pid())-ours)/time.Duration(times), (cpuOf(t, agent.cmd.Process.Pid)-theirs)/time.Duration(times))
}

// answered asks for a path until the answer has a status, so seldom that the
// questions cost little.
func answered(t *testing.T, p *lictorProcess, path string, status int) {
	t.Helper()
	for until := time.Now().Add(soon); ; time.Sleep(4 * time.Millisecond) {
		got, _ := fetch(t, "http://"+p.Gateway+path)
		if got == status {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("%s is answered %d, want %d", path, got, status)
		}
	}
}

// rest waits until a process uses no CPU to speak of.
func rest(t *testing.T, p *lictorProcess) {
	t.Helper()
	eventually(t, soon, "lictor is at rest", func() error {
		before := cpuOf(t, p.Pid())
		time.Sleep(2 * time.Second)
		if used := cpuOf(t, p.Pid()) - before; used > 20*time.Millisecond {
			return fmt.Errorf("used %v", used)
		}
		return nil
	})
}

// memoryOf returns a line of a process's status, in MiB.
func memoryOf(t *testing.T, p *lictorProcess, line string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), line)
	return atoi(t, strings.Fields(after)[0]) >> 10
}

// fillEntries writes blacklists of n entries, and returns them by name.
func fillEntries(t *testing.T, agent *consulAgent, n int) map[string][]string {
	t.Helper()
	lists := map[string][]string{}
	for i := range n {
		name := fmt.Sprintf("list-%03d", i/entriesPerKey)
		entry := fmt.Sprintf("host-%d.bad%d.example", i, i%977)
		if i%2 == 1 {
			a := 0x0b000000 + uint32(i)*2654435761&0x7fffffff
			entry = fmt.Sprintf("%d.%d.%d.%d", a>>24, a>>16&255, a>>8&255, a&255)
		}
		lists[name] = append(lists[name], entry)
	}
	for name, list := range lists {
		pair := &api.KVPair{Key: "lictor/policy/blacklist/" + name, Value: []byte(strings.Join(list, "\n"))}
		if _, err := agent.Client.KV().Put(pair, nil); err != nil {
			t.Fatal(err)
		}
	}
	return lists
}

// TestReadersCompareKeys: a token that may only read finds the key that changed, and
// reads no other.
func TestReadersCompareKeys(t *testing.T) {
	together(t)
	agent := startConsul(t, withACL(rootToken))
	fillEntries(t, agent, 100_000)
	reader := newBearer(t, agent, "reader", []string{`key_prefix "lictor/" { policy = "read" }`})
	wire := &counted{RoundTripper: &http.Transport{MaxIdleConnsPerHost: 64}}
	client, err := consul.New(consul.Config{API: &api.Config{Address: agent.Addr, Token: reader.secret, HttpClient: &http.Client{Transport: wire}}, MaxAnswer: consul.MaxPolicy})
	if err != nil {
		t.Fatal(err)
	}
	s, err := consulstore.New(consulstore.Config{Kinds: storeKinds, Shard: "credentials", Client: client, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	w := storetest.Start(t, s)
	wire.settles(t)
	for _, value := range []string{"one.example", "another.example"} {
		before := wire.bytes.Load()
		kvPut(t, agent, "lictor/policy/blacklist/list-003", value)
		w.Eventually("it is seen", func(c map[string]store.Object) bool { return string(c["blacklist/list-003"].Value) == value })
		wire.settles(t)
		if n := wire.bytes.Load() - before; n > 50_000 {
			t.Errorf("%d bytes were read of a change of %d", n, len(value))
		}
	}
}
