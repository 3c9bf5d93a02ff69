package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"lictor/internal/version"
)

const (
	connectTime = 5 * time.Second
	headTime    = 30 * time.Second // until the head of the answer
	fetchTime   = 10 * time.Minute // for all of it
	maxHeader   = 64 << 10
	maxRedirect = 5
)

// newClient returns a client for feeds. It goes where a redirect of the same scheme
// leads, as the places of public lists do, and speaks without TLS to this machine alone.
func newClient() *http.Client {
	dialer := &net.Dialer{Timeout: connectTime}
	transport := &http.Transport{
		TLSHandshakeTimeout: connectTime, ResponseHeaderTimeout: headTime, MaxResponseHeaderBytes: maxHeader,
		DisableKeepAlives: true, // once in an hour
		ForceAttemptHTTP2: true,
		DialContext:       dialer.DialContext,
	}
	plain := transport.Clone()
	plain.DialContext = (&net.Dialer{Timeout: connectTime, Control: onlyHere}).DialContext
	return &http.Client{
		Timeout: fetchTime, Transport: byScheme{plain: plain, secure: transport},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			r.Header.Del("Referer") // the URL of the feed, with a key that may stand in it
			switch {
			case len(via) > maxRedirect:
				return fmt.Errorf("more than %d redirects", maxRedirect)
			case r.URL.Scheme != via[0].URL.Scheme:
				return fmt.Errorf("it redirects from %s to %s, which is not followed", via[0].URL.Scheme, r.URL.Scheme)
			}
			return nil
		},
	}
}

// onlyHere refuses connections that leave this machine.
func onlyHere(_, address string, _ syscall.RawConn) error {
	if at, err := netip.ParseAddrPort(address); err != nil || !at.Addr().Unmap().IsLoopback() {
		return fmt.Errorf("%s is not on this machine, want https", address)
	}
	return nil
}

// byScheme has requests without TLS go another way, and none to what is no URL.
type byScheme struct{ plain, secure *http.Transport }

// RoundTrip implements http.RoundTripper.
func (t byScheme) RoundTrip(r *http.Request) (*http.Response, error) {
	transport := t.plain
	if r.URL.Scheme == "https" {
		transport = t.secure
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if _, err := resp.Location(); err != nil && !errors.Is(err, http.ErrNoLocation) {
		_ = resp.Body.Close()                                    // nobody reads it
		return nil, errors.New("it redirects to what is no URL") // which http.Client would tell, with a key that may stand in it
	}
	return resp, nil
}

// CloseIdleConnections is called by that of http.Client.
func (t byScheme) CloseIdleConnections() {
	t.plain.CloseIdleConnections()
	t.secure.CloseIdleConnections()
}

// fetch asks for the feed, unless it is the version that was read last.
func (w *follower) fetch(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.source.URL, nil)
	if err != nil {
		return errors.New("the URL cannot be asked")
	}
	req.Header.Set("Accept", "text/plain, */*;q=0.5")
	req.Header.Set("User-Agent", "lictor/"+version.Number)
	if w.edition.etag != "" {
		req.Header.Set("If-None-Match", w.edition.etag)
	} else if w.edition.modified != "" {
		req.Header.Set("If-Modified-Since", w.edition.modified)
	}
	asked := w.edition.etag+w.edition.modified != ""
	resp, err := w.feeds.client.Do(req)
	if err != nil {
		return withoutPath(err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && asked:
		w.confirmed()
		return nil
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("it answers %d, want 200", resp.StatusCode)
	}
	if err := w.take(ctx, resp.Body); err != nil {
		return withoutPath(err)
	}
	w.edition = editionOf(resp.Header)
	return nil
}

// editionOf is what an answer says of its edition.
func editionOf(h http.Header) edition {
	return edition{etag: h.Get("ETag"), modified: h.Get("Last-Modified")}
}

// bounded reads no more than so many bytes, and fails behind them and once ctx has ended.
type bounded struct {
	ctx  context.Context
	from io.Reader
	left int64
}

var errTooLarge = errors.New("it is larger than size allows")

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left+1)])
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// copying copies what is read of it. That it cannot, keeps nobody from reading.
type copying struct {
	from io.Reader
	to   io.Writer
	err  error
}

// Read implements io.Reader.
func (c *copying) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	if n > 0 && c.err == nil {
		_, c.err = c.to.Write(p[:n])
	}
	return n, err
}

// withoutPath is an error without the path or URL, which is told anyway and may hold
// what is secret.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
