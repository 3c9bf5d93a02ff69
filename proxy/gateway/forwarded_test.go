package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"lictor/proxy/answer"
	"lictor/proxy/http1/message"
)

// What a trusted proxy says of the client's connection reaches the backend in
// X-Forwarded-* and in Forwarded, whichever it says it in, and both say the same.
func TestForwardedOfATrustedProxy(t *testing.T) {
	r := newRig(t, func(s *Settings) {
		s.TrustedProxies = append(s.TrustedProxies, mustPrefix("127.0.0.0/8"), mustPrefix("10.0.0.0/8"), mustPrefix("2001:db8:ffff::/48"))
	})
	r.backend(func(w http.ResponseWriter, req *http.Request) {
		h := req.Header
		port := h.Get("X-Forwarded-Port")
		if strings.HasSuffix(r.addr, ":"+port) {
			port = "own"
		}
		fmt.Fprintf(w, "%s|%s|%s|%s|%s|%s", h.Get("X-Forwarded-Proto"), h.Get("X-Forwarded-Host"), port,
			h.Get("X-Real-Ip"), strings.Join(h.Values("X-Forwarded-For"), " / "), strings.Join(h.Values("Forwarded"), " / "))
	})
	const xff = "X-Forwarded-For: 203.0.113.7"
	shop := func(proto string) string {
		return "for=203.0.113.7, for=127.0.0.1;proto=" + proto + `;host="shop.example"`
	}
	tests := []struct {
		name   string
		fields []string
		want   string
	}{
		{"nothing is said", nil, `http|gw.test|own|127.0.0.1|127.0.0.1|for=127.0.0.1;proto=http;host="gw.test"`},
		{"the scheme alone gives the port", []string{"X-Forwarded-Proto: https"}, `https|gw.test|443|127.0.0.1|127.0.0.1|for=127.0.0.1;proto=https;host="gw.test"`},
		{"the usual four lines", []string{xff, "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example"}, "https|shop.example|443|203.0.113.7|203.0.113.7, 127.0.0.1|" + shop("https")},
		{"a port in the host", []string{"X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example:8443"}, `https|shop.example:8443|8443|127.0.0.1|127.0.0.1|for=127.0.0.1;proto=https;host="shop.example:8443"`},
		{"a port of its own wins", []string{"X-Forwarded-Port: 8444", "X-Forwarded-Host: shop.example:8443"}, `http|shop.example:8443|8444|127.0.0.1|127.0.0.1|for=127.0.0.1;proto=http;host="shop.example:8443"`},
		{"the host alone", []string{xff, "X-Forwarded-Host: shop.example"}, "http|shop.example|80|203.0.113.7|203.0.113.7, 127.0.0.1|" + shop("http")},
		{"wss is https", []string{xff, "X-Forwarded-Proto: wss", "X-Forwarded-Host: shop.example"}, "https|shop.example|443|203.0.113.7|203.0.113.7, 127.0.0.1|" + shop("https")},
		{"ws is http, in any case", []string{xff, "X-Forwarded-Proto: Ws", "X-Forwarded-Host: shop.example"}, "http|shop.example|80|203.0.113.7|203.0.113.7, 127.0.0.1|" + shop("http")},
		{"lists of chained proxies", []string{xff, "X-Forwarded-Proto: HTTPS, http", "X-Forwarded-Host: shop.example, inner:81", "X-Forwarded-Port: 8443, 80"}, "https|shop.example|8443|203.0.113.7|203.0.113.7, 127.0.0.1|" + shop("https")},
		{"lists in several lines, with empty members", []string{xff, "X-Forwarded-Proto: , https", "X-Forwarded-Proto: http", "X-Forwarded-Host: shop.example", "X-Forwarded-Host: inner"}, "https|shop.example|443|203.0.113.7|203.0.113.7, 127.0.0.1|" + shop("https")},
		{"what is no scheme, host or port is not believed", []string{"X-Forwarded-Proto: gopher", "X-Forwarded-Host: a/b", "X-Forwarded-Port: 0"}, `http|gw.test|own|127.0.0.1|127.0.0.1|for=127.0.0.1;proto=http;host="gw.test"`},
		{"Forwarded alone", []string{"Forwarded: for=203.0.113.7;proto=https;host=shop.example"}, `https|shop.example|443|203.0.113.7|203.0.113.7, 127.0.0.1|for=203.0.113.7;proto=https;host=shop.example, for=127.0.0.1;proto=https;host="shop.example"`},
		{"with quotes, a port, any case and blanks", []string{`Forwarded: For="203.0.113.7:4711" ; PROTO="HTTPS";Host="shop.example:8443";by=_edge`}, `https|shop.example:8443|8443|203.0.113.7|203.0.113.7, 127.0.0.1|For="203.0.113.7:4711" ; PROTO="HTTPS";Host="shop.example:8443";by=_edge, for=127.0.0.1;proto=https;host="shop.example:8443"`},
		{"IPv6", []string{`Forwarded: for="[2001:db8::7]:4711"`}, `http|gw.test|own|2001:db8::7|2001:db8::7, 127.0.0.1|for="[2001:db8::7]:4711", for=127.0.0.1;proto=http;host="gw.test"`},
		{"several elements and lines, walked from the right", []string{`Forwarded: for=6.6.6.6, for=203.0.113.7;proto=wss`, `Forwarded: for="[2001:db8:ffff::1]"`}, `https|gw.test|443|203.0.113.7|6.6.6.6, 203.0.113.7, 2001:db8:ffff::1, 127.0.0.1|for=6.6.6.6, for=203.0.113.7;proto=wss, for="[2001:db8:ffff::1]", for=127.0.0.1;proto=https;host="gw.test"`},
		{"a hop that does not tell ends the walk", []string{`Forwarded: for=6.6.6.6, for=_hidden, for=10.0.0.1`}, `http|gw.test|own|10.0.0.1|6.6.6.6, unknown, 10.0.0.1, 127.0.0.1|for=6.6.6.6, for=_hidden, for=10.0.0.1, for=127.0.0.1;proto=http;host="gw.test"`},
		{"so does one that only says by whom", []string{`Forwarded: for=6.6.6.6, by=_edge`}, `http|gw.test|own|127.0.0.1|6.6.6.6, unknown, 127.0.0.1|for=6.6.6.6, by=_edge, for=127.0.0.1;proto=http;host="gw.test"`},
		{"a made-up port", []string{`Forwarded: for="203.0.113.7:_p"`}, `http|gw.test|own|203.0.113.7|203.0.113.7, 127.0.0.1|for="203.0.113.7:_p", for=127.0.0.1;proto=http;host="gw.test"`},
		{"both that agree are kept", []string{xff, "Forwarded: for=203.0.113.7;proto=https;host=shop.example"}, `https|shop.example|443|203.0.113.7|203.0.113.7, 127.0.0.1|for=203.0.113.7;proto=https;host=shop.example, for=127.0.0.1;proto=https;host="shop.example"`},
		{"one that the client made up beside X-Forwarded-For is not", []string{xff, "Forwarded: for=6.6.6.6;proto=https;host=evil.example"}, `http|gw.test|own|203.0.113.7|203.0.113.7, 127.0.0.1|for=203.0.113.7, for=127.0.0.1;proto=http;host="gw.test"`},
		{"one that cannot be read is not", []string{`Forwarded: for="203.0.113.7;proto=https`}, `http|gw.test|own|127.0.0.1|127.0.0.1|for=127.0.0.1;proto=http;host="gw.test"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if resp, body := r.get("/svc/", tt.fields...); resp.StatusCode != 200 || body != tt.want {
				t.Errorf("got  %s\nwant %s", body, tt.want)
			}
		})
	}
	e, err := r.gw.Explain(&answer.Question{URL: "/svc/", Headers: [][2]string{{"Forwarded", "for=203.0.113.7"}}})
	if err != nil || e.Client.Address != "203.0.113.7" || e.Client.From != "forwarded" {
		t.Errorf("explained as %+v, %v", e.Client, err)
	}
}

// From anybody else nothing of it is believed, nor goes on.
func TestForwardedOfAStranger(t *testing.T) {
	r := newRig(t, nil)
	r.backend(func(w http.ResponseWriter, req *http.Request) { fmt.Fprint(w, req.Header) })
	_, body := r.get("/svc/", "Forwarded: for=6.6.6.6;proto=https;host=evil.example", "X-Forwarded-Proto: wss", "X-Forwarded-Host: evil.example", "X-Forwarded-Port: 666")
	if strings.Contains(body, "6.6.6.6") || strings.Contains(body, "evil") || strings.Contains(body, "https") || strings.Contains(body, "[666]") { // an id may have any digits
		t.Errorf("the backend got %s", body)
	}
}

// FuzzForwarded: whatever is sent, reading it ends, and what is read holds no
// control character that a head could be broken with.
func FuzzForwarded(f *testing.F) {
	for _, s := range []string{"for=192.0.2.1", `for="[2001:db8::1]:80";proto=https, for=_x;by="a\"b"`, `for="`, ";;,,", "for=a;for=b", "a=b c", "=", `host="\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if !message.ValidFieldValue(value) {
			return
		}
		hops := readForwarded([]message.Field{{Name: "Forwarded", Value: value, ID: message.FieldForwarded}})
		for i := range hops {
			h := &hops[i]
			if !message.ValidFieldValue(h.node) || !message.ValidFieldValue(h.host) || !message.ValidFieldValue(h.proto) {
				t.Fatalf("%q has %+v", value, *h)
			}
			if a, ok := h.addr(); ok && !a.IsValid() {
				t.Fatalf("%q names no address", h.node)
			}
		}
		// What was kept is still what it was with another element behind it.
		if hops != nil {
			if again := readForwarded([]message.Field{{Value: value + ", for=192.0.2.9", ID: message.FieldForwarded}}); len(again) != len(hops)+1 {
				t.Fatalf("%q is %d elements, with one more %d", value, len(hops), len(again))
			}
		}
	})
}
