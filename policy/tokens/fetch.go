package tokens

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/MicahParks/jwkset"

	"lictor/internal/durable"
	"lictor/internal/files"
	"lictor/internal/version"
)

const (
	fetchTime   = 10 * time.Second
	connectTime = 5 * time.Second
	// maxAnswer bounds the answer of a URL.
	maxAnswer = 512 << 10
	maxHeader = 64 << 10
)

var errPanic = errors.New("the answer raised a panic")

// fetcher asks for sets. It follows no redirect: the operator named the place where
// the keys are, and whoever answers there must not name another.
type fetcher struct{ plain, secure *http.Client }

func newFetcher(control func(network, address string, c syscall.RawConn) error) *fetcher {
	if control == nil {
		control = func(string, string, syscall.RawConn) error { return nil }
	}
	client := func(control func(network, address string, c syscall.RawConn) error) *http.Client {
		return &http.Client{
			Timeout: fetchTime,
			Transport: &http.Transport{
				DialContext:            (&net.Dialer{Timeout: connectTime, Control: control}).DialContext,
				TLSHandshakeTimeout:    connectTime,
				MaxResponseHeaderBytes: maxHeader,
				DisableKeepAlives:      true, // once in minutes
				ForceAttemptHTTP2:      true,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return &fetcher{
		secure: client(control),
		plain: client(func(network, address string, c syscall.RawConn) error {
			if at, err := netip.ParseAddrPort(address); err != nil || !at.Addr().Unmap().IsLoopback() {
				return fmt.Errorf("%s is not on this machine, want https", address)
			}
			return control(network, address, c)
		}),
	}
}

func (f *fetcher) close() {
	f.plain.CloseIdleConnections()
	f.secure.CloseIdleConnections()
}

// fetch returns what a URL answers. It takes fetchTime at most.
func (f *fetcher) fetch(ctx context.Context, from string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, errors.New("the URL cannot be asked")
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	req.Header.Set("User-Agent", "lictor/"+version.Number)
	client := f.plain
	if req.URL.Scheme == "https" {
		client = f.secure
	}
	resp, err := client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // the URL is told anyway
		}
		return nil, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, fmt.Errorf("it answers %d, and redirects are not followed", resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it answers %d, want 200", resp.StatusCode)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case len(answer) > maxAnswer:
		return nil, fmt.Errorf("its answer has more than %d bytes", maxAnswer)
	}
	return answer, nil
}

// usable returns the keys of an answer that can be used here, and what is public
// of them. An answer without any is an error: the last good set stays.
func usable(all []jwkset.JWKMarshal) (set *keys, useful []jwkset.JWKMarshal, err error) {
	set = &keys{}
	for i := range all {
		one, err := newJWK(&all[i])
		if err != nil {
			continue
		}
		set.all = append(set.all, one)
		useful = append(useful, public(&all[i]))
	}
	if len(set.all) == 0 {
		return nil, nil, fmt.Errorf("its answer has %d keys, and none that tokens can be verified with", len(all))
	}
	return set, useful, nil
}

// kept is the file that keeps a set.
type kept struct {
	URL     string              `json:"url"`
	Fetched time.Time           `json:"fetched"`
	Keys    []jwkset.JWKMarshal `json:"keys"`
}

func (s *source) file() string {
	dir := s.verifier.cfg.DataDir
	if dir == "" {
		return ""
	}
	return durable.FileFor(dir, "jwks.json", s.url)
}

var errNotKept = errors.New("the keys cannot be kept for the next start")

// save keeps the keys of a good answer for the next start.
func (s *source) save(useful []jwkset.JWKMarshal, at time.Time) error {
	file := s.file()
	if file == "" {
		return nil
	}
	text, err := json.Marshal(kept{URL: s.url, Fetched: at, Keys: useful})
	if err == nil {
		err = durable.Replace(file, text, 0o600, time.Time{})
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNotKept, err)
	}
	return nil
}

// load puts in force what an earlier life kept.
func (s *source) load() {
	file := s.file()
	if file == "" {
		return
	}
	text, err := files.Read(file, 2*maxAnswer)
	var k kept
	if err != nil || json.Unmarshal(text, &k) != nil || k.URL != s.url {
		return
	}
	set, _, err := usable(k.Keys)
	if err != nil {
		return
	}
	s.publish(set)
	s.mu.Lock()
	s.status.Keys, s.status.Fetched, s.status.Kept = len(set.all), k.Fetched, true
	s.mu.Unlock()
	s.verifier.cfg.Log.Info("keys for tokens read from data_dir", "url", s.url, "keys", len(set.all), "fetched", k.Fetched)
}
