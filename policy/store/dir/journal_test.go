package dir

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/internal/durable"
)

// Somebody who makes one change after the other may be in the middle of one whenever he
// is looked at. He is told of when he is in the middle of the same one for too long.
func TestEachJournalIsGivenItsOwnMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := t.TempDir()
		d, err := New(Config{Dir: at, Log: hclog.NewNullLogger()})
		if err != nil {
			t.Fatal(err)
		}
		release, err := durable.TryLock(filepath.Join(at, lockName))
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		for i := range 3 {
			if err := durable.Replace(d.journalPath(), []byte("{}"), 0o600, time.Unix(int64(i), 0)); err != nil {
				t.Fatal(err)
			}
			if wait, err := d.completedLocked(); wait == 0 || err != nil {
				t.Errorf("journal %d: wait %v, %v", i, wait, err)
			}
			time.Sleep(lockedAfter)
		}
		if wait, err := d.completedLocked(); wait != 0 || err == nil {
			t.Errorf("wait %v, and nothing is told", wait)
		}
	})
}
