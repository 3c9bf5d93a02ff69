package config

import (
	"errors"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"golang.org/x/net/http/httpguts"

	"lictor/proxy/answer"
)

// Gateway is the block gateway: the reverse proxy.
type Gateway struct {
	Address                 string            // host:port; an empty host is every address
	Timeout                 time.Duration     // from the request to the head of the answer
	IdleTimeout             time.Duration     // how long a client's connection may wait for its next request
	BodyTimeout             time.Duration     // until the first byte of a body
	HeaderTimeout           time.Duration     // for the head of a request to arrive
	StreamIdle              time.Duration     // how long a body or tunnel may move no byte
	MaxHeaderBytes          int64             // bytes of a request's head
	MaxFields               int               // fields of a request's head
	MaxBody                 int64             // bytes of a request's body; 0 = no limit
	ShutdownDelay           time.Duration     // how long the listener serves on after SIGTERM, while /readyz says no
	Drain                   time.Duration     // how long requests may go on after SIGTERM
	TrustedProxies          []netip.Prefix    // whose X-Forwarded-* are believed
	TrustedNetworks         []netip.Prefix    // clients here are inside: protected headers pass
	ProtectedHeaders        []string          // names of header fields, with * at the end for all that begin so
	MaxConnections          int               // of clients; 0 = as many as the limit of descriptors allows for
	MaxConnectionsPerClient int               // of one address; 0 = three quarters of MaxConnections
	MaxStreamsPerClient     int               // of one address, by HTTP/2; 0 = as many as the limit of descriptors allows for
	ProxyProtocol           bool              // connections of TrustedProxies begin with a PROXY header
	ClientNames             []string          // names in clients' certificates that may stand for consumers; empty: all
	RedirectAddress         string            // where clients of plain HTTP are told to come by https; "" = nowhere
	RedirectPort            int               // of https, as they reach it; 0 = that of Address
	ErrorPage               *answer.ErrorPage // what refusals are for clients that prefer HTML; nil = JSON, as for all others
	HSTS                    string            // value of Strict-Transport-Security in answers by TLS; "" = none is sent
	TLS                     TLS
}

func defaultGateway() Gateway {
	return Gateway{
		Address:        ":8000",
		Timeout:        15 * time.Second,
		IdleTimeout:    75 * time.Second,
		BodyTimeout:    30 * time.Second,
		HeaderTimeout:  10 * time.Second,
		StreamIdle:     5 * time.Minute,
		MaxHeaderBytes: 32 << 10, MaxFields: 256,
		Drain: 30 * time.Second,
		TLS:   defaultTLS(),
	}
}

func (d *decoder) gateway(b *hcl.Block) {
	g := &d.cfg.Gateway
	where := d.body(b, options{
		"address":                    parsed(&g.Address, address),
		"timeout":                    parsed(&g.Timeout, duration(moment)),
		"idle_timeout":               parsed(&g.IdleTimeout, duration(moment)),
		"body_timeout":               parsed(&g.BodyTimeout, duration(moment)),
		"header_timeout":             parsed(&g.HeaderTimeout, duration(moment)),
		"stream_idle":                parsed(&g.StreamIdle, duration(moment)),
		"max_header_bytes":           parsed(&g.MaxHeaderBytes, bytes(1<<10, 1<<20)),
		"max_fields":                 number(&g.MaxFields, 256, 10_000),
		"max_body":                   parsed(&g.MaxBody, orNone(bytes(1, math.MaxInt64))),
		"shutdown_delay":             parsed(&g.ShutdownDelay, duration(0)),
		"drain":                      parsed(&g.Drain, duration(0)),
		"trusted_proxies":            list(&g.TrustedProxies, cidr),
		"trusted_networks":           list(&g.TrustedNetworks, cidr),
		"protected_headers":          list(&g.ProtectedHeaders, headerPattern),
		"max_connections":            number(&g.MaxConnections, 0, 10_000_000),
		"max_connections_per_client": number(&g.MaxConnectionsPerClient, 0, 10_000_000),
		"max_streams_per_client":     number(&g.MaxStreamsPerClient, 0, 10_000_000),
		"proxy_protocol":             boolean(&g.ProxyProtocol),
		"client_names":               list(&g.ClientNames, clientName),
		"redirect_address":           parsed(&g.RedirectAddress, orNone(address)),
		"redirect_port":              number(&g.RedirectPort, 0, 65535),
		"error_page":                 parsed(&g.ErrorPage, d.errorPage),
		"hsts":                       parsed(&g.HSTS, orNone(hsts)),
	}, nested{"tls": d.tls(&g.TLS, nested{"acme": d.acme})})
	d.behindProxies(g.ProxyProtocol, g.TrustedProxies, where, b)
	d.namesClients(g.ClientNames, &g.TLS, where, b)
	d.listens("gateway", g.Address, where, "address", b)
	d.listens("gateway: redirect_address", g.RedirectAddress, where, "redirect_address", b)
	if g.RedirectAddress != "" && !g.TLS.Enabled() {
		d.wrong(where.of("redirect_address", b), "gateway: redirect_address leads to https, which needs tls")
	}
}

// errorPage reads the template in a file, and none of "".
func (d *decoder) errorPage(file string) (*answer.ErrorPage, error) {
	if file == "" {
		return nil, nil
	}
	text, err := d.env.ReadFile(file)
	if err != nil {
		return nil, withheld{err}
	}
	page, err := answer.ParseErrorPage(file, string(text))
	if err != nil {
		return nil, withheld{err}
	}
	return page, nil
}

// address parses where to listen.
func address(s string) (string, error) {
	_, port, err := net.SplitHostPort(s)
	if _, numErr := strconv.ParseUint(port, 10, 16); err != nil || numErr != nil {
		return "", errors.New(`want an address such as ":8000" or "127.0.0.1:8000"`)
	}
	return s, nil
}

// headerName parses the name of a header field.
func headerName(s string) (string, error) {
	if !isToken(s) {
		return "", errors.New(`want the name of a header such as "X-Internal"`)
	}
	return s, nil
}

// headerPattern parses a name that may end in *. The * alone would take every
// header away and is refused.
func headerPattern(s string) (string, error) {
	if !isToken(strings.TrimSuffix(s, "*")) || strings.Contains(strings.TrimSuffix(s, "*"), "*") {
		return "", errors.New(`want the name of a header, or its beginning and *, such as "X-Internal-*"`)
	}
	return s, nil
}

// isToken reports whether s is a token of RFC 9110, 5.6.2.
func isToken(s string) bool { return httpguts.ValidHeaderFieldName(s) }
