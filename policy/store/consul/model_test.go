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

func TestNothingOpensByAccident(t *testing.T) {
	const lives, steps = 20, 500
	for seed := range uint64(lives) {
		data := t.TempDir()
		synctest.Test(t, func(t *testing.T) { modeltest.Run(t, modelConsul{newFake(), t, seed%2 == 0}, data, seed, steps) })
	}
}
