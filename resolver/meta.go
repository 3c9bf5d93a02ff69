package resolver

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The service metadata that lictor reads (contract 2), in whatever registry, and
// what the static resolver is told in the same names.
const (
	MetaScheme   = "lictor-scheme"
	MetaProtocol = "lictor-protocol"
	MetaTimeout  = "lictor-timeout"
	MetaBalance  = "lictor-balance"
	MetaStrip    = "lictor-strip"
	MetaHost     = "lictor-host"
	MetaProxy    = "lictor-send-proxy"
	MetaCanary   = "lictor-canary"

	MetaSlowStart   = "lictor-slow-start"
	MetaMaxRequests = "lictor-max-requests"
	MetaEject       = "lictor-eject"
	MetaHold        = "lictor-hold"

	MetaRewriteLocation = "lictor-rewrite-location"
)

// OwnMeta are the keys that speak of a service as a whole, and of how it is spoken
// to: those that a service may have which is in no registry. Its scheme stands in
// its URL.
var OwnMeta = []string{MetaProtocol, MetaTimeout, MetaBalance, MetaStrip, MetaHost, MetaProxy, MetaSlowStart, MetaMaxRequests, MetaEject, MetaHold, MetaRewriteLocation}

// Own reads the options of a service that is in no registry. Another key than
// those of OwnMeta is wrong as well.
func (wrong MetaWrong) Own(id string, meta map[string]string) Options {
	for _, key := range slices.Sorted(maps.Keys(meta)) {
		if !slices.Contains(OwnMeta, key) {
			wrong(id, key, meta[key], "one of "+strings.Join(OwnMeta, ", ")+" in its place")
		}
	}
	return wrong.Options([]InstanceMeta{{ID: id, Meta: meta}})
}

// InstanceMeta is the metadata of one instance.
type InstanceMeta struct {
	ID   string
	Meta map[string]string
}

// MetaWrong is told of each value that is ignored: whose it is, its key, the value,
// and what is wanted in its place.
type MetaWrong func(id, key, value, want string)

// Protocol reads how one instance is spoken to. h2 needs TLS and h2c must not
// have it, so each of them stands for its scheme as well.
func (wrong MetaWrong) Protocol(id string, meta map[string]string) (tls bool, proto Protocol) {
	scheme := meta[MetaScheme]
	switch scheme {
	case "", "http", "https":
	default:
		wrong(id, MetaScheme, scheme, "http or https")
		scheme = ""
	}
	switch value := meta[MetaProtocol]; {
	case value == "" || value == "http1":
	case value == "h2" && scheme != "http":
		return true, H2
	case value == "h2c" && scheme != "https":
		return false, H2C
	case value == "h2" || value == "h2c":
		wrong(id, MetaProtocol, value, "h2 with https, h2c with http")
	default:
		wrong(id, MetaProtocol, value, "http1, h2c or h2")
	}
	return scheme == "https", HTTP1
}

// Canary reads whether an instance is one.
func (wrong MetaWrong) Canary(id string, meta map[string]string) bool {
	text, told := meta[MetaCanary]
	is, ok := parseBool(text)
	if told && !ok {
		wrong(id, MetaCanary, text, "true or false")
	}
	return is
}

// Options reads the settings of the service. Where instances disagree, the
// first one that says something valid wins.
func (wrong MetaWrong) Options(instances []InstanceMeta) Options {
	var o Options
	if v, ok := agreed(wrong, instances, MetaTimeout, "a positive duration such as 15s", parseTimeout); ok {
		o.Timeout = v
	}
	if v, ok := agreed(wrong, instances, MetaBalance, "round_robin, least_requests, random_two or hash", parseBalance); ok {
		o.Balance = v
	}
	if v, ok := agreed(wrong, instances, MetaStrip, "true or false", parseBool); ok {
		o.KeepSegment = !v
	}
	if v, ok := agreed(wrong, instances, MetaHost, "keep or upstream", parseHost); ok {
		o.UpstreamHost = v
	}
	if v, ok := agreed(wrong, instances, MetaProxy, "v1 or v2", parseSendProxy); ok {
		o.SendProxy = v
	}
	if v, ok := agreed(wrong, instances, MetaSlowStart, "a positive duration such as 30s", parseTimeout); ok {
		o.SlowStart = v
	}
	if v, ok := agreed(wrong, instances, MetaMaxRequests, "a whole number of at least 1", parseCount); ok {
		o.MaxRequests = v
	}
	if v, ok := agreed(wrong, instances, MetaEject, `answers such as 5xx:5/10s or 503:1/1s`, parseEject); ok {
		o.Eject = v
	}
	if v, ok := agreed(wrong, instances, MetaHold, "a duration of at most 1m, such as 5s", parseHold); ok {
		o.Hold = v
	}
	if v, ok := agreed(wrong, instances, MetaRewriteLocation, "true or false", parseBool); ok {
		o.RewriteLocation = No
		if v {
			o.RewriteLocation = Yes
		}
	}
	return o
}

// agreed returns the first valid value that the instances have for key.
func agreed[T comparable](wrong MetaWrong, instances []InstanceMeta, key, want string, parse func(string) (T, bool)) (T, bool) {
	var first T
	var from string
	for _, i := range instances {
		text, ok := i.Meta[key]
		if !ok {
			continue
		}
		value, ok := parse(text)
		switch {
		case !ok:
			wrong(i.ID, key, text, want)
		case from == "":
			first, from = value, i.ID
		case value != first:
			wrong(i.ID, key, text, "the value of "+from)
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

func parseEject(s string) (Faults, bool) {
	f, err := ParseFaults(s)
	return f, err == nil
}

func parseHold(s string) (time.Duration, bool) {
	d, ok := parseTimeout(s)
	return d, ok && d <= MaxHold
}

func parseBalance(s string) (Balance, bool) {
	switch b := Balance(s); b {
	case RoundRobin, LeastRequests, RandomTwo, Hash:
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
