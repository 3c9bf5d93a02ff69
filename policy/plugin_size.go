package policy

import (
	"cmp"
	"math"
	"time"

	"lictor/internal/size"
)

// requestSizeLimiting is the plugin request-size-limiting (P4).
type requestSizeLimiting struct{}

func (requestSizeLimiting) name() string { return "request-size-limiting" }

// defaultBody is what a body may have where the configuration names no size.
const defaultBody = 128 << 20

// sizeUnits are the units of allowed_payload_size, in bytes.
var sizeUnits = map[string]int64{"bytes": 1, "kilobytes": 1 << 10, "megabytes": 1 << 20}

func (requestSizeLimiting) settings() []Field {
	return []Field{
		{Name: "max_body", Default: "128MiB", Example: "8MiB", Doc: "the most bytes that the body of a request may have"},
		{Name: "allowed_payload_size", Type: TypeWhole, Least: 1, Most: maxLimit, Example: "8", Doc: "the same as a number of size_unit; of both the smaller holds"},
		{Name: "size_unit", Enum: []string{"megabytes", "kilobytes", "bytes"}, Default: "megabytes", Example: "kilobytes", Doc: "of allowed_payload_size: 2^20 bytes, 2^10 or one"},
	}
}

// compile returns the number of bytes, an int64.
func (p requestSizeLimiting) compile(config map[string]any, wrong wrongFunc) any {
	given := readSettings(p.settings(), config, wrong)
	most := int64(math.MaxInt64)
	if number := given.whole("allowed_payload_size"); number != 0 {
		most = number * sizeUnits[cmp.Or(given.text("size_unit"), "megabytes")]
	}
	if text := given.text("max_body"); text != "" {
		n, err := size.Parse(text, 1, math.MaxInt64)
		if err != nil {
			wrong("config.max_body", "is %q: %v", text, err)
		}
		most = min(most, n)
	}
	if most == math.MaxInt64 {
		most = defaultBody
	}
	return most
}

// compare lets the larger size win: it lets more through.
func (requestSizeLimiting) compare(a, b any) int { return cmp.Compare(a.(int64), b.(int64)) }

// BodyWatch is a limit in report mode on the body of a request that told no length
// above it: whether it would have refused is known when the body was read. The zero
// value is none.
type BodyWatch struct {
	most int64
	by   *livePlugin
}

// Read tells that so many bytes of the body were read, at the end of a request of that
// moment. If the limit would have refused it, that is counted, and added to what v says
// rules in report mode would have done.
func (w BodyWatch) Read(v *Verdict, bytes int64, now time.Time) (would Would, over bool) {
	if w.by == nil || bytes <= w.most {
		return Would{}, false
	}
	would = Would{Reason: ReasonBodyTooLarge, Rule: w.by.rule()}
	w.by.tally.add(wouldRefuse, now.Unix())
	noteWould(v, nil, "request-size-limiting", would.Reason, would.Rule)
	return would, true
}

// run refuses by the length that the head tells, and leaves it to whoever reads a
// body to hold it to Verdict.MaxBody: the length of one that is sent in chunks is
// known at its end only. That of a request which was let in before is on its way.
func (requestSizeLimiting) run(d *decision, won, report *livePlugin) bool {
	if d.facts != nil {
		return true
	}
	switch {
	case report == nil:
	case d.req.Length > report.config.(int64):
		d.wouldDeny("request-size-limiting", ReasonBodyTooLarge, report.rule())
	case !d.aside:
		d.verdict.Watch = BodyWatch{most: report.config.(int64), by: report}
	}
	if won == nil {
		return true
	}
	most := won.config.(int64)
	if v := d.verdict; v.MaxBody == 0 || most < v.MaxBody { // another reading of the path may have a limit as well
		v.MaxBody = most
	}
	if d.req.Length > most {
		return d.deny("request-size-limiting", refusal{Reason: ReasonBodyTooLarge, Status: 413, Message: "Request body too large", Rule: won.rule()})
	}
	d.rec.pass("request-size-limiting", won.rule(), "")
	return true
}
