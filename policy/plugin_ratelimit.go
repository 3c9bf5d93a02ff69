package policy

import (
	"cmp"
	"math"
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

func (rateLimiting) settings() []Field {
	fields := []Field{{Name: "scope", Enum: []string{"node", "split"}, Default: "node", Example: "split",
		Doc: "each lictor counts for itself, or they share the limit"}}
	for _, period := range windowNames {
		fields = append(fields, Field{Name: period, Alias: period + "s", Type: TypeWhole, Least: 1, Most: maxLimit, Example: "10", Doc: "requests per " + period})
	}
	return fields
}

func (p rateLimiting) compile(config map[string]any, wrong wrongFunc) any {
	given := readSettings(p.settings(), config, wrong)
	c := &rateLimit{split: given.text("scope") == "split"}
	for w := range windows {
		c.limit[w] = given.whole(w.String())
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
	counted := d.req.scratch.limited.has(key, won)
	d.req.Limiter.take(key, won.config.(*rateLimit), d.req.Now, d.req.Dry || counted, l)
	l.Refused = l.Refused && !counted // it is among those that used it up
	if d.rec != nil {
		d.rec.remaining(l)
	}
	if l.Refused {
		return d.deny("rate-limiting", refusal{Reason: ReasonRateLimit, Status: 429, Message: "API rate limit exceeded", Rule: won.rule()})
	}
	d.rec.pass("rate-limiting", won.rule(), "")
	return true
}

// limited are the limits that a request used up, in each of the decisions on it.
// What no room is left for is used up once more.
type limited struct {
	all [4]struct {
		key counterKey
		by  *livePlugin
	}
	n int
}

// has reports whether a limit was used up before, and notes that it is.
func (l *limited) has(key counterKey, by *livePlugin) bool {
	for i := range l.all[:l.n] {
		if one := &l.all[i]; one.key == key && one.by == by {
			return true
		}
	}
	if l.n < len(l.all) {
		l.all[l.n].key, l.all[l.n].by = key, by
		l.n++
	}
	return false
}

func reportLimit(d *decision, key counterKey, report *livePlugin) {
	var l Limits
	key.report = true
	counted := d.req.scratch.limited.has(key, report)
	if d.req.Limiter.take(key, report.config.(*rateLimit), d.req.Now, d.req.Dry || counted, &l); l.Refused && !counted {
		d.wouldDeny("rate-limiting", ReasonRateLimit, report.rule())
	}
}
