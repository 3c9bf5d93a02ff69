package packed

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"
)

// model is a map of records by hash, as plainly as can be.
type model map[string]uint64

// check holds a map against a model, by look-ups and as a whole.
func (want model) check(t *testing.T, m Map, what string) {
	t.Helper()
	got := 0
	for record := range m.All {
		if _, ok := want[string(record)]; !ok {
			t.Fatalf("%s: %q is there, and should not be", what, record)
		}
		got++
	}
	if got != len(want) || m.Len() != len(want) {
		t.Fatalf("%s: %d records (it says %d), want %d", what, got, m.Len(), len(want))
	}
	for record, hash := range want {
		times := 0
		var last []byte
		found := m.Look(hash)
		for r := found.Next(); r != nil; r = found.Next() {
			if bytes.Compare(last, r) > 0 {
				t.Fatalf("%s: %q comes before %q", what, last, r)
			}
			if last = r; string(r) == record {
				times++
			}
		}
		if times != 1 {
			t.Fatalf("%s: %q was found %d times", what, record, times)
		}
	}
}

// FuzzMap does what its input says, a byte a step, in batches that a zero ends.
func FuzzMap(f *testing.F) {
	f.Add([]byte("a1b2a0\x00a"))
	f.Add([]byte{1, 129, 2, 0, 130, 3, 3, 0, 0, 129, 1})
	f.Fuzz(func(t *testing.T, steps []byte) {
		hash := func(k byte) uint64 { return uint64(k/4) << 58 }
		var m Map
		var b Batch
		want := model{}
		for _, s := range append(steps, 0) {
			k := s & 127
			switch {
			case s == 0:
				m = m.With(&b, bytes.Compare)
				b = Batch{}
			case s&128 != 0:
				b.Remove(hash(k), []byte{k})
				delete(want, string(k))
			default:
				b.Put(hash(k), []byte{k})
				want[string(k)] = hash(k)
			}
		}
		want.check(t, m, "at the end")
	})
}

// filled returns a map of n records of size bytes, and the hash of each.
func filled(n, size int) (m Map, hash func(int) uint64) {
	hash = func(k int) uint64 { return uint64(k+1) * 0x9e3779b97f4a7c15 }
	var b Batch
	record := make([]byte, size)
	for k := range n {
		copy(record, fmt.Sprint(k))
		b.Put(hash(k), record)
	}
	return m.With(&b, bytes.Compare), hash
}

// TestARecordCostsEightBytesMore holds what a record costs besides its own bytes, in
// all that a page allocates.
func TestARecordCostsEightBytesMore(t *testing.T) {
	const n, size = 100_000, 24
	m, _ := filled(n, size)
	bytes := 8 * cap(m.pages)
	for _, p := range m.pages {
		bytes += len(p.may)*8 + 4*(cap(p.tags)+cap(p.ends)) + cap(p.data) + 3*24
	}
	if per := float64(bytes) / n; per > size+8+3 {
		t.Errorf("a record of %d bytes costs %.1f", size, per)
	}
}

// TestAChangeMakesOnePage holds that a change shares all other pages.
func TestAChangeMakesOnePage(t *testing.T) {
	m, hash := filled(100_000, 24)
	var b Batch
	b.Put(hash(100_001), []byte("new"))
	next := m.With(&b, bytes.Compare)
	other := 0
	for i := range next.pages {
		if next.pages[i] != m.pages[i] {
			other++
		}
	}
	if other != 1 || next.Len() != m.Len()+1 {
		t.Errorf("a change of one record makes %d of %d pages anew", other, len(next.pages))
	}
}

// TestLookDoesNotAllocate looks for what is there and for what is not.
func TestLookDoesNotAllocate(t *testing.T) {
	m, hash := filled(10_000, 24)
	k := 0
	if n := testing.AllocsPerRun(1000, func() {
		k++
		found := m.Look(hash(k * 7))
		for r := found.Next(); r != nil; r = found.Next() {
			k += len(r) & 1
		}
	}); n != 0 {
		t.Errorf("a look-up allocates %v times", n)
	}
}

// TestABatchMayBeLong puts records behind four gigabytes of others, of which only the
// addresses are needed.
func TestABatchMayBeLong(t *testing.T) {
	const long = 1 << 32
	space, err := syscall.Mmap(-1, 0, long+64, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
	if err != nil {
		t.Fatal(err)
	}
	b := Batch{data: space[:long:len(space)]}
	b.Put(1, []byte("one"))
	b.Put(2, []byte("three"))
	if x, y := b.record(0), b.record(1); len(x) != len("one") || string(y) != "three" {
		t.Errorf("the records have %d and %d bytes", len(x), len(y))
	}
	b = Batch{}
	if err := syscall.Munmap(space); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkLook(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		m, hash := filled(n, 24)
		for name, off := range map[string]int{"there": 0, "not there": n} {
			b.Run(fmt.Sprintf("%d %s", n, name), func(b *testing.B) {
				k, got := 0, 0
				for b.Loop() {
					k = (k + 7919) % n
					found := m.Look(hash(k + off))
					for r := found.Next(); r != nil; r = found.Next() {
						got++
					}
				}
				if off == 0 && got < b.N {
					b.Fatal("something was not found")
				}
			})
		}
	}
}

func BenchmarkFill(b *testing.B) {
	for b.Loop() {
		filled(100_000, 24)
	}
}
