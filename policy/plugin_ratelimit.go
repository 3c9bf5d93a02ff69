package policy

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
)

// rateLimiting is the plugin rate-limiting (C16-C18).
type rateLimiting struct{}

// rateLimit is its configuration.
type rateLimit struct {
	windows []Window // that are limited, shortest first
	limit   [windows]int64
	split   bool // the limit is divided by the number of live lictors
}

const maxLimit = 1 << 40 // so that no sum overflows

func (rateLimiting) name() string { return "rate-limiting" }

func (rateLimiting) compile(config map[string]any, wrong wrongFunc) any {
	c := &rateLimit{}
	for _, field := range slices.Sorted(maps.Keys(config)) {
		w := slices.Index(windowNames[:], strings.TrimSuffix(field, "s"))
		switch {
		case field == "scope":
			scope, _ := config[field].(string)
			if scope != "node" && scope != "split" {
				wrong("config.scope", `is %v, want "node" or "split"`, config[field])
			}
			c.split = scope == "split"
		case w < 0:
			wrong("config."+field, "is an unknown field")
		case c.limit[w] != 0:
			wrong("config."+field, "the same period is given twice")
		default:
			n, ok := integer(config[field])
			if !ok || n <= 0 || n > maxLimit {
				wrong("config."+field, "is %v, want a whole number above 0", config[field])
				continue
			}
			c.limit[w] = n
		}
	}
	for w := range windows {
		if c.limit[w] == 0 {
			continue
		}
		if n := len(c.windows); n > 0 && c.limit[w] < c.limit[c.windows[n-1]] {
			wrong("config."+w.String(), "is %d, below the %d of the shorter period %s", c.limit[w], c.limit[c.windows[n-1]], c.windows[n-1])
		}
		c.windows = append(c.windows, w)
	}
	if len(c.windows) == 0 {
		wrong("config", "want at least one of second, minute, hour, day, month, year")
	}
	return c
}

// integer takes the kinds of number that decoders make.
func integer(v any) (int64, bool) {
	switch n := v.(type) {
	case int:
		return int64(n), true
	case int64:
		return n, true
	case float64:
		return int64(n), n == math.Trunc(n) && math.Abs(n) <= maxLimit
	case json.Number:
		i, err := n.Int64()
		return i, err == nil
	}
	return 0, false
}

// compare lets the larger limit win: the one that lets more through in the long
// run.
func (rateLimiting) compare(a, b any) int {
	return cmp.Compare(a.(*rateLimit).rate(), b.(*rateLimit).rate())
}

// rate is the requests a second that the tightest window lets through.
func (c *rateLimit) rate() float64 {
	rate := math.Inf(1)
	for _, w := range c.windows {
		rate = min(rate, float64(c.limit[w])/float64(windowSeconds[w]))
	}
	return rate
}

func (rateLimiting) run(d *decision, won, report *livePlugin) bool {
	if d.req.Limiter == nil {
		return true
	}
	key := counterKey{api: d.route.API}
	if d.who != nil {
		key.consumer = d.who.ID
	} else {
		key.client = d.req.Limiter.client(d.req.Client)
	}
	if report != nil {
		reportLimit(d, key, report)
	}
	if won == nil {
		return true
	}
	l := &d.verdict.Limits
	d.req.Limiter.take(key, won.config.(*rateLimit), d.req.Now, d.req.Dry, l)
	if d.rec != nil {
		d.rec.remaining(l)
	}
	if l.Refused {
		return d.deny("rate-limiting", refusal{Reason: ReasonRateLimit, Status: 429, Message: "API rate limit exceeded", Rule: won.rule()})
	}
	d.rec.pass("rate-limiting", won.rule(), "")
	return true
}

func reportLimit(d *decision, key counterKey, report *livePlugin) {
	var l Limits
	key.report = true
	if d.req.Limiter.take(key, report.config.(*rateLimit), d.req.Now, d.req.Dry, &l); l.Refused {
		d.wouldDeny("rate-limiting", ReasonRateLimit, report.rule())
	}
}
