package consul_test

import (
	"testing"
	"testing/synctest"
	"time"

	"lictor/policy/store"
	"lictor/policy/store/modeltest"
)

// modelConsul is the fake as the model wants it. The integration tests run it on
// a real one.
type modelConsul struct {
	*fakeConsul
	t      *testing.T
	byKeys bool // where the layout is split, changes are read by keys
}

func (m modelConsul) Open(data string, split bool) store.Store {
	s := m.open(m.t, data)
	if split {
		s.SplitAlways()
	}
	if split && m.byKeys {
		s.ByKeysAlways()
	}
	return s
}

func (m modelConsul) Pass(d time.Duration) { pass(d) }

func (m modelConsul) Settle(_ store.Store, d time.Duration) { pass(d) }

func (m modelConsul) Patience() time.Duration { return 25 * time.Second }

// TestNothingOpensByAccident is for the race detector, which needs few lives.
func TestNothingOpensByAccident(t *testing.T) { live(t, 0, 4) }

// live runs lives of the model, whose seeds are from first to below last.
func live(t *testing.T, first, last uint64) {
	t.Helper()
	const steps = 500
	for seed := first; seed < last; seed++ {
		data := t.TempDir()
		synctest.Test(t, func(t *testing.T) { modeltest.Run(t, modelConsul{newFake(), t, seed%2 == 0}, data, seed, steps) })
	}
}
