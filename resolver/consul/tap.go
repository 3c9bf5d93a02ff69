package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
)

// tap hands the bytes of a long list to its reader as they are, and a null to
// the JSON decoder behind consul/api. That one would look at each byte twice
// before the reader sees it, which is most of the cost of a wake-up.
type tap struct {
	http.RoundTripper
	buffers sync.Pool // of *bytes.Buffer
}

// tapKey is the context key of the [json.Unmarshaler] that wants the bytes. It
// must take a null for no answer, and must not keep the bytes.
type tapKey struct{}

func withTap(ctx context.Context, reader json.Unmarshaler) context.Context {
	return context.WithValue(ctx, tapKey{}, reader)
}

// RoundTrip implements [http.RoundTripper].
func (t *tap) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(req)
	reader, ok := req.Context().Value(tapKey{}).(json.Unmarshaler)
	if !ok || err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	buf, ok := t.buffers.Get().(*bytes.Buffer)
	if !ok {
		buf = new(bytes.Buffer)
	}
	defer t.buffers.Put(buf)
	buf.Reset()
	_, err = buf.ReadFrom(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	if err := reader.UnmarshalJSON(bytes.TrimSpace(buf.Bytes())); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(strings.NewReader("null"))
	return resp, nil
}
