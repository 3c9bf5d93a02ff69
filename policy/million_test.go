package policy_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"lictor/policy"
	"lictor/policy/document"
)

// plain makes n entries such as large lists are made of, half names and half
// addresses, none of which speaks of the requests of the benchmarks.
func plain(n int) []string {
	list := make([]string, n)
	for i := range list {
		if list[i] = fmt.Sprintf("host-%d.bad%d.example", i, i%977); i%2 == 1 {
			a := 0x0b000000 + uint32(i)*2654435761&0x7fffffff
			list[i] = fmt.Sprintf("%d.%d.%d.%d", a>>24, a>>16&255, a>>8&255, a&255)
		}
	}
	return list
}

// plainLists are blacklists of some entries each, as documents with their keys.
func plainLists(n, each int) (docs []string) {
	all := plain(n)
	for i := 0; i < len(all); i += each {
		docs = append(docs, fmt.Sprintf("blacklist/p%d", i), strings.Join(all[i:min(i+each, len(all))], "\n"))
	}
	return docs
}

// changesOf reads documents.
func changesOf(docs []string) []policy.Change {
	changes := make([]policy.Change, 0, len(docs)/2)
	for i := 0; i < len(docs); i += 2 {
		k, _ := policy.ParseKey("policy/" + docs[i])
		changes = append(changes, document.Change(k, 1, 1, []byte(docs[i+1])))
	}
	return changes
}

// TestAnEntryCostsFewBytes holds what an entry costs in a Set and the Builder that
// made it: its text, and some 40 bytes besides.
func TestAnEntryCostsFewBytes(t *testing.T) {
	const n = 100_000
	docs := plainLists(n, 1000)
	text := 0
	for i := 1; i < len(docs); i += 2 {
		text += len(docs[i])
	}
	live := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := live()
	b := policy.NewBuilder(policy.Options{})
	set, _ := b.Apply(1, changesOf(docs))
	per := float64(live()-before) / n
	t.Logf("%.1f bytes an entry, of which its text, kept twice, is %.1f", per, 2*float64(text)/n)
	if per > 2*float64(text)/n+60 {
		t.Errorf("an entry costs %.1f bytes, and its text has %.1f", per, float64(text)/n)
	}
	runtime.KeepAlive(b)
	runtime.KeepAlive(set)
}

// BenchmarkLoadMillion measures what a start with a million entries costs, read
// from their documents and compiled.
func BenchmarkLoadMillion(b *testing.B) {
	for _, each := range []int{1000, 20_000, 1_000_000} {
		docs := plainLists(1_000_000, each)
		b.Run(fmt.Sprintf("lists of %d", each), func(b *testing.B) {
			for b.Loop() {
				policy.NewBuilder(policy.Options{}).Apply(1, changesOf(docs))
			}
		})
	}
}

// BenchmarkDecidePlain compares decisions among a thousand entries and among a
// million of them.
func BenchmarkDecidePlain(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			_, set := newStore(b, policy.Options{}, append(plainLists(n, 20_000), big(0, 1000, 10_000, 10_000)...)...)
			_, run := busy(b, set)
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
}
