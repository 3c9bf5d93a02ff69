package replay

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"lictor/internal/ring"
	"lictor/policy"
	"lictor/proxy/answer"
)

// written is what the decision log writes of decisions.
func written(t testing.TB, all ...*answer.Decided) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	log, err := answer.NewDecisionLog(path, ring.MinSize, answer.DecisionSettings{Sample: 1, Refused: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		log.Write(d, 0.5)
	}
	if err := log.Flush(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// full is a decision with all that a record can hold, in bytes that need escapes.
func full() *answer.Decided {
	return &answer.Decided{
		Line: &answer.Line{
			Began: time.Date(2026, 3, 4, 5, 6, 7, 89_000, time.UTC), ID: "0123abcd", Client: netip.MustParseAddr("10.1.2.3"), Method: "GET",
			Path: "/a\xff\xc3\xbf\"\\\x01/\u0085ä", Status: 403, Reason: "acl", Credential: "k1",
			Ruling: answer.Ruling{Policy: "3fa981c2", Plugin: "acl", Rule: policy.Rule{Key: "lictor/policy/acls/shop", Entry: "e\n"}},
		},
		Host: "shop.example.org", Port: 443, Names: []string{"ci.example.org", "\"x\""}, Body: true, Country: "DE", KnowsCountry: true,
		Verdict: &policy.Verdict{Credential: "k1", Rests: policy.Rests{KeyNames: []string{"x-key", "apikey"}, Key: "apikey", KeySum: 0xabcdef01}}, Preflight: true,
		Route: &policy.Route{By: policy.ByRegistration, API: "shop", Service: "shop", Claim: "*.x"}, Alias: "*.x", Claimed: [2]string{"a", "b"},
		Identity: &policy.Identity{ID: "c1", Mark: "0011aabb"}, Headers: []string{"h"}, Ran: true, Matched: []string{"m"}, Routed: []string{"r"},
		Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
	}
}

func TestRecordIsWhatWasWritten(t *testing.T) { // R2
	d := full()
	lines := written(t, d)
	var r Record
	if err := Parse(lines[0], &r); err != nil {
		t.Fatal(err, lines[0])
	}
	want := Record{
		Version: 1, Time: d.Line.Began, ID: "0123abcd", Listener: "gateway", Sample: 0.5, Method: "GET", Host: d.Host, Port: 443, Path: d.Line.Path, Client: "10.1.2.3",
		Country: "DE", KnowsCountry: true, Consumer: "c1", Mark: "0011aabb", Credential: "k1", KeySum: "abcdef01", Names: d.Names, By: "registration", API: "shop", Service: "shop",
		Claim: "*.x", Alias: "*.x", Claimed: []string{"a", "b"}, KeyNames: []string{"x-key", "apikey"}, Key: "apikey", Body: true, Preflight: true, Headers: []string{"h"},
		Ran: true, Matched: []string{"m"}, Routed: []string{"r"}, Addrs: []string{"192.0.2.1"}, Verdict: "refuse", Reason: "acl", Rule: "lictor/policy/acls/shop",
		Entry: "e\n", Plugin: "acl", Policy: "3fa981c2", Status: 403,
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got  %+v\nwant %+v", r, want)
	}
	const spaced = `{ "v" : 1, "new": {"a": [1, {"b": null}, "c"]}, "time": "2026-03-04T05:06:07Z", "listener": "egress", "verdict": "pass", "plugins": {"jwt": "0000000f"} }`
	if err := Parse(spaced, &r); err != nil || r.Listener != "egress" || len(r.Names) != 0 || len(r.Plugins) != 1 || r.Plugins[0] != (Sum{"jwt", 15}) {
		t.Errorf("other JSON: %v %+v", err, r)
	}
}

func TestWhatIsNoRecordIsAnError(t *testing.T) {
	line := written(t, full())[0]
	var r Record
	for i := range line {
		if err := Parse(line[:i], &r); !errors.Is(err, ErrGarbage) {
			t.Fatalf("torn at %d: %v", i, err)
		}
	}
	for text, want := range map[string]error{
		"": ErrGarbage, "null": ErrGarbage, "{}": ErrGarbage, "[]": ErrGarbage, line + "x": ErrGarbage, `{"time": "2026-03-04T05:06:07.000089Z", "request_id": "0123abcd"}`: ErrGarbage,
		strings.Replace(line, `"v":1`, `"v":2`, 1): ErrVersion, strings.Replace(line, `"v":1`, `"v":-1`, 1): ErrGarbage, strings.Replace(line, "2026-03", "2026-3x", 1): ErrGarbage,
		`{"v":1,"x":` + strings.Repeat("[", 1000): ErrGarbage,
	} {
		if err := Parse(text, &r); !errors.Is(err, want) {
			t.Errorf("%.80s: got %v, want %v", text, err, want)
		}
	}
}

// FuzzParse wants no panic, and of what is JSON the same as encoding/json reads.
func FuzzParse(f *testing.F) {
	for _, line := range written(f, full()) {
		f.Add(line)
	}
	f.Add(`{"v":1,"time":"2026-03-04T05:06:07Z","listener":"egress","verdict":"pass","port":80,"x":{"y":[null,true,-1.5e3]}}`)
	f.Fuzz(func(t *testing.T, line string) {
		var r Record
		if Parse(line, &r) != nil {
			return
		}
		var std struct {
			Port   int
			Method string
			Names  []string
		}
		if !json.Valid([]byte(line)) || strings.Contains(line, `\`) || json.Unmarshal([]byte(line), &std) != nil {
			return // it is lenient with white space and numbers; escapes are its own
		}
		if strings.Count(line, `"port"`) == 1 && strings.Count(line, `"method"`) == 1 && !strings.ContainsRune(line, 0xfffd) && (std.Port != r.Port || std.Method != r.Method) {
			t.Fatalf("got %d %q, want %d %q: %s", r.Port, r.Method, std.Port, std.Method, line)
		}
	})
}
