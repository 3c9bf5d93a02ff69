package consul

import (
	"fmt"
	"strconv"
	"time"

	"lictor/resolver"
)

// The service metadata that lictor reads (contract 2).
const (
	metaScheme   = "lictor-scheme"
	metaProtocol = "lictor-protocol"
	metaTimeout  = "lictor-timeout"
	metaBalance  = "lictor-balance"
	metaStrip    = "lictor-strip"
	metaHost     = "lictor-host"
	metaProxy    = "lictor-send-proxy"
	metaCanary   = "lictor-canary"

	metaSlowStart   = "lictor-slow-start"
	metaMaxRequests = "lictor-max-requests"
	metaEject       = "lictor-eject"
	metaHold        = "lictor-hold"

	metaRewriteLocation = "lictor-rewrite-location"
)

// instanceMeta is the metadata of one instance.
type instanceMeta struct {
	id   string
	meta map[string]string
}

// problems collects what is wrong with a service's metadata; such values are ignored.
type problems struct{ texts []string }

func (p *problems) add(id, key, value, want string) {
	p.say(fmt.Sprintf("%s: %s = %q: want %s", cut(id, maxNote), key, cut(value, maxNote), want))
}

// say adds a text, up to a bound.
func (p *problems) say(text string) {
	switch {
	case len(p.texts) < maxProblems:
		p.texts = append(p.texts, text)
	case len(p.texts) == maxProblems:
		p.texts = append(p.texts, "and more")
	}
}

// protocol reads how one instance is spoken to. h2 needs TLS and h2c must not
// have it, so each of them stands for its scheme as well.
func (p *problems) protocol(id string, meta map[string]string) (tls bool, proto resolver.Protocol) {
	scheme := meta[metaScheme]
	switch scheme {
	case "", "http", "https":
	default:
		p.add(id, metaScheme, scheme, "http or https")
		scheme = ""
	}
	switch value := meta[metaProtocol]; {
	case value == "" || value == "http1":
	case value == "h2" && scheme != "http":
		return true, resolver.H2
	case value == "h2c" && scheme != "https":
		return false, resolver.H2C
	case value == "h2" || value == "h2c":
		p.add(id, metaProtocol, value, "h2 with https, h2c with http")
	default:
		p.add(id, metaProtocol, value, "http1, h2c or h2")
	}
	return scheme == "https", resolver.HTTP1
}

// canary reads whether an instance is one.
func (p *problems) canary(id string, meta map[string]string) bool {
	text, told := meta[metaCanary]
	is, ok := parseBool(text)
	if told && !ok {
		p.add(id, metaCanary, text, "true or false")
	}
	return is
}

// options reads the settings of the service. Where instances disagree, the
// first one that says something valid wins.
func (p *problems) options(instances []instanceMeta) resolver.Options {
	var o resolver.Options
	if v, ok := agreed(p, instances, metaTimeout, "a positive duration such as 15s", parseTimeout); ok {
		o.Timeout = v
	}
	if v, ok := agreed(p, instances, metaBalance, "round_robin, least_requests, random_two or hash", parseBalance); ok {
		o.Balance = v
	}
	if v, ok := agreed(p, instances, metaStrip, "true or false", parseBool); ok {
		o.KeepSegment = !v
	}
	if v, ok := agreed(p, instances, metaHost, "keep or upstream", parseHost); ok {
		o.UpstreamHost = v
	}
	if v, ok := agreed(p, instances, metaProxy, "v1 or v2", parseSendProxy); ok {
		o.SendProxy = v
	}
	if v, ok := agreed(p, instances, metaSlowStart, "a positive duration such as 30s", parseTimeout); ok {
		o.SlowStart = v
	}
	if v, ok := agreed(p, instances, metaMaxRequests, "a whole number of at least 1", parseCount); ok {
		o.MaxRequests = v
	}
	if v, ok := agreed(p, instances, metaEject, `answers such as 5xx:5/10s or 503:1/1s`, parseEject); ok {
		o.Eject = v
	}
	if v, ok := agreed(p, instances, metaHold, "a duration of at most 1m, such as 5s", parseHold); ok {
		o.Hold = v
	}
	if v, ok := agreed(p, instances, metaRewriteLocation, "true or false", parseBool); ok {
		o.RewriteLocation = resolver.No
		if v {
			o.RewriteLocation = resolver.Yes
		}
	}
	return o
}

// agreed returns the first valid value that the instances have for key.
func agreed[T comparable](p *problems, instances []instanceMeta, key, want string, parse func(string) (T, bool)) (T, bool) {
	var first T
	var from string
	for _, i := range instances {
		text, ok := i.meta[key]
		if !ok {
			continue
		}
		value, ok := parse(text)
		switch {
		case !ok:
			p.add(i.id, key, text, want)
		case from == "":
			first, from = value, i.id
		case value != first:
			p.add(i.id, key, text, "the value of "+from)
		}
	}
	return first, from != ""
}

func parseTimeout(s string) (time.Duration, bool) {
	d, err := time.ParseDuration(s)
	return d, err == nil && d > 0
}

func parseCount(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n > 0
}

func parseEject(s string) (resolver.Faults, bool) {
	f, err := resolver.ParseFaults(s)
	return f, err == nil
}

func parseHold(s string) (time.Duration, bool) {
	d, ok := parseTimeout(s)
	return d, ok && d <= resolver.MaxHold
}

func parseBalance(s string) (resolver.Balance, bool) {
	switch b := resolver.Balance(s); b {
	case resolver.RoundRobin, resolver.LeastRequests, resolver.RandomTwo, resolver.Hash:
		return b, true
	default:
		return "", false
	}
}

func parseBool(s string) (bool, bool) {
	b, err := strconv.ParseBool(s)
	return b, err == nil && (s == "true" || s == "false")
}

func parseSendProxy(s string) (version uint8, ok bool) {
	switch s {
	case "v1":
		return 1, true
	case "v2":
		return 2, true
	}
	return 0, false
}

func parseHost(s string) (upstream, ok bool) {
	return s == "upstream", s == "upstream" || s == "keep"
}
