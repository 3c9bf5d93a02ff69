package config

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"golang.org/x/net/http/httpguts"

	"lictor/internal/field"
	"lictor/internal/uri"
	"lictor/proxy/middleware"
)

// middleware decodes a block middleware "NAME" (D19).
func (d *decoder) middleware(b *hcl.Block) {
	rule := middleware.Rule{Name: b.Labels[0]}
	mode := "enforce"
	request, response := new(middleware.Edit), new(middleware.Edit)
	path := options{"path": parsed(&rule.Effect.Path, func(s string) (string, error) { return s, middleware.CheckPath(s) })}
	where := d.body(b, options{
		"record": boolean(&rule.Effect.Record),
		"mode":   parsed(&mode, oneOf("enforce", "report")),
	}, nested{
		"match":    func(in *hcl.Block) { d.match(in, &rule.Match) },
		"request":  func(in *hcl.Block) { d.edit(in, request, path) },
		"response": func(in *hcl.Block) { d.edit(in, response, nil) },
		"block": func(in *hcl.Block) {
			rule.Effect.Block = &middleware.Block{Status: http.StatusForbidden}
			d.body(in, options{
				"status":  number(&rule.Effect.Block.Status, 200, 599),
				"message": text(&rule.Effect.Block.Message),
			}, nil)
		},
		"route": func(in *hcl.Block) {
			place := d.body(in, options{
				"service": parsed(&rule.Effect.Route, serviceName),
				"canary":  boolean(&rule.Effect.Canary),
			}, nil)
			if _, written := place["service"]; !written && !rule.Effect.Canary {
				d.wrong(in.DefRange, "%s: route: want service, the name of one, or canary = true", title(b))
			}
		},
	})
	if !request.Empty() {
		rule.Effect.Request = request
	}
	if !response.Empty() {
		rule.Effect.Response = response
	}
	rule.Report = mode == "report"
	if rule.Effect == (middleware.Effect{}) && !middleware.Registered(rule.Name) {
		d.wrong(where.of("record", b), "%s: it does nothing: want request, response, block, route or record", title(b))
	}
	d.cfg.Middleware = append(d.cfg.Middleware, rule)
}

func (d *decoder) match(b *hcl.Block, m *middleware.Match) {
	percent := 100.0
	d.body(b, options{
		"methods":  list(&m.Methods, method),
		"hosts":    list(&m.Hosts, hostPattern),
		"paths":    list(&m.Paths, pathPrefix),
		"services": list(&m.Services, serviceName),
		"consumers": list(&m.Consumers, func(s string) (string, error) {
			if s == "" {
				return "", errors.New("want the name or id of a consumer")
			}
			return s, nil
		}),
		"headers": func(v value) {
			m.Headers = nil
			pairs(v, func(p part, name, text string) {
				pattern, err := middleware.CompilePattern(name, text)
				if !isToken(name) {
					v.wrong(p.at, "%s: %s", p.name(), errFieldName)
				} else if err != nil {
					v.wrong(p.at, "%s: %s", p.name(), errPattern(err))
				}
				m.Headers = append(m.Headers, pattern)
			})
		},
		"percent": share(&percent),
	}, nil)
	if percent < 100 {
		m.Share = percent / 100
	}
}

// edit decodes a block request or response, of which one has options besides.
func (d *decoder) edit(b *hcl.Block, e *middleware.Edit, besides options) {
	fields := func(dst *[]middleware.Field) setter {
		return func(v value) {
			pairs(v, func(p part, name, text string) {
				if err := editable(name); err != nil {
					v.wrong(p.at, "%s: %s", p.name(), err)
				} else if !httpguts.ValidHeaderFieldValue(text) {
					v.wrong(p.at, "%s: want a header value without control characters", p.name())
				}
				*dst = append(*dst, middleware.Field{Name: name, Value: text})
			})
		}
	}
	all := options{
		"set":    fields(&e.Set),
		"add":    fields(&e.Add),
		"remove": list(&e.Remove, func(s string) (string, error) { return s, editable(s) }),
	}
	maps.Copy(all, besides)
	d.body(b, all, nil)
}

var (
	errFieldName = errors.New("want the name of a header field")
	errOwnField  = errors.New("this field frames the message or is set by lictor itself")
)

// errPattern says what is wrong with a regular expression, and repeats nothing of it: a
// part may come from another file or the environment.
func errPattern(err error) error {
	if wrong, ok := errors.AsType[*syntax.Error](err); ok {
		return fmt.Errorf("want a regular expression behind the ~: %s", wrong.Code)
	}
	return errors.New("want a regular expression behind the ~")
}

// editable says whether middleware may touch a header field: not those that
// frame messages, belong to the connection, or are lictor's own.
func editable(name string) error {
	if !isToken(name) {
		return errFieldName
	}
	if slices.ContainsFunc(ownFields, func(own string) bool { return field.Same(own, name) }) ||
		slices.ContainsFunc(ownPrefixes, func(own string) bool { return field.HasPrefix(name, own) }) {
		return errOwnField
	}
	return nil
}

// Fields that no middleware may touch. As for a careless backend, every mark in a name is
// the same.
var (
	ownFields = []string{"Host", "Connection", "Content-Length", "Transfer-Encoding", "TE", "Trailer", "Upgrade", "Expect", "Keep-Alive",
		"Proxy", "Via", "Forwarded", "Date", "Tracestate"}
	ownPrefixes = []string{"Proxy-", "X-Forwarded-", "X-Consumer-", "X-WASP-", "X-Real-IP", "X-Request-ID", "Traceparent"}
)

// pairs calls f for each entry of a map of strings.
func pairs(v value, f func(p part, name, text string)) {
	all, ok := entries(v)
	if !ok {
		return
	}
	for _, p := range all {
		if text, ok := parseString(v, p, asItIs); ok {
			f(p, p.key, text)
		}
	}
}

func method(s string) (string, error) {
	if !isToken(s) {
		return "", errors.New(`want a method such as "GET"`)
	}
	return strings.ToUpper(s), nil
}

// hostPattern parses a host, or "*.x" for the subdomains of x.
func hostPattern(s string) (string, error) {
	rest, wild := strings.CutPrefix(s, "*.")
	host, err := uri.CompileHost(rest)
	if err != nil {
		return "", errors.New(`want a host such as "example.org" or "*.example.org"`)
	}
	if wild {
		host = "*." + host
	}
	return host, nil
}

// pathPrefix parses a prefix of paths and returns its canonical form (D22).
func pathPrefix(s string) (string, error) {
	p, _, err := uri.ParsePath(s, nil)
	if err != nil || p.HasQuery {
		return "", errors.New(`want a path such as "/shop/admin"`)
	}
	return strings.Clone(p.Canonical), nil
}

func serviceName(s string) (string, error) {
	if !uri.IsServiceName(s) {
		return "", errors.New("want the name of a service")
	}
	return s, nil
}
