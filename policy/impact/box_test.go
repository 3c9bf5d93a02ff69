package impact

import (
	"math/rand/v2"
	"testing"
)

// However early classes are packed, the boxes of a group have its classes, each once,
// and no other.
func TestBoxesHaveWhatWasAdded(t *testing.T) { // R3
	for _, most := range []int{1, 7, 64, maxCells} {
		r := rand.New(rand.NewPCG(uint64(most), 1)) //nolint:gosec // the same each time
		x := newBoxer(most)
		group := make(map[cell]int)
		var c cell
		for lengths := [dims]int{3, 4, 2, 3, 4, 1, 2}; ; {
			if g := r.IntN(5); g < 3 { // 3 and 4: in none
				group[c] = g + 1
				x.add(g, c)
			}
			if !c.next(&lengths) {
				break
			}
		}
		all, found := x.done(), make(map[cell]int)
		for _, b := range all {
			inside := 0
			for c := (cell{}); ; {
				if b.has(c) {
					inside++
					if found[c] != 0 {
						t.Fatalf("most %d: %v is in two boxes", most, c)
					}
					found[c] = b.group + 1
				}
				if lengths := [dims]int{3, 4, 2, 3, 4, 1, 2}; !c.next(&lengths) {
					break
				}
			}
			if inside != b.classes {
				t.Errorf("most %d: a box has %d classes, and says %d", most, inside, b.classes)
			}
		}
		if len(found) != len(group) || len(all) >= len(group) {
			t.Errorf("most %d: %d of %d classes in %d boxes", most, len(found), len(group), len(all))
		}
		for c, g := range group {
			if found[c] != g {
				t.Fatalf("most %d: %v is in group %d, want %d", most, c, found[c]-1, g-1)
			}
		}
	}
}
