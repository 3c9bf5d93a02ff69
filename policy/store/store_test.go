package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"

	"lictor/policy/store"
	"lictor/policy/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Fixture {
		return storetest.Fixture{Store: store.NewMemory(hclog.NewNullLogger())}
	})
}

func TestDir(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Fixture {
		dir, data := t.TempDir(), t.TempDir()
		return storetest.Fixture{
			Store: openDirWith(t, dir, data),
			Put:   func(key, value string) { writeFile(t, filepath.Join(dir, key), value) },
			Remove: func(key string) {
				if err := os.Remove(filepath.Join(dir, key)); err != nil {
					t.Error(err)
				}
			},
			RemoveAll: func(kind string) {
				folders, err := filepath.Glob(filepath.Join(dir, kind, "*"))
				if kind != "" {
					folders = []string{filepath.Join(dir, kind)}
				}
				for _, folder := range folders {
					err = errors.Join(err, os.RemoveAll(folder))
				}
				if err != nil {
					t.Error(err)
				}
			},
			Reopen:    func() store.Store { return openDirWith(t, dir, data) },
			Elsewhere: func() store.Store { return openDirWith(t, t.TempDir(), data) },
		}
	})
}

// The whole suite on a Consul of the tests' own, without a network; the
// integration tests run it on a real one.
func TestConsul(t *testing.T) {
	for _, split := range []bool{false, true} {
		t.Run(fmt.Sprintf("split=%v", split), func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Fixture {
				f, data := newFake(), t.TempDir()
				open := func(f *fakeConsul, prefix string) store.Store {
					s := f.openAt(t, data, prefix)
					if split {
						s.SplitAlways()
					}
					return s
				}
				return storetest.Fixture{
					Store: open(f, ""), Put: f.put, Remove: f.remove,
					RemoveAll: func(kind string) {
						if kind != "" {
							kind += "/"
						}
						f.removeAll(kind)
					},
					Reopen:    func() store.Store { return open(f, "") },
					Elsewhere: func() store.Store { return open(newFake(), "elsewhere/") },
				}
			})
		})
	}
}
