package config

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"lictor/internal/field"
	"lictor/internal/secret"
)

// Telemetry is the block telemetry: where traces are sent, and which.
type Telemetry struct {
	Endpoint    string                 // the URL of the collector, with the path of its traces; "" = none are sent
	Headers     map[string]secret.Text // of what is sent to it
	Sample      float64                // of all traces that begin here, from 0 to 1
	Slow        time.Duration          // to the head of an answer, past which a request is kept; 0 = none is kept for that
	ServiceName string
	TLS         UpstreamTLS // of the collector
}

func defaultTelemetry() Telemetry {
	return Telemetry{Sample: 0.01, Slow: time.Second, ServiceName: "lictor"}
}

// maxTelemetryHeaders is how many headers may be sent to the collector.
const maxTelemetryHeaders = 32

func (d *decoder) telemetry(b *hcl.Block) {
	t := &d.cfg.Telemetry
	where := d.body(b, options{
		"otlp_endpoint": parsed(&t.Endpoint, orNone(collectorURL)),
		"headers":       collectorHeaders(&t.Headers),
		"sample":        fraction(&t.Sample),
		"slow":          parsed(&t.Slow, duration(0)),
		"service_name":  parsed(&t.ServiceName, resourceName),
	}, nested{"tls": d.upstreamTLS(&t.TLS)})
	if t.TLS != (UpstreamTLS{}) && !strings.HasPrefix(t.Endpoint, "https:") {
		d.wrong(where.of("otlp_endpoint", b), "telemetry: tls needs an otlp_endpoint that begins with https://")
	}
}

// tracesPath is where a collector takes traces, behind its base (OTLP/HTTP).
const tracesPath = "/v1/traces"

// collectorURL parses the base URL of a collector. What it is to be told of whoever
// sends stands in headers, where no output shows it.
func collectorURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" ||
		u.RawPath != "" || !portIsOne(u.Port()) || strings.HasSuffix(u.Host, ":") {
		return "", withheld{errors.New(`want a URL such as "http://127.0.0.1:4318", without user, password and query (a key belongs into headers)`)}
	}
	if u.Path = strings.TrimRight(u.Path, "/"); !strings.HasSuffix(u.Path, tracesPath) {
		u.Path += tracesPath
	}
	return u.String(), nil
}

// ownHeaders are set by whoever sends, not by an operator.
var ownHeaders = []string{"Host", "Content-Type", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Connection", "Upgrade", "Trailer", "TE", "Expect"}

// collectorHeaders stores a map of header fields whose values no problem repeats.
func collectorHeaders(dst *map[string]secret.Text) setter {
	return func(v value) {
		parts, ok := entries(v)
		if len(parts) > maxTelemetryHeaders {
			v.wrong(v.expr.Range(), "want at most %d headers, got %d", maxTelemetryHeaders, len(parts))
			return
		}
		all := make(map[string]secret.Text, len(parts))
		for _, p := range parts {
			_, err := headerName(p.key)
			if err == nil && slices.ContainsFunc(ownHeaders, func(own string) bool { return field.Same(own, p.key) }) {
				err = errors.New("lictor sets this header itself")
			}
			if err != nil {
				v.wrong(p.at, "%s: %s", p.name(), err)
				continue
			}
			if text, ok := parseString(v, p, hiddenLine); ok {
				all[p.key] = text
			}
		}
		if ok {
			*dst = all
		}
	}
}

// hiddenLine parses the value of a header field that is a secret.
func hiddenLine(s string) (secret.Text, error) {
	if s == "" || strings.TrimSpace(s) != s || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c >= 0x7f }) {
		return secret.Text{}, withheld{errors.New("want visible ASCII characters, and blanks only between them")}
	}
	return secret.New(s), nil
}

// resourceName parses what a lictor is called in traces.
func resourceName(s string) (string, error) {
	if s == "" || len(s) > 255 || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return "", errors.New("want a name of at most 255 bytes")
	}
	return s, nil
}
