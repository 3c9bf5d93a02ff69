//go:build !race

package consul_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"lictor/policy/store/consul"
	"lictor/policy/store/storetest"
)

func TestAChangeCostsWhatItSaysAndNotWhatIsThere(t *testing.T) {
	for _, test := range []struct {
		name           string
		kind           string
		n, size        int
		change         func(f *fakeConsul)
		bytes, answers int  // at most
		whole          bool // the kind is read
	}{
		{"one of many large keys", "blacklist", 80, 50_000, func(f *fakeConsul) { f.Put("blacklist/o0007", "new") }, 20_000, 20, false},
		{"a large key among large ones", "blacklist", 80, 50_000,
			func(f *fakeConsul) { f.Put("blacklist/o0007", strings.Repeat("y", 50_000)) }, 90_000, 20, false},
		{"a key that comes to large ones", "blacklist", 80, 50_000, func(f *fakeConsul) { f.Put("blacklist/o00070", "new") }, 20_000, 20, false},
		{"a large key that goes", "blacklist", 80, 50_000, func(f *fakeConsul) { f.Remove("blacklist/o0007") }, 20_000, 20, false},
		{"two at once", "blacklist", 80, 50_000, func(f *fakeConsul) { f.putAll("new", "blacklist/o0007", "blacklist/o0070") }, 20_000, 22, false},
		{"nearly all at once", "blacklist", 80, 50_000, func(f *fakeConsul) {
			var keys []string
			for i := range 79 {
				keys = append(keys, fmt.Sprintf("blacklist/o%04d", i))
			}
			f.putAll("new", keys...)
		}, 100_000, 20, true},
		{"one of many small keys", "consumers", 4000, 300, func(f *fakeConsul) { f.Put("consumers/o0007", "new") }, 3_000_000, 18, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			among(t, test.kind, test.n, test.size, func(t *testing.T, f *fakeConsul, _ *consul.Store, w *storetest.Watch) {
				before := f.answered()
				test.change(f)
				synctest.Wait() // no time passes
				for key, o := range w.Content() {
					if want, there := f.Value(key); !there || want != string(o.Value) {
						t.Fatalf("%s is not what it is in Consul", key)
					}
				}
				bytes := f.answered() - before
				asked := slices.DeleteFunc(f.requests(), func(one string) bool { return strings.Contains(one, "wait=") })
				if bytes > test.bytes || len(asked) > test.answers {
					t.Errorf("%d bytes in answers to %v", bytes, asked)
				}
				whole := false
				for _, one := range asked {
					whole = whole || strings.HasPrefix(one, test.kind) && strings.Contains(one, "recurse")
				}
				if whole != test.whole {
					t.Errorf("the kind was read: %v, want %v: %v", whole, test.whole, asked)
				}
			})
		})
	}
}
