package resolver

import (
	"testing"
	"time"
)

func TestParseFaults(t *testing.T) {
	for text, want := range map[string]Faults{
		"5xx:5/10s":     {Status: 5, Count: 5, Within: 10 * time.Second},
		"503:1/1s":      {Status: 503, Count: 1, Within: time.Second},
		"599:1000/1h":   {Status: 599, Count: 1000, Within: time.Hour},
		"":              {},
		"5xx":           {},
		"5xx:5":         {},
		"5xx:0/1s":      {},
		"5xx:1001/1s":   {},
		"5xx:-1/1s":     {},
		"5xx:5/0s":      {},
		"5xx:5/2h":      {},
		"5xx:5/10":      {},
		"4xx:5/10s":     {},
		"499:5/10s":     {},
		"600:5/10s":     {},
		"5:5/10s":       {},
		"5xx:5/10s/1s":  {},
		" 5xx:5/10s":    {},
		"5xx:5:5/10s":   {},
		"5xx,4xx:5/10s": {},
	} {
		got, err := ParseFaults(text)
		if got != want || (err == nil) != (want != Faults{}) {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
}

func TestFaultsCount(t *testing.T) {
	every, one := Faults{Status: 5, Count: 1}, Faults{Status: 503, Count: 1}
	for status, want := range map[int][2]bool{200: {}, 404: {}, 499: {}, 500: {true, false}, 503: {true, true}, 599: {true, false}, 600: {}} {
		if got := [2]bool{every.Has(status), one.Has(status)}; got != want {
			t.Errorf("%d: got %v, want %v", status, got, want)
		}
	}
	if none := (Faults{}); none.Has(500) || none.Has(0) {
		t.Error("without a rule an answer counts")
	}
}

// FuzzParseFaults checks that what is taken is written as it would be read.
func FuzzParseFaults(f *testing.F) {
	f.Add("5xx:5/10s")
	f.Add("503:1/1s")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseFaults(text)
		if err != nil {
			if got != (Faults{}) {
				t.Errorf("%q: %v, and yet %+v", text, err, got)
			}
			return
		}
		if again, err := ParseFaults(got.String()); err != nil || again != got {
			t.Errorf("%q: got %+v, read again %+v, %v", text, got, again, err)
		}
	})
}
