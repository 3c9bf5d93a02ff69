package policy

import (
	"strings"

	"lictor/internal/uri"
)

// token looks for a token wherever a configuration says that one may be, and
// returns the first and how many there are. The text may lie in the request's
// buffers.
func (d *decision) token(c *jwtConfig) (text string, n int) {
	take := func(value string, count int) {
		if n == 0 {
			text = value
		}
		n += count
	}
	if d.req.Fields != nil {
		for _, name := range c.headers {
			value, count := d.req.Fields.Field(name)
			if value, ok := bearerToken(name, value); ok || count > 1 {
				take(value, count)
			}
		}
		if len(c.cookies) > 0 {
			// Of several fields only the first can be seen. A browser sends one (RFC 6265 5.4).
			value, count := d.req.Fields.Field("Cookie")
			if count > 1 {
				take("", count)
			}
			for name, value := range cookies(value) {
				if value != "" && isOneOf(c.cookies, name) {
					take(value, 1)
				}
			}
		}
	}
	for _, name := range c.params {
		value, count := uri.Argument(d.req.Path.Query, name)
		if count == 0 || count == 1 && value == "" {
			continue
		}
		if n == 0 {
			value, d.req.scratch.arg = uri.DecodeArgument(value, d.req.scratch.arg)
		}
		take(value, count)
	}
	return text, n
}

func isOneOf(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// bearerToken returns the token in the value of a header (RFC 6750 2.1). Only in
// Authorization the word Bearer must stand before it, for there it may be another
// kind of credential.
func bearerToken(name, value string) (token string, ok bool) {
	const scheme = "Bearer"
	value = strings.Trim(value, " \t")
	token = value
	if len(value) >= len(scheme) && strings.EqualFold(value[:len(scheme)], scheme) && (len(value) == len(scheme) || strings.IndexByte(" \t", value[len(scheme)]) >= 0) {
		token = strings.TrimLeft(value[len(scheme):], " \t") // a tab is no blank here (RFC 9110 11.4), but some readers take it for one
	} else if strings.EqualFold(name, "Authorization") {
		return "", false
	}
	return token, token != ""
}

// cookies goes through the cookies of a field's value (RFC 6265 4.2.1).
func cookies(field string) func(yield func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		for pair := range strings.SplitSeq(field, ";") {
			if name, value, ok := strings.Cut(strings.Trim(pair, " \t"), "="); ok && !yield(name, value) {
				return
			}
		}
	}
}
