package field

import (
	"strings"
	"testing"
)

func TestATableFindsItsNamesInAnyCaseAndNoOther(t *testing.T) {
	names := map[string]uint8{}
	for n := 1; n <= longest; n++ { // of every length
		names[strings.Repeat("ab-1", 8)[:n]] = uint8(n)
	}
	table := NewTable(names)
	for name, want := range names {
		for _, spelled := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:]} {
			if got := table.Find([]byte(spelled)); got != want {
				t.Errorf("Find(%q) = %d, want %d", spelled, got, want)
			}
		}
		for i := range len(name) { // one bit of one byte is another name, but for the case of a letter
			for bit := range 8 {
				other := []byte(name)
				other[i] ^= 1 << bit
				if got := table.Find(other); got != 0 && !strings.EqualFold(string(other), name) {
					t.Errorf("Find(%q) = %d, which is that of %q", other, got, name)
				}
			}
		}
	}
	if table.Find(nil) != 0 || table.Find(make([]byte, longest+1)) != 0 {
		t.Error("a name is found that no table can have")
	}
	if n := testing.AllocsPerRun(100, func() { table.Find([]byte("Ab-1Ab-1")) }); n != 0 {
		t.Errorf("Find allocates %v times, want 0", n)
	}
}
