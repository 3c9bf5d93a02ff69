package dir

import (
	"os"
	"path/filepath"
	"testing"
)

// Links of folders to folders make exponentially many keys of a few folders.
func TestLinksThatFanOutAreFollowedInSoManyWaysAndNoMore(t *testing.T) {
	at := t.TempDir()
	const levels, links = 8, 4
	for level := range levels {
		folder := filepath.Join(at, "."+string(rune('a'+level)))
		if err := os.MkdirAll(folder, 0o750); err != nil {
			t.Fatal(err)
		}
		for link := range links {
			next := filepath.Join("..", "."+string(rune('a'+level+1)))
			if err := os.Symlink(next, filepath.Join(folder, string(rune('0'+link)))); err != nil {
				t.Fatal(err)
			}
		}
	}
	err := os.MkdirAll(filepath.Join(at, "."+string(rune('a'+levels))), 0o750)
	if err == nil {
		err = os.Symlink(".a", filepath.Join(at, "acls"))
	}
	if err != nil {
		t.Fatal(err)
	}
	tree, err := lookAt(at)
	if err != nil {
		t.Fatal(err)
	}
	if most := maxWays * (levels + 2); len(tree.folders) > most || len(tree.broken) > most*links || len(tree.broken) == 0 {
		t.Errorf("%d folders were looked at, and %d were not", len(tree.folders), len(tree.broken))
	}
}
