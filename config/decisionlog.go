package config

import (
	"errors"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"lictor/internal/ring"
)

// DecisionLog is the block decision_log (R1).
type DecisionLog struct {
	Path     string  // "" = off
	Size     int64   // of all its files
	Sample   float64 // share of the requests that pass
	Refused  float64 // share of those that are refused
	Client   Bits    // of client addresses that are kept
	Segments int     // of paths that are kept; 0 = all
}

// Bits are how much of an address is kept; 0 = all of it.
type Bits struct{ V4, V6 int }

func defaultDecisionLog() DecisionLog { return DecisionLog{Size: 256 << 20, Sample: 1, Refused: 1} }

func (d *decoder) decisionLog(b *hcl.Block) {
	l := &d.cfg.DecisionLog
	where := d.body(b, options{
		"path":    text(&l.Path),
		"size":    parsed(&l.Size, bytes(ring.MinSize, ring.MaxSize)),
		"sample":  fraction(&l.Sample),
		"refused": fraction(&l.Refused),
	}, nested{"mask": func(in *hcl.Block) {
		d.body(in, options{
			"client":        parsed(&l.Client, orNone(addressBits)),
			"path_segments": number(&l.Segments, 0, 64),
		}, nil)
	}})
	if l.Path == "-" || strings.HasSuffix(l.Path, "/") {
		d.wrong(where.of("path", b), "decision_log: path: want the name of a file, whose directory holds the older ones as well, got %q", where.shown("path", l.Path))
	}
}

// addressBits parses what is kept of IPv4 and IPv6 addresses.
func addressBits(s string) (b Bits, err error) {
	v4, v6, _ := strings.Cut(s, ",")
	read := func(s string, most int) int {
		digits, ok := strings.CutPrefix(strings.TrimSpace(s), "/")
		n, wrong := strconv.ParseUint(digits, 10, 8)
		if !ok || wrong != nil || n == 0 || int(n) > most {
			err = errors.New(`want what is kept of IPv4 and of IPv6 addresses, such as "/24,/56"`)
		}
		return int(n)
	}
	b.V4, b.V6 = read(v4, 32), read(v6, 128)
	return b, err
}
