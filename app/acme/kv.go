package acme

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/certmagic"

	"lictor/internal/consul"
)

// maxValue bounds a value, which Consul holds to 512 KiB.
const maxValue = 128 << 10

// KV keeps in Consul KV what lictors share, sealed. It implements
// [certmagic.Storage]. What is written or deleted under a lock is written only
// while the lock is ours: Consul itself checks.
type KV struct {
	client *consul.Client
	prefix string // ends in a slash
	seal   *Seal
}

// NewKV returns a storage below a prefix, which ends in a slash.
func NewKV(client *consul.Client, prefix string, seal *Seal) *KV {
	return &KV{client: client, prefix: prefix, seal: seal}
}

func (s *KV) path(key string) string { return "/v1/kv/" + s.prefix + key }

// Store implements [certmagic.Storage].
func (s *KV) Store(ctx context.Context, key string, value []byte) error {
	if len(value) > maxValue {
		return fmt.Errorf("%s: %d bytes are more than are kept", key, len(value))
	}
	return s.change(ctx, operation{Verb: "set", Key: s.prefix + key, Value: s.seal.close(key, value)})
}

// Delete implements [certmagic.Storage].
func (s *KV) Delete(ctx context.Context, key string) error {
	if err := s.change(ctx, operation{Verb: "delete", Key: s.prefix + key}); err != nil {
		return err
	}
	return s.change(ctx, operation{Verb: "delete-tree", Key: s.prefix + key + "/"})
}

type operation struct {
	Verb    string
	Key     string
	Value   []byte `json:",omitempty"`
	Session string `json:",omitempty"`
}

// change does what op says, if the locks that ctx works under are ours.
func (s *KV) change(ctx context.Context, op operation) error {
	var all []map[string]operation
	if w, ok := ctx.Value(workKey{}).(*work); ok {
		for _, l := range w.held() {
			all = append(all, map[string]operation{"KV": {Verb: "check-session", Key: l.key, Session: l.session}})
		}
	}
	body, err := json.Marshal(append(all, map[string]operation{"KV": op}))
	if err != nil {
		return err
	}
	resp, err := s.client.Do(ctx, http.MethodPut, "/v1/txn", nil, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusConflict:
		return conflict(resp.Body, len(all))
	}
	return consul.ErrorOf(resp)
}

// conflict is why a transaction whose first operations are checks of locks was not
// made. A right that is missing is told in the same way as a lock.
func conflict(body io.Reader, checks int) error {
	var answer struct {
		Errors []struct {
			OpIndex int
			What    string
		}
	}
	if err := json.NewDecoder(io.LimitReader(body, consul.MaxError)).Decode(&answer); err != nil || len(answer.Errors) == 0 {
		return &consul.StatusError{Code: http.StatusConflict}
	}
	first := answer.Errors[0]
	switch {
	case strings.Contains(first.What, "Permission denied"):
		return &consul.StatusError{Code: http.StatusForbidden, Text: cut(first.What)}
	case first.OpIndex < checks:
		return errLost
	}
	return &consul.StatusError{Code: http.StatusConflict, Text: cut(first.What)}
}

// Load implements [certmagic.Storage].
func (s *KV) Load(ctx context.Context, key string) ([]byte, error) {
	sealed, err := s.get(ctx, key, url.Values{"raw": {""}, "consistent": {""}})
	if err != nil {
		return nil, err
	}
	text, err := s.seal.open(key, sealed)
	if err != nil {
		return nil, fmt.Errorf("%s in Consul %w", s.prefix+key, err)
	}
	return text, nil
}

func (s *KV) get(ctx context.Context, key string, form url.Values) (body []byte, err error) {
	err = s.client.Send(ctx, http.MethodGet, s.path(key), form, nil, func(r io.Reader) error {
		body, err = io.ReadAll(r)
		return err
	})
	if status, ok := errors.AsType[*consul.StatusError](err); ok && status.Code == http.StatusNotFound {
		return nil, fs.ErrNotExist
	}
	return body, err
}

// Exists implements [certmagic.Storage].
func (s *KV) Exists(ctx context.Context, key string) bool {
	_, err := s.Stat(ctx, key)
	return err == nil
}

// List implements [certmagic.Storage].
func (s *KV) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	form := url.Values{"keys": {""}, "consistent": {""}}
	if prefix != "" {
		prefix = strings.TrimSuffix(prefix, "/") + "/"
	}
	if !recursive {
		form.Set("separator", "/")
	}
	body, err := s.get(ctx, prefix, form)
	if err != nil {
		return nil, err
	}
	var keys []string
	if err := json.Unmarshal(body, &keys); err != nil {
		return nil, err
	}
	for i := range keys {
		keys[i] = strings.TrimSuffix(strings.TrimPrefix(keys[i], s.prefix), "/")
	}
	return keys, nil
}

// Stat implements [certmagic.Storage].
func (s *KV) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	_, err := s.get(ctx, key, url.Values{"raw": {""}, "consistent": {""}})
	if err == nil {
		return certmagic.KeyInfo{Key: key, IsTerminal: true}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return certmagic.KeyInfo{}, err
	}
	_, err = s.List(ctx, key, false)
	return certmagic.KeyInfo{Key: key}, err
}
