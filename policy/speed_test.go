package policy_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lictor/policy"
	"lictor/policy/document"
)

// entries makes n blacklist entries of all forms, none of which speaks of the
// requests of the benchmarks.
func entries(n int) []string {
	list := make([]string, n)
	for i := range list {
		switch i % 6 {
		case 0:
			list[i] = fmt.Sprintf("host-%d.bad.example", i)
		case 1:
			list[i] = fmt.Sprintf(".d%d.example", i)
		case 2:
			list[i] = fmt.Sprintf("198.%d.%d.%d", 18+i>>16&1, i>>8&255, i&255)
		case 3:
			list[i] = fmt.Sprintf("2001:db8:%x::/48", i&0xffff)
		case 4:
			list[i] = fmt.Sprintf("/api-%d/closed/%d", i%1000, i)
		default:
			list[i] = fmt.Sprintf("POST http://h%d.example/x/%d", i, i)
		}
	}
	return list
}

// big is the policy of the benchmarks, as changes with documents to read.
func big(lists, apis, consumers, creds int) (docs []string) {
	all := entries(lists)
	for i := 0; i < len(all); i += 10_000 {
		docs = append(docs, fmt.Sprintf("blacklist/b%d", i), strings.Join(all[i:min(i+10_000, len(all))], "\n"))
	}
	for i := range consumers {
		docs = append(docs, fmt.Sprintf("consumers/c%d", i), fmt.Sprintf(`{"id":"id-%d","groups":["g%d"]}`, i, i%10))
	}
	for i := range creds {
		docs = append(docs, credential(fmt.Sprintf("key-%d", i)), fmt.Sprintf(`{"consumer":"id-%d"}`, i%max(consumers, 1)))
	}
	docs = append(docs, "filters/rw", `{"methods":["GET","POST"],"inline":true}`, "plugins/key", `{"name":"key-auth"}`,
		"plugins/limit", `{"name":"rate-limiting","config":{"second":1000000000,"year":1000000000000}}`)
	for i := range apis {
		docs = append(docs, fmt.Sprintf("acls/a%d", i), fmt.Sprintf(`{"api":"api-%d","groups":["g%d"],"filters":["rw"]}`, i, i%10),
			fmt.Sprintf("plugin-mappings/m%d", i), fmt.Sprintf(`{"api":"api-%d","plugins":["key","limit"]}`, i))
	}
	return docs
}

// busy is a request that passes every step.
func busy(t testing.TB, set *policy.Set) (r *policy.Request, run func()) {
	t.Helper()
	r = ask(t, "GET http://www.shop.example/api-7/orders/4711?x=1 from=203.0.113.7")
	r.Fields, r.Limiter = oneField{"apikey", "key-7"}, new(policy.Limiter)
	var v policy.Verdict
	run = func() {
		route := set.Route(r)
		if set.Decide(r, &route, &v, nil); !v.Allowed() {
			t.Fatalf("the benchmark measures the refusal path: %+v", v)
		}
	}
	run()
	if v.Identity == nil || v.Identity.Name != "c7" || len(v.Limits.All()) != 2 {
		t.Fatalf("the benchmark leaves steps out: %+v", v)
	}
	return r, run
}

// oneField is a header of one field that costs what a real one does.
type oneField struct{ name, value string }

func (f oneField) Field(name string) (string, int) {
	if strings.EqualFold(name, f.name) {
		return f.value, 1
	}
	return "", 0
}

func TestDecideDoesNotAllocate(t *testing.T) {
	_, set := newStore(t, policy.Options{BindConsumers: true}, big(3000, 10, 100, 100)...)
	r, run := busy(t, set)
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("a decision allocates %v times, want 0", n)
	}
	r.Path = mustPath("/api-7/x;y=1/..;/orders%2F1//a")
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("a decision on an odd path allocates %v times, want 0", n)
	}
	// A refusal as well.
	deny := ask(t, "GET http://host-0.bad.example/api-7/x")
	var v policy.Verdict
	if n := testing.AllocsPerRun(100, func() {
		route := set.Route(deny)
		set.Decide(deny, &route, &v, nil)
	}); n != 0 || v.Reason != policy.ReasonBlacklist {
		t.Errorf("a refusal allocates %v times, want 0: %+v", n, v)
	}
	d := &policy.Destination{Method: "GET", Host: "www.example", Port: 80, Path: mustPath("/x"), Addrs: []netip.Addr{netip.MustParseAddr("8.8.8.8")}, Registry: services}
	if n := testing.AllocsPerRun(100, func() { set.Blacklisted(d, &v, nil); set.Whitelisted(d, &v, nil) }); n != 0 || !v.Allowed() {
		t.Errorf("an egress decision allocates %v times, want 0: %+v", n, v)
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{0, 1000, 100_000} {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			_, set := newStore(b, policy.Options{}, big(n, 1000, 10_000, 10_000)...)
			_, run := busy(b, set)
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
	b.Run("empty policy", func(b *testing.B) {
		_, set := newStore(b, policy.Options{})
		r := ask(b, "GET http://www.shop.example/api-7/orders/4711?x=1")
		var v policy.Verdict
		b.ReportAllocs()
		for b.Loop() {
			route := set.Route(r)
			set.Decide(r, &route, &v, nil)
		}
	})
}

// BenchmarkChange measures one key changed in a full policy, its document read
// and the Set made.
func BenchmarkChange(b *testing.B) {
	s, _ := newStore(b, policy.Options{}, big(100_000, 1000, 10_000, 100_000)...)
	text := strings.Join(entries(10_000), "\n")
	changes := map[string][2]string{
		"consumer":         {`{"id":"id-5","groups":["g1"]}`, `{"id":"id-5","groups":["g2"]}`},
		"credential":       {`{"consumer":"id-5"}`, `{"consumer":"id-6"}`},
		"acl":              {`{"api":"api-5","groups":["g1"]}`, `{"api":"api-5","groups":["g2"]}`},
		"plugin":           {`{"name":"key-auth"}`, `{"name":"key-auth","config":{"hide_credentials":true}}`},
		"line of 10000":    {text, "new.example\n" + text},
		"blacklist of one": {"a.example", "b.example"},
	}
	keys := map[string]string{"consumer": "consumers/c5", "credential": credential("key-5"), "acl": "acls/a5", "plugin": "plugins/key",
		"line of 10000": "blacklist/b0", "blacklist of one": "blacklist/one"}
	for name, texts := range changes {
		b.Run(name, func(b *testing.B) {
			i := 0
			for b.Loop() {
				i++
				s.put(b, keys[name], texts[i%2])
			}
		})
	}
}

// BenchmarkFullLoad measures what a start costs: 100,000 credentials, 10,000
// consumers and 100,000 entries read from their documents and compiled.
func BenchmarkFullLoad(b *testing.B) {
	docs := big(100_000, 1000, 10_000, 100_000)
	for b.Loop() {
		load(docs)
	}
}

func load(docs []string) *policy.Builder {
	changes := make([]policy.Change, 0, len(docs)/2)
	for i := 0; i < len(docs); i += 2 {
		k, _ := policy.ParseKey("policy/" + docs[i])
		changes = append(changes, document.Change(k, 1, 1, []byte(docs[i+1])))
	}
	b := policy.NewBuilder(policy.Options{})
	b.Apply(1, changes)
	return b
}

// TestChangeCostsLittle holds that one key costs a small part of a full load.
func TestChangeCostsLittle(t *testing.T) {
	docs := big(20_000, 100, 2000, 10_000)
	began := time.Now()
	b := load(docs)
	full, one := time.Since(began), time.Hour
	for i := range 20 {
		began = time.Now()
		k, _ := policy.ParseKey("policy/consumers/c5")
		group := fmt.Sprint("new", i)
		set, _ := b.Apply(2, []policy.Change{document.Change(k, 2, 1, []byte(`{"groups":["`+group+`"]}`))})
		one = min(one, time.Since(began))
		if c := set.Consumer("c5"); c == nil || c.GroupsText != group {
			t.Fatalf("the change is not in force: %+v", c)
		}
	}
	if t.Logf("full load %s, one consumer %s", full, one); one > full/50 {
		t.Errorf("full load %s, one key %s", full, one)
	}
}
