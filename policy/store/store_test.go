package store_test

import (
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
		dir := t.TempDir()
		s, err := store.NewDir(store.DirConfig{Dir: dir, DataDir: t.TempDir(), Log: hclog.NewNullLogger()})
		if err != nil {
			t.Fatal(err)
		}
		return storetest.Fixture{
			Store: s,
			Put: func(key, value string) {
				path := filepath.Join(dir, key)
				if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
					t.Error(err)
				}
				if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
					t.Error(err)
				}
			},
			Remove: func(key string) {
				if err := os.Remove(filepath.Join(dir, key)); err != nil {
					t.Error(err)
				}
			},
		}
	})
}
