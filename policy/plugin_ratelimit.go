package policy

import (
	"cmp"
	"math"
	"strings"
)

// rateLimiting is the plugin rate-limiting (C16-C18).
type rateLimiting struct{}

// rateLimit is its configuration.
type rateLimit struct {
	windows []Window // that are limited, shortest first
	limit   [windows]int64
	split   bool // the limit is divided by the number of live lictors
	by      countBy
	header  string // whose value is counted, of byHeader
}

// countBy is what requests are counted apart by (P6), besides the API.
type countBy uint8

const (
	byConsumer   countBy = iota // else by the address, as all that is not there
	byCredential                // the key; of who came with a certificate, the consumer
	byAddress
	byHeader
	byPath
)

const maxLimit = 1 << 40 // so that no sum overflows

func (rateLimiting) name() string { return "rate-limiting" }

func (rateLimiting) settings() []Field {
	fields := []Field{{Name: "by", Alias: "limit_by", Default: "consumer", Example: "header:X-Tenant",
		Doc: "what is counted apart: consumer, credential, address (or ip), header:NAME, path; the address where there is none"},
		{Name: "header_name", Example: "X-Tenant", Doc: "of by = header, as Kong says header:NAME"},
		{Name: "scope", Enum: []string{"node", "split"}, Default: "node", Example: "split",
			Doc: "each lictor counts for itself, or they share the limit"}}
	for _, period := range windowNames {
		fields = append(fields, Field{Name: period, Alias: period + "s", Type: TypeWhole, Least: 1, Most: maxLimit, Example: "10", Doc: "requests per " + period})
	}
	return fields
}

func (p rateLimiting) compile(config map[string]any, wrong wrongFunc) any {
	given := readSettings(p.settings(), config, wrong)
	c := &rateLimit{split: given.text("scope") == "split"}
	c.by, c.header = readBy(given, wrong)
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

// readBy reads what is counted apart, also as Kong says it.
func readBy(given values, wrong wrongFunc) (by countBy, header string) {
	text, name := given.text("by"), given.text("header_name")
	if text == "header" {
		text += ":" + name
	}
	header, ok := strings.CutPrefix(text, "header:")
	if name != "" && !strings.EqualFold(name, header) {
		wrong("config.header_name", `is that of by = "header", which is not given`)
	}
	if ok {
		if !isToken(header) {
			wrong("config.by", "%.200q is no name of a header", header)
		}
		return byHeader, header
	}
	switch text {
	case "", "consumer":
		return byConsumer, ""
	case "credential":
		return byCredential, ""
	case "address", "ip":
		return byAddress, ""
	case "path":
		return byPath, ""
	}
	wrong("config.by", `is %.200q, want "consumer", "credential", "address", "path" or "header:" and a name`, text)
	return byConsumer, ""
}

// counted is the key of the counter for the request.
func (d *decision) counted(c *rateLimit) counterKey {
	key, l := counterKey{api: d.route.API}, d.req.Limiter
	switch c.by {
	case byHeader:
		if value, n := d.req.header(c.header); n == 1 && value != "" { // of two nobody knows which one the service reads
			key.by, key.value = byHeader, l.hash(value)
			return key
		}
	case byPath:
		key.by, key.value = byPath, l.hash(d.req.Path.Canonical)
		return key
	case byConsumer, byCredential:
		if d.who == nil || d.who.ID == "" { // who shows a token may have no name here
			break
		}
		key.consumer = d.who.ID
		if c.by == byCredential && d.verdict.digest != [32]byte{} {
			key.by, key.value = byCredential, digestHash(&d.verdict.digest)
		}
		return key
	}
	key.client = l.client(d.req.Client)
	return key
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
	if report != nil {
		reportLimit(d, report)
	}
	if won == nil {
		return true
	}
	l := &d.verdict.Limits
	c := won.config.(*rateLimit)
	key := d.counted(c)
	counted := d.req.scratch.limited.has(key, won)
	d.req.Limiter.take(key, c, d.req.Now, d.req.Dry || counted, l)
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

func reportLimit(d *decision, report *livePlugin) {
	var l Limits
	c := report.config.(*rateLimit)
	key := d.counted(c)
	key.report = true
	counted := d.req.scratch.limited.has(key, report)
	if d.req.Limiter.take(key, c, d.req.Now, d.req.Dry || counted, &l); l.Refused && !counted {
		d.wouldDeny("rate-limiting", ReasonRateLimit, report.rule())
	}
}
