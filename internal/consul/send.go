package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"lictor/internal/secret"
)

// Send sends one request and hands the body of a good answer to read; nil = it
// does not matter. Every status but 200 is a [*StatusError]. The datacenter,
// namespace, partition, peer and token are added; form and body may be nil. It has no
// deadline but that of ctx.
func (c *Client) Send(ctx context.Context, method, path string, form url.Values, body []byte, read func(io.Reader) error) error {
	resp, err := c.Do(ctx, method, path, form, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode != http.StatusOK:
		return ErrorOf(resp)
	case read == nil:
		return nil
	}
	return read(resp.Body)
}

// Do sends one request as [Client.Send] does and returns the answer, whatever its
// status. The caller closes its body, which ends in an error past its bound.
func (c *Client) Do(ctx context.Context, method, path string, form url.Values, body []byte) (resp *http.Response, err error) {
	for range mostAgain {
		if resp, err = c.send(ctx, c.kept, method, path, form, body); !errors.Is(err, errAgain) {
			break
		}
	}
	return resp, err
}

// MayReadKeys asks Consul whether the token may read all keys below a prefix:
// without the right an anonymous client gets the same 404 as if there were none.
// A Consul that is too old to be asked, or does not answer this, is trusted: then
// the only error is that of ctx. One without ACLs would log the question as an
// error, so it is to be asked only where [Meta.OpenByDefault] is false.
func (c *Client) MayReadKeys(ctx context.Context, prefix string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	ask, err := json.Marshal([]map[string]string{{"Resource": "key", "Segment": prefix, "Access": "read"}})
	if err != nil {
		return false, err
	}
	var verdicts []struct{ Allow bool }
	err = c.Send(ctx, http.MethodPost, "/v1/internal/acl/authorize", nil, ask, func(body io.Reader) error {
		return json.NewDecoder(io.LimitReader(body, 64<<10)).Decode(&verdicts)
	})
	switch {
	case TroubleOf(Meta{}, err) == Denied:
		return false, nil
	case ctx.Err() != nil:
		return true, ctx.Err()
	case err != nil || len(verdicts) == 0:
		return true, nil
	}
	return verdicts[0].Allow, nil
}

// send sends one request, as whoever Consul is to be asked as now.
func (c *Client) send(ctx context.Context, by *transport, method, path string, form url.Values, body []byte) (*http.Response, error) {
	token := c.current()
	req, err := c.request(ctx, method, path, form, body, token)
	if err != nil {
		return nil, err
	}
	resp, err := by.RoundTrip(req)
	return c.accept(req, token, resp, err)
}

// accept judges what came of a request. A refusal of a token that was replaced meanwhile,
// as while a query waited, is not the answer, but [errAgain].
func (c *Client) accept(req *http.Request, token secret.Text, resp *http.Response, err error) (*http.Response, error) {
	switch {
	case err != nil:
		return nil, &url.Error{Op: req.Method, URL: req.URL.String(), Err: err}
	case resp.StatusCode == http.StatusForbidden && c.current().Reveal() != token.Reveal():
		_ = resp.Body.Close() // nothing of it is wanted
		return nil, errAgain
	}
	return resp, nil
}

// current returns the token that counts now. Connections that were made by other
// certificates than count now are closed as soon as nothing waits on them.
func (c *Client) current() secret.Text {
	token, material := c.identity.current()
	if c.spoken.Swap(material) == material {
		return token
	}
	for _, by := range []*transport{c.kept, c.fresh, c.quiet} {
		if r, is := by.base.(*renewable); is {
			r.renew(material)
		}
	}
	c.streams.retire()
	return token
}

func (c *Client) request(ctx context.Context, method, path string, form url.Values, body []byte, token secret.Text) (*http.Request, error) {
	all := url.Values{}
	maps.Copy(all, form)
	for key, value := range map[string]string{"dc": c.api.Datacenter, "ns": c.api.Namespace, "partition": c.api.Partition, "peer": c.peer} {
		if value != "" && !all.Has(key) {
			all.Set(key, value)
		}
	}
	u := url.URL{Scheme: c.api.Scheme, Host: c.api.Address, Path: c.api.PathPrefix + path, RawQuery: all.Encode()}
	u.RawPath = escapeDots(u.Path)
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if c.api.HttpAuth != nil {
		req.SetBasicAuth(c.api.HttpAuth.Username, c.api.HttpAuth.Password)
	}
	if !token.Empty() {
		req.Header.Set("X-Consul-Token", token.Reveal())
	}
	return req, nil
}

// escapeDots returns the spelling of a path in which a part that is one or two
// dots, as a service may be called, is not taken for a step up; "" = as usual.
func escapeDots(path string) string {
	if !strings.Contains(path+"/", "/./") && !strings.Contains(path+"/", "/../") {
		return ""
	}
	parts := strings.Split((&url.URL{Path: path}).EscapedPath(), "/")
	for i, part := range parts {
		if part == "." || part == ".." {
			parts[i] = strings.ReplaceAll(part, ".", "%2E")
		}
	}
	return strings.Join(parts, "/")
}

// StatusError is an answer that is no success.
type StatusError struct {
	Code int
	Text string // of the body, cut short
}

// Error implements error.
func (e *StatusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("consul answers %d %s: %s", e.Code, http.StatusText(e.Code), e.Text))
}

// maxText bounds what of an error's body is shown.
const maxText = 300

// ErrorOf is the error that an answer of [Client.Do] is, as a [*StatusError]. It
// reads a part of the body and does not close it.
func ErrorOf(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxText)) // what could be read is shown
	printable := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(text), "?"))
	if to := resp.Header.Get("Location"); to != "" && slices.Contains([]int{301, 302, 303, 307, 308}, resp.StatusCode) {
		printable = "a redirect, which is not followed"
	}
	return &StatusError{Code: resp.StatusCode, Text: strings.TrimSpace(printable)}
}
