package consul

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"lictor/internal/pace"
	"lictor/internal/secret"
)

// TestAQueryThatIsSentAgainHasAllItsTimeAgain: Consul has it wait as long as before, and who
// gives it up sooner takes Consul for away.
func TestAQueryThatIsSentAgainHasAllItsTimeAgain(t *testing.T) {
	own := issued(t)
	const wait = 10 * time.Minute
	tests := []struct {
		name string
		end  func(*bubble, *peer, uint32) // of the first, when most of its time is over
	}{
		{"its connection takes no more requests and ends", func(_ *bubble, p *peer, _ uint32) { p.goAway(); p.conn.Close() }},
		{"it is to come by HTTP/1.1", func(_ *bubble, p *peer, stream uint32) { p.reset(stream, http2.ErrCodeHTTP11Required) }},
		{"it is refused for a token that was replaced meanwhile", func(b *bubble, p *peer, stream uint32) {
			put, err := b.client.identity.PrepareToken(secret.New("second"), "")
			if err != nil {
				t.Error(err)
				return
			}
			put()
			p.headAs(stream, "403")
			p.body(stream)
		}},
	}
	for _, tt := range tests {
		for name, ahead := range map[string]bool{"": false, ", ahead": true} {
			t.Run(tt.name+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					asked := 0
					b := bubbled(t, own, nil)
					b.at = func(p *peer, stream uint32) {
						if asked++; asked == 1 {
							time.AfterFunc(wait*9/10, func() { tt.end(b, p, stream) })
							return
						}
						time.AfterFunc(wait, func() { p.head(stream); p.body(stream) })
					}
					b.plain = roundTrip(func(req *http.Request) (*http.Response, error) {
						return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"X-Consul-Index": {"7"}},
							Body: io.NopCloser(bytes.NewReader([]byte("[]")))}, pace.Sleep(req.Context(), wait)
					})
					q := Query{Index: 7, Wait: wait, Many: true}
					if ahead {
						q.Asked = b.client.Ahead(t.Context(), "/v1/x", q)
						defer q.Asked.End()
					}
					m, err := b.client.Get(t.Context(), "/v1/x", q, readAll(new(string)))
					if err != nil || m.Index != 7 || b.client.Contact.Down() {
						t.Errorf("%+v, %v; consul is taken to be away: %v", m, err, b.client.Contact.Down())
					}
					b.end()
				})
			})
		}
	}
}

// closing tells of what is closed.
type closing struct {
	io.ReadCloser
	times *int
}

func (c closing) Close() error {
	*c.times++
	return c.ReadCloser.Close()
}

// TestWhatNobodyTookIsClosed: what came of it counts against its connection until then.
func TestWhatNobodyTookIsClosed(t *testing.T) {
	s := startSecured(t, 50, "h2")
	c := s.client(t, 2)
	close(s.release)
	for name, taken := range map[string]bool{"nobody took it": false, "it was read": true} {
		t.Run(name, func(t *testing.T) {
			q := Query{Index: 7, Wait: time.Minute, Many: true}
			q.Asked = c.Ahead(t.Context(), "/v1/x", q)
			times := 0
			q.Asked.resp.Body = closing{q.Asked.resp.Body, &times}
			if taken {
				if _, err := c.Get(t.Context(), "/v1/x", q, readAll(new(string))); err != nil {
					t.Error(err)
				}
			}
			q.Asked.End()
			if times != 1 {
				t.Errorf("it is closed %d times", times)
			}
		})
	}
}

// TestWhatIsAskedAheadAnswersOneQuery: that which was asked, and once.
func TestWhatIsAskedAheadAnswersOneQuery(t *testing.T) {
	s := startSecured(t, 50, "h2")
	c := s.client(t, 2)
	close(s.release)
	if a := c.Ahead(t.Context(), "/v1/x", Query{Many: true}); a != nil {
		t.Error("what does not wait is asked ahead")
	}
	q := Query{Index: 7, Wait: time.Minute, Many: true}
	other := q
	other.Form = url.Values{"tag": {"a"}}
	for _, tt := range []struct {
		name    string
		path    string
		q       Query
		streams int64 // for it and the one that was asked ahead
	}{
		{"of another path", "/v1/other", q, 2},
		{"with another form", "/v1/x", other, 2},
		{"the very one", "/v1/x", q, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := s.streams.Load()
			tt.q.Asked = c.Ahead(t.Context(), "/v1/x", q)
			defer tt.q.Asked.End()
			for turn := range int64(2) {
				if _, err := c.Get(t.Context(), tt.path, tt.q, readAll(new(string))); err != nil {
					t.Error(err)
				}
				if got := s.streams.Load() - before; got != tt.streams+turn {
					t.Errorf("%d streams, want %d", got, tt.streams+turn)
				}
			}
		})
	}
}

// strange is a context that raises a panic where a connection looks at it.
type strange struct{ context.Context }

func (s strange) Value(key any) any {
	if fmt.Sprintf("%T", key) == "httptrace.clientEventContextKey" {
		panic("odd")
	}
	return s.Context.Value(key)
}

// TestAPanicWhileAQueryIsAskedAheadIsItsError, as it is of one that is not.
func TestAPanicWhileAQueryIsAskedAheadIsItsError(t *testing.T) {
	s := startSecured(t, 50, "h2")
	c := s.client(t, 2)
	c.TryStreams(t.Context())
	q := Query{Index: 7, Wait: time.Minute, Many: true}
	q.Asked = c.Ahead(strange{t.Context()}, "/v1/x", q)
	defer q.Asked.End()
	if _, err := c.Get(t.Context(), "/v1/x", q, readAll(new(string))); !errors.Is(err, ErrPanic) || c.Contact.Down() {
		t.Errorf("%v, want that it raised a panic; consul is taken to be away: %v", err, c.Contact.Down())
	}
}
