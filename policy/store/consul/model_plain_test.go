//go:build !race

package consul_test

import "testing"

// TestNothingOpensByAccidentInManyLives goes on where TestNothingOpensByAccident ends.
func TestNothingOpensByAccidentInManyLives(t *testing.T) { live(t, 4, 20) }
