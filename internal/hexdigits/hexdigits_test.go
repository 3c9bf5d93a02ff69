package hexdigits

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestAWordHasItsSixteenDigits(t *testing.T) {
	words := []uint64{0, 1, 9, 10, 15, 16, 0x0123456789abcdef, 0xfedcba9876543210, 1 << 63, 1<<64 - 1}
	for range 10_000 {
		words = append(words, rand.Uint64())
	}
	for _, w := range words {
		if got, want := string(Append([]byte("x"), w)), fmt.Sprintf("x%016x", w); got != want {
			t.Fatalf("%#x is written %s, want %s", w, got, want)
		}
	}
}
