package policy

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// cors is the plugin cors (P1): which pages of other origins may read the answers
// of an API, by the CORS protocol of the Fetch standard (3.2). It refuses nothing
// but tells browsers what to refuse.
//
// It is chosen before anybody is identified, for a preflight says nobody's name,
// and the real request has to get the same answer as its preflight. So it does
// not hold where consumers or groups narrow a mapping.
type cors struct{}

// CORS is a configuration of the plugin cors in force. It is immutable.
type CORS struct {
	Methods        string // value of Access-Control-Allow-Methods
	Headers        string // value of Access-Control-Allow-Headers; "" = the ones that the preflight asks for
	Exposed        string // value of Access-Control-Expose-Headers; "" = none
	MaxAge         string // value of Access-Control-Max-Age, in seconds; "" = the browser's own
	Credentials    bool   // pages whose origin is allowed by name may send cookies and the like
	PrivateNetwork bool   // pages on the internet may reach what is in a private network

	origins   origins
	continues bool // a preflight goes on to the backend
}

// Access is what a page of a request's origin may do with the answer.
type Access uint8

const (
	AccessNone  Access = iota // its origin is not allowed, or the request has none
	AccessAny                 // every page may read it, if it sends no credentials
	AccessNamed               // its origin is allowed by name
)

// CrossOrigin is what a decision says of pages of other origins. The zero value
// is that no plugin cors holds.
type CrossOrigin struct {
	Rules     *CORS // that hold; nil = none
	Access    Access
	Preflight bool // the request is a preflight
}

// noOrigins are the rules where nobody knows which are to hold.
var noOrigins = new(CORS)

// allMethods are those that are allowed by default, as with Kong.
var allMethods = []string{"GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT"}

func (cors) name() string         { return "cors" }
func (cors) compare(a, b any) int { return 0 }

func (cors) settings() []Field {
	return []Field{
		{Name: "origins", Type: TypeList, Default: "*", Example: "https://app.example.org",
			Doc: "that may read the answers: an origin, *.example.org (all below it, by https), * (any, without credentials), ~ and a regular expression (RE2) for the whole origin"},
		{Name: "methods", Type: TypeList, Default: strings.Join(allMethods, " "), Example: "GET", Doc: "that pages may use"},
		{Name: "headers", Type: TypeList, Example: "Authorization", Doc: "fields that pages may send; those that the preflight asks for if it is not given"},
		{Name: "exposed_headers", Type: TypeList, Example: "RateLimit-Remaining", Doc: "fields of the answer that pages may read"},
		{Name: "credentials", Type: TypeTruth, Default: "false", Example: "true",
			Doc: "pages may send cookies, client certificates and passwords of HTTP, if an entry other than * allows their origin"},
		{Name: "max_age", Type: TypeWhole, Most: math.MaxInt32, Example: "600", Doc: "seconds for which a browser may remember the answer to a preflight; the browser's own if it is not given"},
		{Name: "private_network", Type: TypeTruth, Default: "false", Example: "true", Doc: "pages on the internet may reach a private network"},
		{Name: "preflight_continue", Type: TypeTruth, Default: "false", Example: "true",
			Doc: "the service answers a preflight, which goes on without credentials, whatever key-auth, ACLs and forward-auth say"},
	}
}

func (p cors) compile(config map[string]any, wrong wrongFunc) any {
	given := readSettings(p.settings(), config, wrong)
	c := &CORS{Credentials: given.truth("credentials"), PrivateNetwork: given.truth("private_network"), continues: given.truth("preflight_continue")}
	entries, ok := given["origins"].([]string)
	if !ok {
		entries = []string{"*"}
	}
	c.origins = readOrigins(entries, c.Credentials, wrong)
	methods, ok := given["methods"].([]string)
	if !ok {
		methods = allMethods
	}
	c.Methods = tokenList("methods", methods, wrong)
	headers, _ := given["headers"].([]string)
	exposed, _ := given["exposed_headers"].([]string)
	c.Headers, c.Exposed = tokenList("headers", headers, wrong), tokenList("exposed_headers", exposed, wrong)
	if age, ok := given["max_age"].(int64); ok {
		c.MaxAge = strconv.FormatInt(age, 10)
	}
	return c
}

func readOrigins(entries []string, credentials bool, wrong wrongFunc) origins {
	o := origins{exact: make(map[string]bool)}
	for _, e := range entries[:min(len(entries), maxOrigins)] {
		if err := o.add(e); err != nil {
			wrong("config.origins", "%.200q: %v", e, err)
		}
	}
	switch {
	case len(entries) == 0:
		wrong("config.origins", "is empty, want a list of origins")
	case len(entries) > maxOrigins || len(o.regexes) > maxRegexes:
		wrong("config.origins", "has %d entries, of them %d regular expressions, want at most %d and %d", len(entries), len(o.regexes), maxOrigins, maxRegexes)
	case credentials && o.namesAnybody():
		wrong("config.origins", "lets every page read what the user may read: with credentials want neither null nor an expression that matches any origin")
	}
	return o
}

// maxTokens bounds the value of a field that each answer has, in bytes.
const maxTokens = 4 << 10

// tokenList makes names of methods or fields the value of a field.
func tokenList(setting string, names []string, wrong wrongFunc) string {
	for _, n := range names {
		if !isToken(n) {
			wrong("config."+setting, "%.200q is no name of a method or field", n)
		}
	}
	value := strings.Join(names, ", ")
	if len(value) > maxTokens {
		wrong("config."+setting, "has %d bytes, want at most %d", len(value), maxTokens)
	}
	return value
}

// Varies reports whether the answer depends on the request's origin, so that a
// cache must not give it to another one.
func (c *CORS) Varies() bool { return !c.origins.any || c.Credentials && c.origins.listed() }

// listed reports whether some origins are allowed by name.
func (o *origins) listed() bool { return len(o.exact)+len(o.within)+len(o.regexes) > 0 }

// access is what the rules say to an origin. By name it is only allowed what
// "*" does not allow as well: credentials need it, and a reflected origin that is
// not needed would keep caches from sharing the answer.
func (c *CORS) access(origin string) Access {
	switch {
	case c.Varies() && c.origins.names(origin):
		return AccessNamed
	case c.origins.any:
		return AccessAny
	}
	return AccessNone
}

// isPreflight reports whether a request asks whether another one may be made
// (Fetch 3.2.2).
func (r *Request) isPreflight() bool {
	return r.Method == "OPTIONS" && r.has("Origin") && r.has("Access-Control-Request-Method")
}

func (r *Request) has(name string) bool {
	_, n := r.header(name)
	return n > 0
}

// header returns the first value of a field of the request and how often it occurs.
func (r *Request) header(name string) (value string, n int) {
	if r.Fields == nil {
		return "", 0
	}
	return r.Fields.Field(name)
}

// origin is the request's, "" if there is none or more than one.
func (r *Request) origin() string {
	value, n := r.header("Origin")
	if n != 1 {
		return ""
	}
	return value
}

func (cors) run(d *decision, won, report *livePlugin) bool {
	if d.facts != nil {
		return true // its answer has begun
	}
	if report != nil {
		d.reportOrigin(report)
	}
	if won == nil {
		return true
	}
	x := &d.verdict.CORS
	x.Rules, x.Preflight = won.config.(*CORS), d.preflight
	if d.doubtful {
		x.Rules = noOrigins
	}
	x.Access = x.Rules.access(d.req.origin())
	if d.rec != nil {
		d.rec.pass("cors", won.rule(), d.explainOrigin(x))
	}
	return true
}

// CrossOrigin says in v what the answer tells browsers to a request that is refused
// before it has an API: by the rules that hold for every one. It overwrites v.
func (s *Set) CrossOrigin(r *Request, v *Verdict) {
	*v = Verdict{}
	if s == nil {
		return
	}
	r.Path = &noPath
	r.scratch.readings.Reset()
	r.scratch.namedReadings.Reset()
	d := &r.scratch.decision
	*d = decision{set: s, req: r, verdict: v, preflight: r.isPreflight()}
	d.plugin(typeCORS)
	*d = decision{}
}

// reportOrigin tells what a configuration in report mode would have kept from the
// page that sent the request. A page of the same host is no stranger.
func (d *decision) reportOrigin(p *livePlugin) {
	origin := d.req.origin()
	_, authority, _ := strings.Cut(origin, "://")
	host, _, _ := cutPort(authority)
	if d.req.has("Origin") && host != d.req.Host && p.config.(*CORS).access(origin) == AccessNone {
		d.wouldDeny("cors", ReasonCORS, p.rule())
	}
}

func (d *decision) explainOrigin(x *CrossOrigin) string {
	switch {
	case d.doubtful:
		return "which plugin cors holds depends on how the path is read, so no origin is allowed"
	case x.Access == AccessNamed:
		return "pages of this origin may read the answer"
	case x.Access == AccessAny:
		return "pages of any origin may read the answer, without credentials"
	case !d.req.has("Origin"):
		return "the request has no Origin"
	}
	return "browsers hide the answer from pages of this origin"
}

// answersPreflight ends the decision on a preflight that lictor answers. It
// reports whether the decision goes on.
func (d *decision) answersPreflight() bool {
	rules := d.verdict.CORS.Rules
	if !d.preflight || rules == nil {
		return true
	}
	if rules.continues {
		d.rec.pass("preflight", Rule{}, "the service answers it, and no credential is needed")
		return true
	}
	d.verdict.Action, d.verdict.Status = Answer, 204
	d.rec.pass("preflight", Rule{}, "lictor answers it, and no credential is needed")
	return false
}

// waived reports whether the request is a preflight that goes on to the API's
// service, for which browsers send no credentials.
func (d *decision) waived() bool {
	if !d.preflight {
		return false
	}
	d.doubtful = false
	won, _ := d.choose(typeCORS)
	return won != nil && !d.doubtful && won.config.(*CORS).continues
}

// corsNotes tells what in a configuration does not do what it seems to.
func corsNotes(p *Plugin) Problems {
	entries, _ := stringList(p.Config["origins"])
	if p.Config["credentials"] != true || slices.ContainsFunc(entries, func(e string) bool { return e != "*" }) {
		return nil
	}
	return Problems{{Field: "config.credentials", Text: "* allows no origin to send credentials: name the origins that may"}}
}
