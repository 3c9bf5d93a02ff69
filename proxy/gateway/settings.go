package gateway

import (
	"net/netip"
	"time"

	"lictor/proxy/answer"
	"lictor/proxy/http1"
	"lictor/proxy/middleware"
	"lictor/proxy/upstream"
)

// Settings are what a SIGHUP may change (contract 2: gateway and dispatch
// "http"). They are immutable once given to the gateway; every duration and
// size is required unless it says otherwise.
type Settings struct {
	upstream.Settings // how requests are sent

	Idle               time.Duration // of a kept-alive client connection
	Header             time.Duration // to read a request head
	Stream             time.Duration // without a byte either way on a body or tunnel
	Body               time.Duration // to the first byte of a body; 0: as Stream
	Admission          http1.Admission
	MaxHeader          int               // bytes of a request head
	MaxFields          int               // of a request head; 0: message.MaxFields
	MaxBody            int64             // bytes of a request body; 0 = no limit
	Drain              time.Duration     // for requests in flight at the end
	MoreTrustedProxies [][]netip.Prefix  // the same of the further listeners, in their order
	TrustedProxies     []netip.Prefix    // whose X-Forwarded-* are believed
	TrustedNetworks    []netip.Prefix    // that are "inside" (D18)
	ProtectedHeaders   []string          // names, with an optional * at the end
	ErrorPage          *answer.ErrorPage // for clients that prefer HTML; nil = they get JSON as well
	HSTS               string            // value of Strict-Transport-Security in answers by TLS; "" = none is added

	Middleware middleware.Chain
}

func (s *Settings) limits() http1.Limits {
	return http1.Limits{Idle: s.Idle, Header: s.Header, Stream: s.Stream, Begin: s.Body, Admission: s.Admission, MaxHeader: s.MaxHeader, MaxFields: s.MaxFields}
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
