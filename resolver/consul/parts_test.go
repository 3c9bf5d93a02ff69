package consul

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// readText has an answer read that comes at once.
func readText(to reader, text string) error { return readPieces(strings.NewReader(text), to) }

// FuzzParts compares with encoding/json, whatever pieces an answer comes in.
func FuzzParts(f *testing.F) {
	for _, seed := range []string{`[]`, `[{"a":[1,2]},3,"],["]`, `[[[]]]`, `["\\"]`, `[1`, ` [ 1 , "\"" ] `, `"["`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		read := func(body io.Reader) (got []string, err error) {
			err = readPieces(body, &parts{each: func(e []byte) error {
				got = append(got, string(e))
				return nil
			}})
			return got, err
		}
		got, err := read(strings.NewReader(text))
		again, wrong := read(iotest.OneByteReader(strings.NewReader(text)))
		if !slices.Equal(got, again) || (err == nil) != (wrong == nil) {
			t.Fatalf("%q gives %q, %v, and byte by byte %q, %v", text, got, err, again, wrong)
		}
		var want []json.RawMessage
		if json.Unmarshal([]byte(text), &want) != nil || want == nil {
			return
		}
		if err != nil || len(got) != len(want) {
			t.Fatalf("%q gives %q, %v", text, got, err)
		}
		for i := range want {
			if got[i] != string(want[i]) {
				t.Errorf("%q: element %d is %q, want %q", text, i, got[i], want[i])
			}
		}
	})
}

func TestPartThatIsTooLong(t *testing.T) {
	count := 0
	each := func([]byte) error { count++; return nil }
	if err := readText(&parts{each: each}, "[1,"+strings.Repeat("1", maxPart-1)+",1]"); err != nil || count != 3 {
		t.Errorf("%d elements, %v, want 3", count, err)
	}
	if err := readText(&parts{each: each}, "["+strings.Repeat("1", maxPart+pieceSize)); err == nil || err == errCut {
		t.Errorf("an element without an end is told as %v", err)
	}
	count = 0
	long := `{"a":"` + strings.Repeat(`],`, maxPart) + `"}`
	if err := readText(&parts{apart: true, each: each}, `[1,`+long+`,{"a":2},`+long+`]`); err != nil || count != 2 {
		t.Errorf("%d elements that stand apart, %v, want 2", count, err)
	}
	count = 0
	if err := readText(&parts{names: true, each: each}, `{"a":1,"`+strings.Repeat("b", 3*maxPart)+`":[],"c":1}`); err != nil || count != 2 {
		t.Errorf("%d names, %v, want 2", count, err)
	}
}
