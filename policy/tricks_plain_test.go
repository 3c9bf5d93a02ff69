//go:build !race

package policy_test

import (
	"math/rand/v2"
	"testing"

	"lictor/policy"
)

// TestRandomPathTricks strings together what tricks are made of.
func TestRandomPathTricks(t *testing.T) { // D22
	_, set := newStore(t, policy.Options{}, "blacklist/b", "/svc/admin")
	words := []string{"svc", "admin", "x", "/", "/", "//", ".", "..", "%2e", "%2F", "%5C", `\`, ";", "%3B", ";p=1", "%20"}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 30_000 {
		target := "/svc/"
		for range rng.IntN(12) {
			target += words[rng.IntN(len(words))]
		}
		checkTrick(t, set, target+"admin")
	}
}
