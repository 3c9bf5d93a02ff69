package policy_test

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"lictor/policy"
)

// naiveAllows reads an entry of origins and an origin with the standard library's
// reader of URLs, and holds their parts against each other.
func naiveAllows(entry, origin string) bool {
	if entry == "null" || origin == "null" {
		return entry == origin
	}
	o, err := url.Parse(origin)
	if err != nil || o.Scheme == "" || o.Host == "" || o.Scheme+"://"+o.Host != origin || strings.ToLower(origin) != origin {
		return false
	}
	if expression, ok := strings.CutPrefix(entry, "~"); ok {
		r, err := regexp.Compile(expression)
		return err == nil && r.FindString(origin) == origin
	}
	if strings.HasPrefix(entry, "*.") {
		entry = "https://" + entry
	}
	e, err := url.Parse(strings.ToLower(entry))
	if err != nil || e.Scheme != o.Scheme || naivePort(e) != naivePort(o) || o.Port() == "443" && o.Scheme == "https" || o.Port() == "80" && o.Scheme == "http" {
		return false
	}
	if parent, ok := strings.CutPrefix(e.Hostname(), "*."); ok {
		labels, want := strings.Split(o.Hostname(), "."), strings.Split(parent, ".")
		return len(labels) > len(want) && slices.Equal(labels[len(labels)-len(want):], want)
	}
	return e.Hostname() == o.Hostname()
}

func naivePort(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	case u.Scheme == "http":
		return "80"
	}
	return ""
}

// access says what a configuration lets pages of an origin do: "" if nothing.
func access(p *policy.Plugin, origin string) string {
	entries := p.Config["origins"].([]string)
	isNamed := func(e string) bool { return e != "*" && naiveAllows(e, origin) }
	anyOne, credentials := slices.Contains(entries, "*"), p.Config["credentials"] == true
	switch {
	case slices.ContainsFunc(entries, isNamed) && (!anyOne || credentials):
		return "named"
	case anyOne:
		return "any"
	}
	return "nothing"
}

// doubtful stands for the plugin cors of a request of which nobody knows which one
// is to hold.
var doubtful policy.Plugin

// cors decides what the answer of an API tells browsers: "" if no plugin holds.
func (n *naive) cors(api string, r *policy.Request) (tells string, answered, continued bool) {
	p := n.winner("cors", api, nil, r, false)
	if p == nil {
		return "", false, false
	}
	origin, asked := r.Fields.(header)["Origin"], r.Fields.(header)["Access-Control-Request-Method"]
	tells = "nothing"
	if p != &doubtful && len(origin) > 0 {
		tells = access(p, origin[0])
	} else if p != &doubtful {
		tells = access(p, "")
	}
	if r.Method != "OPTIONS" || len(origin) == 0 || len(asked) == 0 {
		return tells, false, false
	}
	continued = p.Config["preflight_continue"] == true
	return tells, !continued, continued
}
