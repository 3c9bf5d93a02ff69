package gateway

import "lictor/internal/field"

// isRateLimit reports whether a field tells of a rate limit: X-RateLimit-*,
// X-Rate-Limit-*, RateLimit, RateLimit-Policy, and the like. Retry-After is not
// among them: it also says when a service is back.
func isRateLimit(name string) bool {
	if field.HasPrefix(name, "X-") {
		name = name[2:]
	}
	for _, prefix := range [...]string{"RateLimit", "Rate-Limit"} {
		if field.HasPrefix(name, prefix) && (len(name) == len(prefix) || field.Same(name[len(prefix):len(prefix)+1], "-")) {
			return true
		}
	}
	return false
}

// limits reports whether the gateway itself tells of a limit: then what the
// service says of its own would be a second value of the same fields.
func (x *exchange) limits() bool { return len(x.ruling.verdict.Limits.All()) > 0 }
