package feed

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"lictor/policy"
)

// denied reports whether the gateway denies a host, or a client, by a feed.
func denied(t *testing.T, feed *policy.Feed, host, client string) bool {
	t.Helper()
	b := policy.NewBuilder(policy.Options{})
	b.SetFeeds([]*policy.Feed{feed})
	set, _ := b.Apply(1, nil)
	r := policy.Request{Method: "GET", Host: host}
	if client != "" {
		r.Client = netip.MustParseAddr(client)
	}
	var v policy.Verdict
	set.Decide(&r, &policy.Route{}, &v, nil)
	return v.Reason == policy.ReasonBlacklist && v.Rule.Key == "feeds/x"
}

func TestFormats(t *testing.T) { // A18
	tests := []struct {
		name    string
		format  Format
		text    string
		entries int
		bad     []int // lines
		hosts   string
		clients string
		passes  string // hosts
	}{
		{"a hosts file", Hosts, "# ads\n127.0.0.1 localhost\n::1 ip6-localhost\n255.255.255.255 broadcasthost\n\n0.0.0.0 bad.example # a note\n0.0.0.0\ttwo.example three.example\n:: six.example\n",
			4, nil, "bad.example two.example three.example six.example", "", "localhost below.bad.example good.example"},
		{"one with lines that lead somewhere", Hosts, "0.0.0.0 bad.example\n0.0.0.0 also.example\n10.0.0.1 intranet.example\nbad.example\n",
			2, []int{3, 4}, "bad.example also.example", "", "intranet.example"},
		{"one with a bad name among others", Hosts, "0.0.0.0 bad.example\n0.0.0.0 one.example no!name two.example\n",
			3, []int{2}, "bad.example one.example two.example", "", ""},
		{"a list", List, "\xef\xbb\xbfbad.example\r\n.deep.example\r\n*.below.example\r\n10.0.0.0/8\r\n\r\n# note\r\n2001:db8::1 # why\r\n",
			5, nil, "bad.example deep.example a.deep.example a.below.example", "10.1.2.3 2001:db8::1", "below.example a.bad.example"},
		{"a list of what is below domains", List, ".zip\n*.mov\n", 2, nil, "zip a.zip a.mov", "", "mov"},
		{"a list with a word in it", List, "intranet\na.example\n", 2, nil, "intranet a.example", "", ""},
		{"a list without an end", List, "a.example\nb.example", 2, nil, "a.example b.example", "", ""},
		{"a list with what a feed may not say", List, "a.example\nb.example\nc.example\nd.example\n/\nservice:shop\n0.0.0.0/0\nGET /x\n",
			4, []int{5, 6, 7, 8}, "a.example", "", "other.example"},
		{"names in any spelling", List, "B\u00fccher.example\nUPPER.example.\nupper.example\n", 3, nil, "xn--bcher-kva.example upper.example", "", ""},
		{"networks as Spamhaus writes them", CIDR, "; Spamhaus DROP List\n1.10.16.0/20 ; SBL256894\n2a06:e480::/29 ; SBL3\n# x\n192.0.2.7\n", 3, nil, "", "1.10.31.255 2a06:e480::1 192.0.2.7", "1.10.16.0.example"},
		{"networks with names", CIDR, "1.10.16.0/20\nbad.example\n1.2.3.0/24\n", 2, []int{2}, "", "1.2.3.4", "bad.example"},
		{"a line that is too long", List, "a.example\n" + strings.Repeat("x", 200_000) + "\nb.example\n", 2, []int{2}, "a.example b.example", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := parse(strings.NewReader(tt.text), tt.format, policy.FeedOptions{Name: "x"})
			if err != nil {
				t.Fatal(err)
			}
			var lines []int
			for _, b := range r.some {
				lines = append(lines, b.Line)
			}
			if r.feed.Entries() != tt.entries || fmt.Sprint(lines) != fmt.Sprint(tt.bad) || r.bad != len(tt.bad) {
				t.Errorf("%d entries, %d bad lines %+v, want %d, %v", r.feed.Entries(), r.bad, r.some, tt.entries, tt.bad)
			}
			for _, h := range strings.Fields(tt.hosts) {
				if !denied(t, r.feed, h, "") {
					t.Errorf("%s passes", h)
				}
			}
			for _, c := range strings.Fields(tt.clients) {
				if !denied(t, r.feed, "", c) {
					t.Errorf("the client %s passes", c)
				}
			}
			for _, h := range strings.Fields(tt.passes) {
				if denied(t, r.feed, h, "192.0.2.99") {
					t.Errorf("%s is denied", h)
				}
			}
		})
	}
}

func TestWhatIsNoListIsNotBelieved(t *testing.T) { // A18
	for name, text := range map[string]string{
		"nothing":              "",
		"comments alone":       "# moved to another place\n",
		"names of the machine": "127.0.0.1 localhost\n",
		"a page":               "<!DOCTYPE html>\n<html>\n</html>\n",
		"a page behind lines":  "\n\n  <html>\n",
		"an error in words":    "Service unavailable\nPlease try again later\n0.0.0.0 a.example\n",
		"a word":               "forbidden\n",
		"a short sentence":     "Forbidden.\n",
		"words":                "Service\nUnavailable\n",
		"a word and a reason":  "Forbidden\n\nYou may not read this.\n",
		"words as hosts":       "0.0.0.0 forbidden\n",
		"zeros":                strings.Repeat("\x00", 10_000),
	} {
		for _, format := range Formats {
			if r, err := parse(strings.NewReader(text), format, policy.FeedOptions{Name: "x"}); err == nil || r.feed != nil {
				t.Errorf("%s as %s: it is believed, with %d entries", name, format, r.good)
			}
		}
	}
}

// TestBadLinesAreToldInBounds holds that a feed of bad lines does not grow what is
// told of it.
func TestBadLinesAreToldInBounds(t *testing.T) {
	text := strings.Repeat("good.example\n", 2000) + strings.Repeat("b\u00e4d line with a "+strings.Repeat("long", 100)+"\n", 1000)
	r, err := parse(strings.NewReader(text), List, policy.FeedOptions{Name: "x"})
	size := 0
	for _, b := range r.some {
		size += len(b.Text)
	}
	if err != nil || r.bad != 1000 || len(r.some) != maxShown || r.some[0].Line != 2001 || size > maxShown*500 {
		t.Errorf("%v: %d bad lines, %d told, in %d bytes: %+v", err, r.bad, len(r.some), size, r.some[:1])
	}
}

// FuzzParse holds that any text ends, that what it makes has no more entries than
// words, and that it denies neither everybody nor what it does not name.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"0.0.0.0 bad.example\n", "a.example\n.b.example\r\n*.c.example\n", "1.2.3.0/24 ; x\n::/0\n", "\xef\xbb\xbf#\n", "<html>", "0.0.0.0/0\n::/0\n/\n", ".\n*.\n*\n..\n",
		"\r\n\r\r\n", "::ffff:0.0.0.0/96\n", "a.example:80\n", "http://a.example/\n", "0.0.0.0 *.x\n", "1.2.3.4/33", "\u3002com\n"} {
		for i := range Formats {
			f.Add(byte(i), []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, format byte, text []byte) {
		r, err := parse(bytes.NewReader(text), Formats[int(format)%len(Formats)], policy.FeedOptions{Name: "x"})
		if (err == nil) != (r.feed != nil) || len(r.some) > maxShown || r.bad < len(r.some) {
			t.Fatalf("%v, feed %v, %d of %d bad lines told", err, r.feed != nil, len(r.some), r.bad)
		}
		if err != nil {
			return
		}
		if n := r.feed.Entries(); n > len(bytes.Fields(text)) {
			t.Errorf("%d entries of %d words", n, len(bytes.Fields(text)))
		}
		lower := bytes.ToLower(text)
		if isASCII(text) && !bytes.Contains(lower, []byte("invalid")) && denied(t, r.feed, "unnamed.invalid", "") {
			t.Errorf("what is not named is denied")
		}
		if denied(t, r.feed, "", "203.0.113.9") && denied(t, r.feed, "", "100.0.0.1") && bytes.Count(text, []byte("/")) < 2 {
			t.Errorf("everybody is denied")
		}
	})
}

func isASCII(text []byte) bool {
	return !bytes.ContainsFunc(text, func(r rune) bool { return r >= 0x80 })
}

func BenchmarkParse(b *testing.B) {
	var text bytes.Buffer
	for i := range 100_000 {
		fmt.Fprintf(&text, "host-%d.bad%d.example\n", i, i%977)
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		if _, err := parse(bytes.NewReader(text.Bytes()), List, policy.FeedOptions{Name: "x"}); err != nil {
			b.Fatal(err)
		}
	}
}
