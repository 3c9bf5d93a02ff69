package resolver

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Faults says for how many bad answers within which time an instance is left out.
// The zero value: for none.
type Faults struct {
	Status int // 5 = every 5xx, else this status
	Count  int
	Within time.Duration
}

// MaxFaults bounds the answers that count towards one ejection.
const MaxFaults = 1000

var errFaults = errors.New(`want answers, how many and within which time, such as "5xx:5/10s" or "503:1/1s"`)

// ParseFaults reads a text such as "5xx:5/10s" or "503:1/1s".
func ParseFaults(text string) (Faults, error) {
	status, rest, _ := strings.Cut(text, ":")
	count, within, ok := strings.Cut(rest, "/")
	if !ok {
		return Faults{}, errFaults
	}
	f := Faults{Status: 5}
	var err error
	if status != "5xx" {
		if f.Status, err = strconv.Atoi(status); err != nil || f.Status < 500 || f.Status > 599 {
			return Faults{}, errFaults
		}
	}
	if f.Count, err = strconv.Atoi(count); err != nil || f.Count < 1 || f.Count > MaxFaults {
		return Faults{}, errFaults
	}
	if f.Within, err = time.ParseDuration(within); err != nil || f.Within < time.Millisecond || f.Within > time.Hour {
		return Faults{}, errFaults
	}
	return f, nil
}

// Has reports whether an answer of the status counts.
func (f *Faults) Has(status int) bool {
	return f.Count > 0 && (status == f.Status || f.Status == 5 && status/100 == 5)
}

// String is the text that ParseFaults reads, "" for the zero value.
func (f Faults) String() string {
	switch {
	case f.Count == 0:
		return ""
	case f.Status == 5:
		return fmt.Sprintf("5xx:%d/%s", f.Count, f.Within)
	}
	return fmt.Sprintf("%d:%d/%s", f.Status, f.Count, f.Within)
}
