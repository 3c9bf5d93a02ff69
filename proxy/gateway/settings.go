package gateway

import (
	"crypto/tls"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"lictor/internal/field"
	"lictor/proxy/http1"
	"lictor/proxy/middleware"
	"lictor/resolver"
)

// Settings are what a SIGHUP may change (contract 2: gateway and dispatch
// "http"). They are immutable once given to the gateway; every duration and
// size is required unless it says otherwise.
type Settings struct {
	Timeout          time.Duration // to the response head
	Idle             time.Duration // of a kept-alive client connection
	Header           time.Duration // to read a request head
	Stream           time.Duration // without a byte either way on a body or tunnel
	Body             time.Duration // to the first byte of a body; 0: as Stream
	Admission        http1.Admission
	MaxHeader        int            // bytes of a request head
	MaxFields        int            // of a request head; 0: what http1 says
	MaxBody          int64          // bytes of a request body; 0 = no limit
	Drain            time.Duration  // for requests in flight at the end
	TrustedProxies   []netip.Prefix // whose X-Forwarded-* are believed
	TrustedNetworks  []netip.Prefix // that are "inside" (D18)
	ProtectedHeaders []string       // names, with an optional * at the end

	Balance        resolver.Balance
	HashOn         string                                                  // "client_ip", "header:NAME", "cookie:NAME"
	Retries        int                                                     // on other instances
	ConnectTimeout time.Duration                                           // per attempt
	MaxIdle        int                                                     // connections kept per instance
	MaxConnections int                                                     // to one instance; 0 = no limit
	Control        func(network, address string, rc syscall.RawConn) error // may refuse an address of an instance; nil: all are fine
	UpstreamTLS    *tls.Config                                             // for instances with scheme https; nil: the system's authorities, no certificate of ours

	Middleware middleware.Chain
}

func (s *Settings) limits() http1.Limits {
	return http1.Limits{Idle: s.Idle, Header: s.Header, Stream: s.Stream, Begin: s.Body, Admission: s.Admission, MaxHeader: s.MaxHeader, MaxFields: s.MaxFields}
}

// anyName reports whether a header name is one of patterns. Every mark counts
// as a dash: CGI-style backends would not tell them apart.
func anyName(patterns []string, name string) bool {
	for _, p := range patterns {
		if matchName(p, name) {
			return true
		}
	}
	return false
}

func matchName(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return field.HasPrefix(name, prefix)
	}
	return field.Same(pattern, name)
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
