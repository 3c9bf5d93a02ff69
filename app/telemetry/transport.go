package telemetry

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"time"
)

// Bounds of what a collector answers.
const (
	maxAnswer     = 64 << 10
	maxAnswerHead = 64 << 10
	dialPatience  = 5 * time.Second
)

// newClient returns what speaks to the collector, and to nobody else: it follows no
// redirect, which would take the headers elsewhere, and no proxy of the environment.
func newClient(cfg *Config) *http.Client {
	dialer := &net.Dialer{Timeout: dialPatience}
	t := &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: dialPatience, ResponseHeaderTimeout: onePatience, IdleConnTimeout: time.Minute,
		MaxIdleConns: 1, MaxResponseHeaderBytes: maxAnswerHead, DisableCompression: true,
	}
	t.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c := &tls.Config{MinVersion: tls.VersionTLS12}
		if cfg.TLS != nil {
			c = cfg.TLS.Clone()
		}
		if cfg.Roots != nil {
			c.RootCAs = cfg.Roots()
		}
		return (&tls.Dialer{NetDialer: dialer, Config: c}).DialContext(ctx, network, address)
	}
	return &http.Client{Transport: bounded{t}, Timeout: onePatience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// bounded reads no more of an answer than may be, and nothing of one that says no:
// its text would end up in the log.
type bounded struct{ *http.Transport }

// RoundTrip implements [http.RoundTripper].
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.Transport.RoundTrip(r)
	if err != nil {
		return nil, unreached{err}
	}
	body := resp.Body
	if resp.StatusCode/100 != 2 {
		_, _ = io.CopyN(io.Discard, body, maxAnswer) // so that the connection can be used again
		body.Close()
		resp.Body = http.NoBody
		return resp, nil
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(body, maxAnswer), body}
	return resp, nil
}

// unreached is that no answer came. It may be otherwise in a moment, so that the
// batch is sent again.
type unreached struct{ error }

// Temporary says so to [net/url.Error].
func (unreached) Temporary() bool { return true }

// Unwrap returns what happened.
func (u unreached) Unwrap() error { return u.error }
