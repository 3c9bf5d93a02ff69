package consul_test

import (
	"testing"

	"lictor/policy/store"
	"lictor/policy/store/storetest"
)

// The whole suite on a Consul of the tests' own, without a network; the
// integration tests run it on a real one.
func TestStore(t *testing.T) {
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Fixture {
				f, data := newFake(), t.TempDir()
				open := func(f *fakeConsul, prefix string) store.Store {
					s := f.openAt(t, data, prefix)
					layout.choose(s)
					return s
				}
				return storetest.Fixture{
					Store: open(f, ""), Put: f.Put, Remove: f.Remove,
					RemoveAll: func(kind string) {
						if kind != "" {
							kind += "/"
						}
						f.RemoveAll(kind)
					},
					Reopen:    func() store.Store { return open(f, "") },
					Elsewhere: func() store.Store { return open(newFake(), "elsewhere/") },
				}
			})
		})
	}
}
