package dir_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"lictor/policy/store"
	"lictor/policy/store/storetest"
)

func TestStore(t *testing.T) {
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
				gone := t.TempDir()
				for _, folder := range folders { // one file after the other would look meant
					err = errors.Join(err, os.Rename(folder, filepath.Join(gone, filepath.Base(folder))))
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
