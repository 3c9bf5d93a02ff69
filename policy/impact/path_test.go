package impact

import "testing"

// A class that is taken for another one would be decided as that, and the proof be none.
func TestEachClassOfPathsHasAKeyOfItsOwn(t *testing.T) {
	numbers := []int{0, 1, 'c', 127, 128, 255, 256, 1<<14 - 1, 1 << 14, 1<<16 - 1, 1 << 16, 1<<16 + 1, 1<<16 + 'c', 1<<24 + 1, 1<<31 - 1}
	lists := [][]int{nil}
	for i, a := range numbers {
		lists = append(lists, []int{a})
		for _, b := range numbers[i+1:] {
			lists = append(lists, []int{a, b})
		}
	}
	seen := make(map[string]pathClass)
	for _, canonical := range numbers {
		for _, others := range lists {
			for _, climbs := range []bool{false, true} {
				c := pathClass{canonical, others, climbs}
				if other, is := seen[c.key()]; is {
					t.Fatalf("%v has the key of %v", c, other)
				}
				seen[c.key()] = c
			}
		}
	}
}
