package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/internal/eventually"
	"lictor/policy"
	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
)

func TestAYesIsRememberedForTheVerySameRequest(t *testing.T) { // P3
	r := newRig(t, nil)
	r.backend(func(w http.ResponseWriter, q *http.Request) { io.WriteString(w, q.Header.Get("Remote-User")) })
	var cookie atomic.Value
	cookie.Store("")
	a := r.authority(`"cache": "1m", "request_headers": ["Cookie", "Accept"], "cache_by": ["cookie:s"], `+vouches, func(w http.ResponseWriter, q *http.Request) {
		if set := cookie.Load().(string); set != "" {
			w.Header().Set("Set-Cookie", set)
		}
		byCookie(w, q)
	})
	asked := func(what string, want int, method, target string, fields ...string) {
		t.Helper()
		c := r.dial()
		c.send(method + " " + target + " HTTP/1.1\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n")
		_, body := c.answer(method)
		if n := len(a.questions()); n != want || body != "ann" && method == "GET" && want == 0 {
			t.Errorf("%s: %d questions, want %d; the backend says %q", what, n, want, body)
		}
	}
	const host, ann = "Host: h", "Cookie: s=ann"
	asked("the first one", 1, "GET", "/svc/x?y", host, ann)
	asked("the same one", 0, "GET", "/svc/x?y", host, ann)
	asked("another cookie besides, of which the authority is not told", 0, "GET", "/svc/x?y", host, "Cookie: t=1; s=ann")
	asked("another Accept, which says nothing of who it is", 0, "GET", "/svc/x?y", host, ann, "Accept: text/html")
	asked("another method", 1, "POST", "/svc/x?y", host, ann)
	asked("another path", 1, "GET", "/svc/z?y", host, ann)
	asked("another query", 1, "GET", "/svc/x?z", host, ann)
	asked("another host", 1, "GET", "/svc/x?y", "Host: i", ann)
	asked("another cookie", 1, "GET", "/svc/x?y", host, "Cookie: s=eve")
	asked("a no, which is not remembered", 1, "GET", "/svc/x?y", host, "Cookie: s=eve")
	asked("two of the cookie", 1, "GET", "/svc/x?y", host, "Cookie: s=ann; s=eve")
	asked("none of it", 1, "GET", "/svc/x?y", host)
	asked("none of it once more", 1, "GET", "/svc/x?y", host)
	cookie.Store("s=fresh")
	asked("an answer that sets a cookie", 1, "GET", "/svc/c", host, ann)
	asked("which is not remembered", 1, "GET", "/svc/c", host, ann)
	r.asks(a.URL, `"cache": "1m", "request_headers": ["Cookie", "Accept"], "cache_by": ["cookie:s"], "timeout": "1s", `+vouches)
	asked("after a change of the plugin", 1, "GET", "/svc/x?y", host, ann)
	r.rules.apply(put(t, policy.KindPlugins, "other", `{"name": "request-size-limiting"}`))
	cookie.Store("")
	asked("without the cookie", 1, "GET", "/svc/x?y", host, ann)
	r.rules.apply(put(t, policy.KindPlugins, "other", `{"name": "request-size-limiting", "config": {"max_body": "1KiB"}}`))
	asked("after a change of another one", 0, "GET", "/svc/x?y", host, ann)
}

// A proxy in front has several ports, and takes away what paths begin with.
func TestAYesGoesByAllThatATrustedProxySaysOfWhereTheClientCame(t *testing.T) { // P3
	r := newRig(t, func(s *Settings) { s.TrustedProxies = []netip.Prefix{mustPrefix("127.0.0.0/8")} })
	r.backend(func(http.ResponseWriter, *http.Request) {})
	a := r.authority(`"cache": "1h"`, func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("X-Forwarded-Port") == "8443" || q.Header.Get("X-Forwarded-Prefix") == "/staff" {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	for _, tt := range []struct {
		says         string
		status, want int
	}{
		{"X-Forwarded-Port: 443", 200, 1}, {"X-Forwarded-Port: 443", 200, 0}, {"X-Forwarded-Port: 8443", 403, 1},
		{"X-Forwarded-Prefix: /shop", 200, 1}, {"X-Forwarded-Prefix: /shop", 200, 0}, {"X-Forwarded-Prefix: /staff", 403, 1},
	} {
		resp, _ := r.get("/svc/x", "Cookie: s=ann", tt.says)
		if n := len(a.questions()); resp.StatusCode != tt.status || n != tt.want {
			t.Errorf("%s: got %d and %d questions, want %d and %d", tt.says, resp.StatusCode, n, tt.status, tt.want)
		}
	}
}

// Without cache_by all that the authority is told counts.
func TestAYesGoesByAllThatTheAuthorityIsTold(t *testing.T) { // P3
	r := newRig(t, nil)
	r.backend(func(http.ResponseWriter, *http.Request) {})
	a := r.authority(`"cache": "1m"`, says(200))
	for i, tt := range []struct {
		fields string
		want   int
	}{{"Authorization: a\r\nCookie: b", 1}, {"Authorization: a\r\nCookie: b", 0}, {"Authorization: a\r\nCookie: c", 1}, {"Authorization: aCookie: b", 1},
		{"Cookie: b", 1}, {"Accept: a", 1}, {"Accept: a", 1},
		{"Cookie: Cookie\r\nCookie: d", 1}, {"Authorization: Cookie\r\nCookie: d", 1}} {
		if r.get("/svc/x", tt.fields); len(a.questions()) != tt.want {
			t.Errorf("%d: %q", i, tt.fields)
		}
	}
}

// Those who ask the very same at once share the question, and one that leaves ends
// it for nobody.
func TestTheSameQuestionIsPutOnce(t *testing.T) { // P3
	let := make(chan struct{})
	a := testAuthorities(func(*question) (*http1.Fetched, error) { <-let; return &http1.Fetched{Status: 200}, nil })
	f := new(policy.ForwardAuth)
	first, mine := a.join(questionOf(f, 1), false)
	if !mine {
		t.Fatal("the first one has nobody to ask")
	}
	a.fly(questionOf(f, 1), first)
	if again, mine := a.join(questionOf(f, 1), false); again != first || mine {
		t.Error("the same question is put twice")
	}
	for what, q := range map[string]*question{"another one": questionOf(f, 2)} {
		if other, mine := a.join(q, false); other == first || !mine {
			t.Errorf("%s shares the answer", what)
		}
	}
	if alone, mine := a.join(questionOf(f, 1), true); alone == first || !mine {
		t.Error("one that is put alone shares the answer")
	}
	close(let)
	if <-first.done; first.err != nil || first.reply.Status != 200 {
		t.Errorf("got %+v", first)
	}
	if next, mine := a.join(questionOf(f, 1), false); next == first || !mine {
		t.Error("an answer that is over is taken for one to come")
	}
}

// A cookie that an authority sets is for one client alone, whoever asks the same at
// the same time; and who leaves ends nobody's question.
func TestNobodySharesACookie(t *testing.T) { // P3
	r := newRig(t, nil)
	r.backend(func(http.ResponseWriter, *http.Request) {})
	var next atomic.Int64
	let := make(chan struct{})
	a := r.authority(`"timeout": "10s"`, func(w http.ResponseWriter, q *http.Request) {
		<-let
		says(302, "Set-Cookie", fmt.Sprint("csrf=", next.Add(1)))(w, q)
	})
	gone := r.dial()
	gone.send(get + "Cookie: a\r\n\r\n")
	eventually.True(t, "it is asked", func() bool { return r.gw.authorities.underWay() == 1 })
	var clients []*client
	for range 7 {
		c := r.dial()
		c.send(get + "Cookie: a\r\n\r\n")
		clients = append(clients, c)
	}
	gone.Close()
	close(let)
	seen := map[string]bool{}
	for _, c := range clients {
		resp, _ := c.answer("GET")
		if cookie := resp.Header.Get("Set-Cookie"); seen[cookie] || resp.StatusCode != 302 {
			t.Errorf("got %d, and the cookie %q of another client", resp.StatusCode, cookie)
		} else {
			seen[cookie] = true
		}
	}
	if n := len(a.questions()); n > 8 {
		t.Errorf("%d questions about 8 requests", n)
	}
}

// testAuthorities asks nobody but send.
func testAuthorities(send func(q *question) (*http1.Fetched, error)) *authorities {
	a := newAuthorities(hclog.NewNullLogger(), nil)
	a.send = send
	return a
}

func questionOf(f *policy.ForwardAuth, n int) *question {
	q := &question{ask: &policy.Ask{ForwardAuth: f}, remembers: true}
	copy(q.key[:], fmt.Sprint(n))
	q.same = q.key
	return q
}

func TestQuestionsAreBounded(t *testing.T) { // P3
	let := make(chan struct{})
	a := testAuthorities(func(q *question) (*http1.Fetched, error) {
		if <-let; q.key[0] == '1' && q.key[1] == 0 {
			panic("odd")
		}
		return nil, errCrowd
	})
	var flights []*flight
	put := func(f *policy.ForwardAuth, n int) bool {
		q := questionOf(f, n)
		flight, mine := a.join(q, false)
		if mine {
			flights = append(flights, flight)
			a.fly(q, flight)
		}
		return flight != nil
	}
	all := make([]policy.ForwardAuth, 6)
	n := 0
	for i := range all {
		for range maxQuestionsOne + 1 {
			if n++; !put(&all[i], n) {
				break
			}
		}
	}
	if a.underWay() != maxQuestions || a.under[&all[0]] != maxQuestionsOne {
		t.Errorf("%d under way, %d of the first", a.underWay(), a.under[&all[0]])
	}
	if !put(&all[0], 1) {
		t.Error("one that shares a question takes a place")
	}
	close(let)
	for _, f := range flights {
		if <-f.done; f.err == nil || f.reply != nil {
			t.Fatal("a panic lets pass")
		}
	}
	if a.underWay() != 0 || len(a.under)+len(a.flights) != 0 {
		t.Error("places are lost")
	}
}

func TestWhatIsRememberedIsBoundedAndRunsOut(t *testing.T) { // P3
	synctest.Test(t, func(t *testing.T) {
		a := testAuthorities(nil)
		f := &policy.ForwardAuth{Cache: time.Minute}
		large := []message.Field{{Name: "X", Value: strings.Repeat("x", 8<<10-100)}}
		for i := range 2 * maxRemembered {
			fields := large
			if i >= maxRemembered {
				fields = nil
			}
			a.remember(questionOf(f, i), fields, time.Now())
			if len(a.known) > maxRemembered || a.bytes > maxRememberedIn {
				t.Fatalf("%d answers, %d bytes", len(a.known), a.bytes)
			}
		}
		last := questionOf(f, 2*maxRemembered-1)
		a.remember(last, large, time.Now())
		if got, ok := a.recall(last, time.Now()); !ok || len(got) != 1 {
			t.Error("the newest one is forgotten")
		}
		if _, ok := a.recall(questionOf(&policy.ForwardAuth{}, 2*maxRemembered-1), time.Now()); ok {
			t.Error("another plugin's is recalled")
		}
		tooLarge := questionOf(f, 0)
		a.forget(tooLarge.key)
		a.remember(tooLarge, []message.Field{{Name: "X", Value: strings.Repeat("x", 8<<10)}}, time.Now())
		if _, ok := a.recall(tooLarge, time.Now()); ok {
			t.Error("a very large one is remembered")
		}
		time.Sleep(time.Minute)
		if _, ok := a.recall(last, time.Now()); ok {
			t.Error("it stands for ever")
		}
		a.sweep(time.Now())
		if len(a.known) != 0 || a.bytes != 0 {
			t.Errorf("%d answers, %d bytes are left", len(a.known), a.bytes)
		}
	})
}

func FuzzOnly(f *testing.F) {
	for _, s := range []string{"s=1", "a=2; s=1;s=2", ";;s", "s=\"; s=2\"", " s = 1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got := only(value, []string{"s"})
		if again := only(got, []string{"s"}); again != got {
			t.Errorf("%q gives %q, and that %q", value, got, again)
		}
		for pair := range strings.SplitSeq(got, "; ") {
			if got != "" && !strings.HasPrefix(pair, "s=") {
				t.Errorf("%q lets %q through", value, pair)
			}
		}
	})
}
