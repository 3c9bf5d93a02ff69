package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"lictor/internal/field"
	"lictor/internal/uri"
)

// forwardAuth is the plugin forward-auth (P3): an authority is asked whether a
// request may pass. This package knows no network, so it only says in the Verdict
// who is to be asked; the gateway asks once everything else let the request pass.
type forwardAuth struct{}

// ForwardAuth is whom to ask, what it is told and what is believed of its answer.
// It is immutable; a change of the plugin makes another one, so the pointer tells
// whether a decision still stands.
type ForwardAuth struct {
	Target          string        // path and query of the question
	Host            string        // that the question names; "" = the address of the instance
	RequestHeaders  []string      // of the client's that the authority is told
	ResponseHeaders []string      // of the authority's that the backend is told, with an optional * at the end; nobody else sets them
	Timeout         time.Duration // for the whole question
	Cache           time.Duration // for how long a yes is remembered; 0 = not at all
	CacheHeaders    []string      // of RequestHeaders, that a remembered yes goes by
	Cookies         []string      // the only ones that the authority is told; nil = all

	permit Permit
	where  string
}

// Permit lets a question be sent to the authority, and nowhere else.
func (f *ForwardAuth) Permit() Permit { return f.permit }

// Where names the authority for people.
func (f *ForwardAuth) Where() string { return f.where }

// asksAs reports whether f puts the same question to the same authority as g.
func (f *ForwardAuth) asksAs(g *ForwardAuth) bool { return f.where == g.where }

// Ask is a question that is open once the policy let a request pass.
type Ask struct {
	*ForwardAuth
	Rule   Rule
	Report bool // the answer is told, and not acted upon (X13)
	tally  *Tally
}

// Count adds the answer of an authority, or that none came, to what its plugin did.
func (a *Ask) Count(yes bool, now time.Time) {
	switch {
	case a.tally == nil:
	case yes && !a.Report:
		a.tally.add(hasPassed, now.Unix())
	case yes:
	case a.Report:
		a.tally.add(wouldRefuse, now.Unix())
	default:
		a.tally.add(hasRefused, now.Unix())
	}
}

// maxAsks bounds the questions about one request: one is usual, more come of
// a path that can be read in several ways.
const maxAsks = 4

func (forwardAuth) name() string         { return "forward-auth" }
func (forwardAuth) compare(a, b any) int { return 0 }

// Defaults of forward-auth, and bounds of its times.
const (
	askTimeout    = 2 * time.Second
	maxAskTimeout = 30 * time.Second
	maxAskCache   = time.Hour
	maxAskNames   = 64 // in a list
)

// askHeaders are what oauth2-proxy and Authelia go by.
var askHeaders = []string{"Authorization", "Cookie", "Accept", "X-Requested-With"}

// impersonal are fields that change the form of an answer, and tell nobody who
// somebody is: a remembered yes need not go by them.
var impersonal = []string{"Accept", "Accept-Language", "X-Requested-With", "User-Agent"}

func (forwardAuth) settings() []Field {
	return []Field{
		{Name: "service", Example: "oauth2-proxy", Doc: "the authority, as a resolver knows it; this or url"},
		{Name: "url", Instead: "service", Example: "http://127.0.0.1:4180", Doc: "the authority, by the base URL of one instance; this or service"},
		{Name: "path", Default: "/", Example: "/oauth2/auth", Doc: "path of the question, maybe with a query"},
		{Name: "request_headers", Type: TypeList, Default: "Authorization, Cookie, Accept, X-Requested-With", Example: "Cookie",
			Doc: "headers of the client that the authority is told"},
		{Name: "response_headers", Type: TypeList, Example: "X-Auth-Request-User",
			Doc: "headers of a yes that the backend is told, with an optional * at the end; from a client they are never passed on"},
		{Name: "timeout", Default: "2s", Example: "500ms", Doc: "for the whole question, 10ms to 30s"},
		{Name: "cache", Default: "0s", Example: "10s", Doc: "for how long a yes is remembered for the same method, URL, address and cache_by, at most 1h"},
		{Name: "cache_by", Type: TypeList, Example: "cookie:_oauth2_proxy",
			Doc: "header:NAME or cookie:NAME: all that says who the client is; of other cookies the authority is not told. Without it, all of request_headers"},
	}
}

func (p forwardAuth) compile(config map[string]any, wrong wrongFunc) any {
	given := readSettings(p.settings(), config, wrong)
	f := &ForwardAuth{Target: "/", RequestHeaders: askHeaders}
	f.authority(given, wrong)
	if target := given.text("path"); target != "" {
		f.Target = target
	}
	if !isTarget(f.Target) {
		wrong("config.path", "is %q, want a path such as /oauth2/auth, maybe with a query", f.Target)
	}
	f.where += " " + f.Target
	if names, ok := given["request_headers"].([]string); ok {
		f.RequestHeaders = names
	}
	f.ResponseHeaders, _ = given["response_headers"].([]string)
	checkNames("config.request_headers", f.RequestHeaders, false, wrong)
	checkNames("config.response_headers", f.ResponseHeaders, true, wrong)
	f.Timeout = timeSetting("timeout", given, askTimeout, 10*time.Millisecond, maxAskTimeout, wrong)
	f.Cache = timeSetting("cache", given, 0, 0, maxAskCache, wrong)
	f.rememberBy(given, wrong)
	return f
}

// authority reads whom to ask.
func (f *ForwardAuth) authority(given values, wrong wrongFunc) {
	service, url := given.text("service"), given.text("url")
	f.permit.grant = grantAsk
	switch {
	case (service == "") == (url == ""):
		wrong("config.service", "want either this or config.url")
	case url != "":
		b, err := ParseBackend(url)
		if err != nil {
			wrong("config.url", "%v", err)
			return
		}
		f.Host, f.where = b.Host, url
		f.permit.backends = &Backends{Name: url, List: []Backend{b}}
	case !uri.IsServiceName(service):
		wrong("config.service", "%q is no name of a service", service)
	default:
		f.where, f.permit.service, f.permit.by = "service "+service, service, ByFilter
	}
}

// isTarget reports whether s is a path with an optional query (RFC 9112 3.2.1).
func isTarget(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '#' {
			return false
		}
	}
	return strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "//") && len(s) <= 2048
}

// ownFields are what lictor says itself, or what two neighbours say to each other:
// no plugin speaks of them. A name with - at its end stands for all that begin so.
var ownFields = []string{"Connection", "Keep-Alive", "Transfer-Encoding", "TE", "Trailer", "Upgrade", "Content-Length", "Host", "Expect", "Via",
	"Proxy", "Proxy-", "Forwarded", "X-Forwarded-", "X-Real-IP", "X-Request-Id", "Traceparent", "Tracestate", "X-Consumer-", "X-WASP-", "X-Lictor-",
	"X-Original-URL", "X-Original-Method", "Accept-Encoding"}

func isOwnField(name string) bool {
	return slices.ContainsFunc(ownFields, func(own string) bool {
		return field.Same(own, name) || strings.HasSuffix(own, "-") && field.HasPrefix(name, own)
	})
}

func checkNames(where string, names []string, patterns bool, wrong wrongFunc) {
	if len(names) > maxAskNames {
		wrong(where, "has %d names, want at most %d", len(names), maxAskNames)
	}
	for i, n := range names {
		name := n
		if patterns {
			name = strings.TrimSuffix(n, "*")
		}
		switch {
		case !isToken(name) || strings.Contains(name, "*"):
			wrong(where, "%q is no name of a header", n)
		case hasHeader(names[:i], n):
			wrong(where, "%q is there twice", n)
		case isOwnField(name):
			wrong(where, "%q is lictor's own to set", n)
		}
	}
}

// timeSetting reads a setting that is a time.
func timeSetting(name string, given values, without, least, most time.Duration, wrong wrongFunc) time.Duration {
	text := given.text(name)
	if text == "" {
		return without
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < least || d > most {
		wrong("config."+name, "is %q, want a time such as 500ms, from %v to %v", text, least, most)
	}
	return d
}

// rememberBy reads cache_by. All that could tell the authority who somebody is has
// to be in it: else somebody would be let in by what was said of another.
func (f *ForwardAuth) rememberBy(given values, wrong wrongFunc) {
	f.CacheHeaders = f.RequestHeaders
	by, ok := given["cache_by"].([]string)
	if !ok {
		return
	}
	if f.Cache == 0 {
		wrong("config.cache_by", "says what config.cache goes by, which is missing")
	}
	f.CacheHeaders = nil
	for _, one := range by {
		kind, name, _ := strings.Cut(one, ":")
		switch {
		case !isToken(name) || kind != "header" && kind != "cookie":
			wrong("config.cache_by", "%q: want header:NAME or cookie:NAME", one)
		case kind == "cookie":
			f.Cookies = append(f.Cookies, name)
		case !hasHeader(f.RequestHeaders, name):
			wrong("config.cache_by", "%q: the authority is not told it by config.request_headers", one)
		default:
			f.CacheHeaders = append(f.CacheHeaders, name)
		}
	}
	if len(f.Cookies) > 0 && hasHeader(f.RequestHeaders, "Cookie") && !hasHeader(f.CacheHeaders, "Cookie") {
		f.CacheHeaders = append(f.CacheHeaders, "Cookie")
	}
	for _, name := range f.RequestHeaders {
		if !hasHeader(f.CacheHeaders, name) && !hasHeader(impersonal, name) {
			wrong("config.cache_by", "does not name %s, by which the authority may know somebody: add it, or leave it out of config.request_headers", name)
		}
	}
}

func hasHeader(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// run opens the question. It is asked last, when all else let the request pass, so
// an authority is not asked more often than rate limits let it be.
func (forwardAuth) run(d *decision, won, report *livePlugin) bool {
	if won != nil {
		d.drop(won.config.(*ForwardAuth).ResponseHeaders)
		d.looksIn(won.config.(*ForwardAuth).RequestHeaders)
	}
	if d.waived() {
		return true
	}
	if report != nil && d.facts == nil && !d.aside {
		d.verdict.open(report)
		d.tellAsk(report, Report)
	}
	if won == nil {
		return true
	}
	d.tellAsk(won, Enforce)
	return d.ask(won)
}

// ask opens the question of p. Of what was let in before it is looked whether the
// same authority had let it in (X14): it is not asked again.
func (d *decision) ask(p *livePlugin) bool {
	f := p.config.(*ForwardAuth)
	switch {
	case d.facts == nil && d.verdict.open(p):
		return true
	case d.facts != nil && slices.ContainsFunc(d.facts.asked, f.asksAs):
		return true
	}
	message := "The authority was not asked"
	if d.facts == nil {
		message = "Too many authorities would have to be asked"
	}
	return d.deny("forward-auth", refusal{Reason: ReasonForwardAuth, Status: 503, Message: message, Rule: p.rule()})
}

// tellAsk records that an authority is asked, or in a dry run that it would be.
func (d *decision) tellAsk(p *livePlugin, mode Mode) {
	if d.rec == nil {
		return
	}
	verb := "is asked"
	if d.req.Dry {
		verb = "would be asked"
	}
	d.rec.Steps = append(d.rec.Steps, Step{Step: "forward-auth", Verdict: "pass", Mode: mode, Rule: p.rule().pointer(),
		Note: fmt.Sprintf("%s %s", p.config.(*ForwardAuth).where, verb)})
}

// open notes a question. It reports false if there is no room for it.
func (v *Verdict) open(p *livePlugin) bool {
	if slices.Contains(v.asks[:v.nasks], p) {
		return true
	}
	if v.nasks == maxAsks {
		return false
	}
	v.asks[v.nasks] = p
	v.nasks++
	return true
}

// Asks are the questions that are open: all of them have to be answered with yes,
// but for those in report mode, before the request goes on. It is nil if there is none.
func (v *Verdict) Asks() []Ask {
	if v.nasks == 0 {
		return nil
	}
	asks := make([]Ask, v.nasks)
	for i, p := range v.asks[:v.nasks] {
		asks[i] = Ask{ForwardAuth: p.config.(*ForwardAuth), Rule: p.rule(), Report: p.Mode.Reports(), tally: p.tally}
	}
	return asks
}

// asked are the authorities that had to let the request pass.
func (v *Verdict) asked() (all []*ForwardAuth) {
	for _, a := range v.Asks() {
		if !a.Report {
			all = append(all, a.ForwardAuth)
		}
	}
	return all
}
