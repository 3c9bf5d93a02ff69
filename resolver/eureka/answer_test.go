package eureka

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

const oneApp = `{"applications":{"application":[{"name":"SHOP","instance":[{"instanceId":"a","ipAddr":%q,"status":"UP","port":{"$":80,"@enabled":"true"}}]}]}}`

// TestWhatCannotBeDialledIsNoInstance and the problem says why.
func TestWhatCannotBeDialledIsNoInstance(t *testing.T) {
	tests := []struct{ host, want string }{
		{"10.0.0.1", "10.0.0.1:80"}, {"shop_1.example.com", "shop_1.example.com:80"}, {"fd00::1", "[fd00::1]:80"}, {"[fd00::1]", "[fd00::1]:80"},
		{"1.2.3.4:80", ""}, {"unix:", ""}, {"127.0.0.1%00", ""}, {"..", ""}, {"http://10.0.0.1", ""}, {"10.0.0.1 ", ""}, {"0.0.0.0", ""}, {"::", ""},
		{"10.0.0.300", ""}, {"[::1]:80", ""}, {"a b", ""}, {"-x", ""}, {"224.0.0.1", ""}, {"u:p@h", ""},
	}
	for _, tt := range tests {
		a, err := decode(fmt.Appendf(nil, oneApp, tt.host), false)
		if err != nil || len(a.records) != 1 {
			t.Errorf("%q: %+v, %v", tt.host, a, err)
			continue
		}
		s := newRegistry(a.records).services(nil)["shop"]
		if tt.want == "" {
			if len(s.Instances) != 0 || len(s.Problems) != 1 || !strings.Contains(s.Problems[0], "address") {
				t.Errorf("%q: instances %+v, problems %q", tt.host, s.Instances, s.Problems)
			}
		} else if len(s.Instances) != 1 || s.Instances[0].Address != tt.want {
			t.Errorf("%q: instances %+v, problems %q, want %s", tt.host, s.Instances, s.Problems, tt.want)
		}
	}
}

// roundTrip is a server without a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// dripping gives its text in pieces, each after a pause.
type dripping struct {
	text  string
	piece int
	pause time.Duration
	req   *http.Request
}

func (d *dripping) Read(b []byte) (int, error) {
	if d.text == "" {
		return 0, io.EOF
	}
	select {
	case <-time.After(d.pause):
	case <-d.req.Context().Done():
		return 0, d.req.Context().Err()
	}
	n := copy(b, d.text[:min(d.piece, len(d.text))])
	d.text = d.text[n:]
	return n, nil
}

// TestASlowAnswerIsReadAsLongAsPiecesCome.
func TestASlowAnswerIsReadAsLongAsPiecesCome(t *testing.T) {
	text := fmt.Sprintf(oneApp, "10.0.0.1")
	tests := []struct {
		name  string
		piece int
		pause time.Duration
		ok    bool
		most  time.Duration
	}{
		{"a piece every 1.7 s, for longer than any single limit", len(text)/20 + 1, 1700 * time.Millisecond, true, time.Minute},
		{"a piece just in time", len(text)/4 + 1, readTime - time.Millisecond, true, time.Minute},
		{"a piece too late", len(text) / 2, readTime + time.Second, false, readTime + time.Second},
		{"a byte now and then, for ever", 1, readTime - time.Second, false, wholeTime + time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, err := New(Config{URLs: []string{"http://eureka.test/eureka"}, Log: hclog.NewNullLogger()})
				if err != nil {
					t.Fatal(err)
				}
				r.client.Transport = roundTrip(func(req *http.Request) (*http.Response, error) {
					return &http.Response{StatusCode: 200, Body: io.NopCloser(&dripping{text, tt.piece, tt.pause, req}), Request: req}, nil
				})
				began := time.Now()
				err = r.refresh(t.Context())
				if (err == nil) != tt.ok || time.Since(began) > tt.most {
					t.Errorf("after %v: %v", time.Since(began), err)
				}
			})
		})
	}
}

// TestARedirectIsFollowedWithinTheOriginOnly.
func TestARedirectIsFollowedWithinTheOriginOnly(t *testing.T) {
	stranger := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a stranger was asked for %s with %v", r.URL, r.Header)
	}))
	defer stranger.Close()
	tests := []struct {
		name string
		to   func(host, path string) string
		ok   bool
	}{
		{"a slash at the end", func(_, path string) string { return path + "/" }, true},
		{"by the whole URL", func(host, path string) string { return "http://" + host + path + "/" }, true},
		{"to another host", func(_, path string) string { return stranger.URL + path + "/" }, false},
		{"to another scheme", func(host, path string) string { return "https://" + host + path + "/" }, false},
		{"with another user", func(host, path string) string { return "http://x:y@" + host + path + "/" }, false},
		{"in a circle", func(_, path string) string { return path }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if user, pw, _ := r.BasicAuth(); user != "gate" || pw != "geheim" {
					t.Errorf("%s is asked for as %s:%s", r.URL, user, pw)
				}
				if strings.HasSuffix(r.URL.Path, "/") {
					fmt.Fprintf(w, oneApp, "10.0.0.1")
					return
				}
				w.Header().Set("Location", tt.to(r.Host, r.URL.Path))
				w.WriteHeader(http.StatusMovedPermanently)
			}))
			defer s.Close()
			r := newResolver(t, Config{URLs: []string{strings.Replace(s.URL, "://", "://gate:geheim@", 1) + "/eureka"}})
			err := r.refresh(t.Context())
			if (err == nil) != tt.ok || err != nil && strings.Contains(err.Error(), "geheim") {
				t.Errorf("got %v", err)
			}
			if e, ok := errors.AsType[*statusError](err); !tt.ok && (!ok || e.status != 301 || e.to == "") {
				t.Errorf("got %v, want to be told where the redirect leads", err)
			}
		})
	}
}
