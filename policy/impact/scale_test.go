//go:build !race

package impact_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"lictor/policy"
	"lictor/policy/impact"
)

// large is a policy of 100,000 objects.
func large() (all []policy.Change) {
	put := func(kind policy.Kind, name string, o policy.Object) {
		n := uint64(len(all) + 1)
		all = append(all, policy.Change{Key: policy.Key{Kind: kind, Name: name}, Index: n, Created: n, Object: o})
	}
	for i := range 20000 {
		name := fmt.Sprint("consumer-", i)
		put(policy.KindConsumers, name, &policy.Consumer{Name: name, ID: fmt.Sprint("id-", i), Groups: []string{fmt.Sprint("group-", i%300), fmt.Sprint("group-", i%7)}})
		for k := range 3 {
			put(policy.KindCredentials, fmt.Sprintf("%064x", i*3+k), &policy.Credential{Consumer: fmt.Sprint("id-", i)})
		}
	}
	for i := range 2000 {
		api := fmt.Sprint("api-", i)
		for k := range 2 {
			filter := fmt.Sprintf("filter-%d-%d", i, k)
			put(policy.KindFilters, filter, &policy.Filter{Name: filter, Methods: []string{"GET", "POST"}[:1+k], Paths: []string{fmt.Sprintf("/%s/part-%d", api, k)}, IPs: []string{fmt.Sprintf("10.%d.0.0/16", i%250)}})
			put(policy.KindACLs, fmt.Sprintf("acl-%d-%d", i, k), &policy.ACL{API: api, Groups: []string{fmt.Sprint("group-", (i+k)%300)}, Filters: []string{filter}})
		}
		put(policy.KindACLs, fmt.Sprint("owner-", i), &policy.ACL{API: api, Consumers: []string{fmt.Sprint("id-", i)}})
		put(policy.KindPluginMappings, fmt.Sprint("limit-", i), &policy.PluginMapping{API: api, Plugins: []string{fmt.Sprint("limit-", i%400)}})
		put(policy.KindPluginMappings, fmt.Sprint("key-", i), &policy.PluginMapping{API: api, Plugins: []string{"key"}})
	}
	for i := range 400 {
		put(policy.KindPlugins, fmt.Sprint("limit-", i), &policy.Plugin{Name: "rate-limiting", Config: map[string]any{"minute": int64(100 + i)}})
	}
	put(policy.KindPlugins, "key", &policy.Plugin{Name: "key-auth"})
	for i := range 1000 {
		domain := fmt.Sprintf("tenant-%d.example.org", i)
		put(policy.KindMappings, domain, &policy.Mapping{Domain: domain, Backends: []string{"http://10.0.0.7:8080"}})
	}
	for i := 0; len(all) < 100000; i++ {
		put(policy.KindBlacklist, fmt.Sprint("list-", i), &policy.List{Entries: []string{
			fmt.Sprintf("192.%d.%d.0/24", i/250%250, i%250), fmt.Sprintf("/api-%d/closed-%d", i%2000, i), fmt.Sprintf("bad-%d.example.net", i)}})
	}
	return all
}

// busy is the time that the process has computed, in all threads: machines that run
// tests are busy with other things.
func busy(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestOneChangeAmongManyIsProvenSoon changes one object among 100,000.
func TestOneChangeAmongManyIsProvenSoon(t *testing.T) { // R3: 2 s on a quiet machine
	was := large()
	for name, o := range map[string]policy.Object{
		"acls/acl-7-0":         &policy.ACL{ID: "acl-7-0", API: "api-7", Groups: []string{"group-7", "group-8"}, Filters: []string{"filter-7-0"}},
		"consumers/consumer-5": &policy.Consumer{Name: "consumer-5", ID: "id-5", Groups: []string{"group-6"}},
		"blacklist/list-7":     &policy.List{Entries: []string{"192.0.7.0/24", "/api-7/closed-7", "/api-7/shut", "bad-7.example.net"}},
	} {
		key, _ := policy.ParseKey("policy/" + name)
		t.Run(name, func(t *testing.T) {
			is := make([]policy.Change, len(was))
			found := false
			for i, c := range was {
				if c.Key == key {
					c.Object, found = o, true
				}
				is[i] = c
			}
			began := busy(t)
			rep := impact.Compare(was, is, impact.Options{})
			took := busy(t) - began
			classes := 0
			for _, p := range rep.Roads {
				classes += p.Classes
			}
			t.Logf("%v for %d classes of %d roads, %d lines", took, classes, len(rep.Roads), len(rep.Lines))
			if !found || len(rep.Changed) != 1 || !rep.Complete || classes == 0 {
				t.Errorf("found %v, changed %v, complete %v, %d classes", found, rep.Changed, rep.Complete, classes)
			}
			if took > 4*time.Second { // half of that on a quiet machine
				t.Errorf("it took %v", took)
			}
		})
	}
}
