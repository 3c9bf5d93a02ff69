package replay

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lictor/internal/ring"
	"lictor/internal/uri"
	"lictor/policy"
	"lictor/proxy/answer"
)

// fields is a header.
type fields map[string]string

func (f fields) Field(name string) (string, int) {
	for n, v := range f {
		if strings.EqualFold(n, name) {
			return v, 1
		}
	}
	return "", 0
}

// places knows where addresses are: the odd ones are in Germany.
type places struct{}

func (places) Country(a netip.Addr) string {
	if b := a.AsSlice(); b[len(b)-1]%2 == 1 {
		return "DE"
	}
	return "FR"
}

// noClaims is a registry in which no service claims a host.
type noClaims struct{}

func (noClaims) ClaimOf(string) (service, claim string) { return "", "" }

// dice draws policies and requests.
type dice struct{ *rand.Rand }

func (d dice) of(list ...string) string { return list[d.IntN(len(list))] }
func (d dice) seldom() bool             { return d.IntN(4) == 0 }
func (d dice) some(list ...string) string { // as the inside of a list of JSON
	var all []string
	for _, one := range list {
		if d.IntN(2) == 0 {
			all = append(all, one)
		}
	}
	if len(all) == 0 {
		all = list[:1]
	}
	text, _ := json.Marshal(all)
	return string(text)
}

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func keyName(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// object draws a document of a kind.
func (d dice) object(i int) (key, text string) {
	prefixes := []string{"10.1.2.0/24", "10.1.2.128/25", "10.1.2.7", "10.1.0.0/16", "2001:db8::/33", "2001:db8::7"}
	paths := []string{"/shop", "/shop/admin", "/shop/admin/x", "/cart/a", "/"}
	switch kind := d.of("consumers", "credentials", "credentials", "acls", "acls", "blacklist", "whitelist", "filters", "plugins", "plugins", "plugin-mappings", "apis", "mappings"); kind {
	case "consumers":
		name := d.of("ann", "bob", "cid")
		return "consumers/" + name, fmt.Sprintf(`{"name": %q, "id": "id-%s", "groups": %s, "custom_id": %q}`, name, name, d.some("staff", "guests"), d.of("", name+".example"))
	case "credentials":
		k := d.of("k0", "k1", "k2", "k3")
		id, until := d.of("", "id-of-"+k), d.of("", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z")
		text := fmt.Sprintf(`{"consumer": %q`, d.of("ann", "bob", "id-cid"))
		if id != "" {
			text += fmt.Sprintf(`, "id": %q`, id)
		}
		if until != "" {
			text += fmt.Sprintf(`, "not_after": %q`, until)
		}
		return "credentials/" + keyName(k), text + "}"
	case "acls":
		text := fmt.Sprintf(`{"api": %q, "groups": %s`, d.of("shop", "cart", "part"), d.some("staff", "guests"))
		if d.seldom() {
			text += fmt.Sprintf(`, "consumers": %s`, d.some("ann", "bob"))
		}
		if d.seldom() {
			text += `, "filters": ["` + d.of("f0", "f1") + `"]`
		}
		if d.seldom() {
			text += `, "mode": "report"`
		}
		return fmt.Sprintf("acls/a%d", i%4), text + "}"
	case "blacklist":
		return fmt.Sprintf("blacklist/b%d", i%3), fmt.Sprintf(`{"entries": [%q, %q], "direction": "ingress"}`, d.of(paths[1:]...), d.of(append(prefixes, "evil.example", "service:cart", "DELETE /shop")...))
	case "whitelist":
		return "whitelist/w", fmt.Sprintf(`{"entries": [%q, %q, "10.0.0.0/8"], "direction": "ingress", "mode": %q}`, d.of(paths...), d.of(prefixes...), d.of("enforce", "report"))
	case "filters":
		text := fmt.Sprintf(`{"name": "f%d"`, i%2)
		switch d.IntN(5) {
		case 0:
			text += fmt.Sprintf(`, "ips": [%q]`, d.of(prefixes...))
		case 1:
			text += fmt.Sprintf(`, "paths": [%q]`, d.of(paths...))
		case 2:
			text += `, "locations": ["DE"]`
		case 3:
			text += fmt.Sprintf(`, "methods": %s`, d.some("GET", "POST"))
		case 4:
			text += `, "hosts": ["shop.example"]`
		}
		return fmt.Sprintf("filters/f%d", i%2), text + "}"
	case "plugins":
		switch d.IntN(5) {
		case 0, 1:
			return "plugins/key", fmt.Sprintf(`{"id": "key", "name": "key-auth", "config": {"key_names": %s}}`, d.of(`["apikey"]`, `["x-key"]`, `["x-key", "apikey"]`, `["apikey", "x-key"]`))
		case 2:
			return "plugins/size", fmt.Sprintf(`{"id": "size", "name": "request-size-limiting", "config": {"max_body": %q}}`, d.of("1KiB", "1MiB"))
		case 3:
			return "plugins/off", `{"id": "off", "name": "request-termination", "enabled": ` + d.of("true", "false") + `}`
		default:
			return "plugins/cors", `{"id": "cors", "name": "cors", "config": {"origins": ["https://a.example"]}}`
		}
	case "plugin-mappings":
		text := fmt.Sprintf(`{"api": %q, "plugins": [%q]`, d.of("shop", "cart", "part", "other"), d.of("key", "off", "size"))
		if d.seldom() {
			text += `, "filters": ["f0"]`
		}
		if d.seldom() {
			text += fmt.Sprintf(`, "groups": %s`, d.some("staff", "guests"))
		}
		return fmt.Sprintf("plugin-mappings/m%d", i%3), text + "}"
	case "apis":
		return "apis/part", fmt.Sprintf(`{"name": "part", "filters": [%q], "service": "shop"}`, d.of("f0", "f1"))
	}
	return "mappings/shop.example", `{"domain": "shop.example", "tenant": "t", "backends": ["http://127.0.0.1:1"]}`
}

// pair draws a policy, and one that is a few changes away from it.
func (d dice) pair() (before, after map[string]string) {
	before = make(map[string]string)
	for i := range 3 + d.IntN(14) {
		k, text := d.object(i)
		before[k] = text
	}
	after = make(map[string]string)
	for k, text := range before {
		if d.IntN(6) > 0 {
			after[k] = text
		}
	}
	for i := range 1 + d.IntN(3) {
		k, text := d.object(i)
		after[k] = text
	}
	return before, after
}

func documentsOf(all map[string]string) (docs []Document) {
	for k, text := range all {
		if key, ok := policy.ParseKey("policy/" + k); ok {
			docs = append(docs, Document{Key: key, Value: []byte(text)})
		}
	}
	return docs
}

// asked is a request with all that the record of it leaves out.
type asked struct {
	method, host, path, key, keyField string
	inQuery                           bool
	client                            netip.Addr
	names                             []string
	length                            int64
	preflight                         bool
}

func (d dice) request() asked {
	a := asked{
		method: d.of("GET", "GET", "GET", "POST", "DELETE", "OPTIONS"), host: d.of("", "", "shop.example", "evil.example"),
		path: d.of("/shop/", "/shop/admin/", "/shop/b/", "/cart/a/", "/cart/c/", "/other/", "/") + d.of("", "x", "y/z", "admin", "%61dmin", "..%2fadmin", "a;b/c", "../shop/admin"),
		key:  d.of("", "", "k0", "k1", "k2", "k3", "nobodys"), keyField: d.of("apikey", "x-key"), inQuery: d.seldom(), preflight: d.seldom(),
		client: netip.MustParseAddr(d.of("10.1.2.3", "10.1.2.7", "10.1.2.8", "10.1.2.200", "10.1.3.4", "192.0.2.1", "2001:db8::7", "2001:db8:8000::1")),
	}
	if d.seldom() {
		a.names = []string{d.of("ann.example", "bob.example", "eve.example")}
	}
	if a.method == "POST" {
		a.length = int64(d.IntN(3)) << 12
	}
	return a
}

// decided is what a set makes of a request.
type decided struct {
	passed bool
	path   uri.Path
	route  policy.Route
	v      policy.Verdict
}

func (a *asked) decide(t *testing.T, set *policy.Set, at time.Time) *decided {
	t.Helper()
	header := fields{}
	target := a.path
	if a.key != "" && a.inQuery {
		target += "?" + a.keyField + "=" + a.key
	} else if a.key != "" {
		header[a.keyField] = a.key
	}
	if a.preflight {
		header["Origin"], header["Access-Control-Request-Method"] = "https://a.example", "PUT"
	}
	path, _, err := uri.ParsePath(target, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &decided{path: path}
	q := &policy.Request{Method: a.method, Host: a.host, Port: 80, Path: &d.path, Client: a.client, Names: a.names, Fields: header, Length: a.length,
		Locator: places{}, Hosts: noClaims{}, Now: at}
	d.route = set.Route(q)
	if d.route.By == policy.ByNothing {
		return d
	}
	if d.route.By == policy.BySegment {
		set.Narrow(q, &d.route)
	}
	set.Decide(q, &d.route, &d.v, nil)
	set.LookForKey(q, &d.route, &d.v)
	d.passed = d.v.Allowed() || d.v.Action == policy.Answer
	return d
}

// record hands the decision to a log, as the gateway does.
func (a *asked) record(log *answer.DecisionLog, set *policy.Set, d *decided, at time.Time) {
	l := &answer.Line{Began: at, ID: "1", Client: a.client, Method: a.method, Path: d.path.Received, Status: 200, Ruling: answer.RulingOf(set, &d.v)}
	l.Credential = d.v.Credential
	if l.Reason = answer.Reason(d.v.Reason); d.route.By == policy.ByNothing {
		l.Reason = "no_service"
	}
	share, _ := log.Wants(false)
	log.Write(&answer.Decided{
		Line: l, Host: a.host, Port: 80, Names: a.names, Body: a.length > 0, Clean: true, Country: places{}.Country(a.client), KnowsCountry: true,
		Passed: d.v.Allowed(), Answered: d.v.Action == policy.Answer, Verdict: &d.v, Route: &d.route, Identity: d.v.Identity,
		Preflight: a.method == "OPTIONS" && a.preflight, Ran: d.v.Allowed(),
	}, share)
}

// A replay may say that it cannot tell, but what it says is so: policies and requests
// are drawn, decided on with all that they hold, recorded, masked or not, and replayed
// with and without the former policy (R2).
func TestReplayIsRightOrSaysThatItCannotTell(t *testing.T) {
	pairs := 150
	if raced {
		pairs = 60
	}
	told, all := map[Class]int{}, map[Class]int{}
	for seed := range pairs {
		d := dice{rand.New(rand.NewPCG(uint64(seed), 7))} //nolint:gosec // a test is to be the same each time
		before, after := d.pair()
		old, err := FromDocuments(documentsOf(before), nil)
		if err != nil {
			t.Fatal(err, before)
		}
		next, err := FromDocuments(documentsOf(after), nil)
		if err != nil {
			t.Fatal(err, after)
		}
		settings := answer.DecisionSettings{Sample: 1, Refused: 1}
		if seed%3 == 0 {
			settings.Mask = answer.Mask{Client4: 24, Client6: 32, Segments: 1 + seed%2}
		}
		path := filepath.Join(t.TempDir(), "log")
		log, err := answer.NewDecisionLog(path, ring.MinSize, settings, nil)
		if err != nil {
			t.Fatal(err)
		}
		log.Update(ring.MinSize, settings, answer.DecisionHead{}.Line())
		requests := make([]asked, 100)
		truth := make([]Class, len(requests))
		for i := range requests {
			a := &requests[i]
			*a = d.request()
			was, is := a.decide(t, old.sets[0], now), a.decide(t, next.sets[0], now)
			truth[i] = Same
			switch {
			case was.passed && !is.passed:
				truth[i] = Closes
			case !was.passed && is.passed:
				truth[i] = Opens
			}
			a.record(log, old.sets[0], was, now)
		}
		if err := log.Flush(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		head, err := ParseHead([]byte(lines[0]))
		if err != nil || len(lines) != len(requests)+1 {
			t.Fatal(err, len(lines))
		}
		for _, former := range []*Policy{nil, old} {
			c := newComparer(next, former)
			for i, line := range lines[1:] {
				var r Record
				if err := Parse(line, &r); err != nil {
					t.Fatal(err, line)
				}
				got := c.compare(&r, head)
				if all[truth[i]]++; got.class == truth[i] {
					told[truth[i]]++
				}
				if got.class != truth[i] && got.class != Unknown {
					t.Fatalf("seed %d, former %v: got %v by %+v %s, truth %v\n%s\n%+v\nbefore %v\nafter %v", seed, former != nil, got.class, got.rule, got.why, truth[i], line, requests[i], before, after)
				}
			}
		}
	}
	for c, least := range map[Class]int{Same: 60, Closes: 30, Opens: 25} {
		// A few pairs may differ by what can hardly be told; a share of many hardly varies.
		if share := 100 * told[c] / max(1, all[c]); all[c] >= 500 && share < least {
			t.Errorf("of %d %v only %d %% were told, want %d", all[c], c, share, least)
		}
		t.Logf("%v: %d of %d told", c, told[c], all[c])
	}
}
