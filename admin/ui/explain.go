package ui

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"lictor/admin"
	"lictor/admin/api"
	"lictor/policy"
)

// maxQuestion bounds the form of a question.
const maxQuestion = 64 << 10

// explainPage is the form of a question, and the answer.
type explainPage struct {
	What    string // a URL, a path, a curl line or an id
	Method  string
	From    string
	As      string // a consumer, by id or name
	Headers string // "Name: value", one a line
	Egress  bool

	Listener string // of the gateway; "" = its own

	Wrong    string // why it cannot be answered; "" = it can
	Answer   *answerView
	Share    string // address of this question, without what may be secret
	Command  string // the same on the command line
	Withheld bool   // Share and Command leave something out
}

// answerView is an explanation as the page shows it.
type answerView struct {
	*api.Explanation
	Outcome, Colour string
	Rule            *policy.Rule // that settled it; nil = there is none
	Note            string
	Steps           []stepView
	Served          []instanceView
}

type stepView struct {
	policy.Step
	Link, Colour string
}

type instanceView struct {
	api.InstanceFact
	Why string // it would be taken, or not
}

var requestID = regexp.MustCompile(`^[0-9a-f]{32}$`)

func (u *UI) explain(w http.ResponseWriter, r *http.Request) error {
	form := r.URL.Query()
	if r.Method == http.MethodPost {
		form = r.PostForm
	}
	data := &explainPage{
		What: strings.TrimSpace(form.Get("url")), Method: strings.TrimSpace(form.Get("method")), From: strings.TrimSpace(form.Get("from")),
		As: strings.TrimSpace(form.Get("consumer")), Headers: form.Get("headers"), Egress: form.Get("egress") != "",
		Listener: strings.TrimSpace(form.Get("listener")),
	}
	switch {
	case data.What == "":
	case requestID.MatchString(data.What):
		u.recall(data)
	default:
		u.ask(r, data)
	}
	return u.show(w, r, http.StatusOK, "explain", "/ui/explain", "Explain", data)
}

// recall shows what was decided on a request.
func (u *UI) recall(data *explainPage) {
	data.Wrong = "The decision on this request is not kept. Only requests that ask by X-Lictor-Explain: 1, from a trusted network, are, the last 256 of them."
	if u.cfg.Explain.Decision == nil {
		return
	}
	text, kept := u.cfg.Explain.Decision(data.What)
	e := &api.Explanation{}
	if !kept || json.Unmarshal(text, e) != nil {
		return
	}
	data.Wrong, data.Answer = "", u.answer(e)
	data.Share = "/ui/explain?url=" + data.What
}

// ask answers a question, as /explain does.
func (u *UI) ask(r *http.Request, data *explainPage) {
	q, err := data.question()
	if err != nil {
		data.withhold()
		data.Wrong = err.Error()
		return
	}
	share, headers, withheld := shareable(q)
	data.Share, data.Command, data.Withheld = shareLink(share), command(share, headers), withheld
	data.What, data.Method, data.From, data.As, data.Egress, data.Headers = q.URL, q.Method, q.From, q.Consumer, q.Egress, lines(share.Headers)
	if withheld {
		data.What = share.URL
	}
	explanation, err := u.cfg.Explain.Ask(r.Context(), q)
	e, ok := explanation.(*api.Explanation)
	if err != nil || !ok {
		data.Wrong = admin.RefusalOf(err).Message
		return
	}
	data.Answer = u.answer(e)
}

// withhold leaves nothing in the form that may be a credential, where it cannot be told
// what is one: a line of curl, and fields that are not known to hold none.
func (p *explainPage) withhold() {
	if first, _, _ := strings.Cut(p.What, " "); first == "curl" {
		p.What = ""
	}
	p.What = withoutSecrets(p.What)
	var kept strings.Builder
	for line := range strings.Lines(p.Headers) {
		if name, _, _ := strings.Cut(line, ":"); isHarmless(strings.TrimSpace(name)) {
			kept.WriteString(line)
		}
	}
	p.Headers = kept.String()
}

// question reads the form.
func (p *explainPage) question() (*api.Question, error) {
	q := &api.Question{URL: p.What}
	if first, _, _ := strings.Cut(p.What, " "); first == "curl" {
		var err error
		if q, err = parseCurl(p.What); err != nil {
			return nil, err
		}
	}
	if q.Headers == nil {
		q.Headers = api.Headers{}
	}
	for line := range strings.Lines(p.Headers) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, admin.Invalid("", "Each line of the header wants a name, a colon and a value")
		}
		q.Headers[name] = append(q.Headers[name], strings.TrimSpace(value))
	}
	if p.Method != "" {
		q.Method = p.Method
	}
	q.From, q.Consumer, q.Listener = p.From, p.As, p.Listener
	q.Egress = q.Egress || p.Egress
	return q, nil
}

// harmless are the header fields that hold no credentials: only they are shown
// again and get into links.
var harmless = []string{"accept", "accept-encoding", "accept-language", "connection", "content-length", "content-type", "expect", "forwarded", "host", "origin",
	"te", "transfer-encoding", "upgrade", "user-agent", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"}

func isHarmless(name string) bool { return slices.Contains(harmless, strings.ToLower(name)) }

// shareable returns the question without what may be a credential: the query, the
// user information of the URL, and header fields whose harm is not known. left has
// the names of those fields.
func shareable(q *api.Question) (share *api.Question, left []string, withheld bool) {
	share = &api.Question{Method: q.Method, From: q.From, Consumer: q.Consumer, Egress: q.Egress, Listener: q.Listener, URL: withoutSecrets(q.URL), Headers: api.Headers{}}
	for _, f := range q.Headers.Pairs() {
		if isHarmless(f[0]) {
			share.Headers[f[0]] = append(share.Headers[f[0]], f[1])
		} else {
			left = append(left, f[0])
		}
	}
	return share, left, len(left) > 0 || share.URL != q.URL
}

func withoutSecrets(target string) string {
	target, _, _ = strings.Cut(target, "#")
	target, _, _ = strings.Cut(target, "?")
	if strings.HasPrefix(target, "/") {
		return target
	}
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok { // CONNECT has an authority alone
		scheme, rest = "", target
	} else {
		scheme += "://"
	}
	authority, path, slash := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		authority = authority[at+1:]
	}
	if slash {
		path = "/" + path
	}
	return scheme + authority + path
}

func lines(h api.Headers) string {
	var text strings.Builder
	for _, f := range h.Pairs() {
		text.WriteString(f[0] + ": " + f[1] + "\n")
	}
	return text.String()
}

func shareLink(q *api.Question) string {
	form := url.Values{"url": {q.URL}}
	for name, value := range map[string]string{"method": q.Method, "from": q.From, "consumer": q.Consumer, "listener": q.Listener, "headers": lines(q.Headers)} {
		if value != "" {
			form.Set(name, value)
		}
	}
	if q.Egress {
		form.Set("egress", "1")
	}
	return "/ui/explain?" + form.Encode()
}

// command is the line of lictor explain that asks the same; fields that may hold
// credentials are for the reader to fill in.
func command(q *api.Question, secret []string) string {
	words := []string{"lictor", "explain"}
	if q.Method != "" && q.Method != http.MethodGet {
		words = append(words, "-X", quote(q.Method))
	}
	for _, f := range q.Headers.Pairs() {
		words = append(words, "-H", quote(f[0]+": "+f[1]))
	}
	for _, name := range secret {
		words = append(words, "-H", quote(name+": ..."))
	}
	if q.From != "" {
		words = append(words, "-from", quote(q.From))
	}
	if q.Consumer != "" {
		words = append(words, "-consumer", quote(q.Consumer))
	}
	if q.Listener != "" {
		words = append(words, "-listener", quote(q.Listener))
	}
	if q.Egress {
		words = append(words, "-egress")
	}
	return strings.Join(append(words, quote(q.URL)), " ")
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,=-]+$`)

// quote writes a word as a shell reads it.
func quote(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// answer makes an explanation ready to be shown, without the query, which may hold
// a key, and the user that a URL may have.
func (u *UI) answer(e *api.Explanation) *answerView {
	e.Path.Received, e.Path.Forwarded = withoutSecrets(e.Path.Received), withoutSecrets(e.Path.Forwarded)
	a := &answerView{Explanation: e, Outcome: "Allowed", Colour: "good"}
	switch {
	case !e.Allowed:
		a.Outcome, a.Colour = "Refused", "bad"
	case e.Status >= http.StatusBadRequest:
		a.Outcome, a.Colour = "Allowed, but not served", "warn"
	}
	for _, s := range e.Steps {
		v := stepView{Step: s, Colour: map[string]string{"pass": "good", "deny": "bad", "would_deny": "warn"}[s.Verdict]}
		if s.Rule != nil {
			v.Link = objectLink(s.Rule.Key, u.cfg.Prefix)
		}
		if s.Verdict == "deny" && !e.Allowed && a.Note == "" {
			a.Rule, a.Note = s.Rule, s.Note
		}
		a.Steps = append(a.Steps, v)
	}
	if e.Dispatch != nil {
		for _, i := range e.Dispatch.Instances {
			a.Served = append(a.Served, instanceView{i, whyTaken(&i)})
		}
	}
	return a
}

// whyTaken says why an instance would get the request, or not.
func whyTaken(i *api.InstanceFact) string {
	switch {
	case i.Chosen:
		return "it is the next"
	case i.State == "ejected":
		return "not now: it is ejected"
	case i.State == "passing" || i.State == "warning":
		return "it may be taken, others come first"
	case i.State == "last_resort":
		return "only when no other is left"
	}
	return "not: its state is " + i.State
}
