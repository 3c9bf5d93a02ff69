//go:build !race

package http2

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestBufferHoldsWhatIsInIt writes and reads at random.
func TestBufferHoldsWhatIsInIt(t *testing.T) {
	var b buffer
	rnd := rand.New(rand.NewPCG(1, 2))
	var want []byte
	next := byte(0)
	for step := range 20_000 {
		if rnd.IntN(2) == 0 && len(want) < streamWindow {
			p := make([]byte, rnd.IntN(20_000))
			for i := range p {
				p[i] = next
				next++
			}
			b.write(p)
			want = append(want, p...)
		} else {
			p := make([]byte, rnd.IntN(30_000))
			n := b.read(p)
			if n == 0 && len(p) > 0 && len(want) > 0 || n > len(want) || !bytes.Equal(p[:n], want[:n]) {
				t.Fatalf("step %d: read %d of %d bytes, or others", step, n, len(want))
			}
			want = want[n:]
		}
		if b.len() != len(want) {
			t.Fatalf("step %d: len %d, want %d", step, b.len(), len(want))
		}
		if most := len(want)/pieceSize + 2; len(b.pieces) > most {
			t.Fatalf("step %d: %d pieces for %d bytes", step, len(b.pieces), len(want))
		}
	}
	if n := b.clear(); n != len(want) || b.len() != 0 || len(b.pieces) != 0 {
		t.Errorf("cleared %d bytes of %d", n, len(want))
	}
}
