package consul

import (
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"

	"lictor/resolver/consul/consultest"
)

// TestAServiceThatRegistersAsAPartitionEndsIsKnownWithinASecond: packets to and
// from Consul are dropped until every watch has failed and backs off. The test
// runs itself again in a network namespace of its own, to drop them.
func TestAServiceThatRegistersAsAPartitionEndsIsKnownWithinASecond(t *testing.T) {
	const inside = "LICTOR_TEST_NAMESPACE"
	if os.Getenv(inside) == "" {
		cmd := exec.Command("unshare", "-rn", "sh", "-c", `ip link set lo up && exec "$0" -test.run "^$1\$"`, os.Args[0], t.Name())
		cmd.Env = append(os.Environ(), inside+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	liar := consultest.New()
	server := httptest.NewServer(liar)
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	partition := func(on bool) {
		rules := "delete table inet hole"
		if on {
			rules = "add table inet hole; add chain inet hole in { type filter hook input priority 0; }; " +
				"add rule inet hole in tcp dport " + port + " drop; add rule inet hole in tcp sport " + port + " drop"
		}
		if out, err := exec.Command("nft", rules).CombinedOutput(); err != nil {
			t.Fatalf("nft: %v: %s", err, out)
		}
	}
	r, stop := runAgainst(t, server.URL)
	defer stop()
	// Within a second, not eventually: the time is what is tested.
	within := func(limit time.Duration, what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not within %v: %s", limit, what)
			}
		}
	}
	known := func(name string) bool { return r.Catalog().Lookup(name) != nil }
	within(20*time.Second, "a service is known", func() bool { r.Want(consultest.Service); return known(consultest.Service) })
	for round := range 2 {
		partition(true)
		within(time.Minute, "the partition is noticed", func() bool { return r.Status().Error != "" && r.cfg.Client.Contact.Down() })
		// By now several dials are on their way, each with its packets lost.
		failed := r.Status().ErrorTime
		within(time.Minute, "it goes on", func() bool { return r.Status().ErrorTime.After(failed) })
		if !r.Catalog().Lookup(consultest.Service).Loaded {
			t.Error("what was known is not served during the partition")
		}
		name := fmt.Sprint("new-", round)
		liar.Register(name)
		partition(false)
		within(time.Second, "the new service is known", func() bool { return known(name) })
	}
}
