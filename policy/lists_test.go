package policy_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"lictor/policy"
)

func TestGatewayLists(t *testing.T) { // A4, A11, A17
	_, set := newStore(t, policy.Options{}, "blacklist/ops", `# what nobody may reach
10.1.0.0/16
2001:db8::1
192.0.2.7:443
evil.example
.wide.example
*.sub.example
bücher.example
ported.example:8000
/svc/admin
POST /svc/write
http://shop.example/secret
DELETE https://shop.example/items
http://shop.example:8000/eight
service:hidden
::ffff:10.9.0.0/112
`)
	expect{
		"GET http://x/svc from=10.1.2.3":        "blacklist",
		"GET http://x/svc from=::ffff:10.1.2.3": "blacklist",
		"GET http://x/svc from=10.2.0.1":        "",
		"GET http://x/svc from=10.9.0.9":        "blacklist",
		"GET http://x/svc from=2001:db8::1":     "blacklist",
		"GET http://x/svc from=192.0.2.7":       "", // an address with a port is never a client
		"GET http://10.1.2.3/svc":               "", // it speaks of the client
		"GET http://evil.example/svc":           "blacklist",
		"GET http://EVIL.example.:99/svc":       "blacklist",
		"GET http://a.evil.example/svc":         "",
		"GET http://wide.example/svc":           "blacklist",
		"GET http://a.b.wide.example/svc":       "blacklist",
		"GET http://awide.example/svc":          "",
		"GET http://sub.example/svc":            "",
		"GET http://a.b.sub.example/svc":        "blacklist",
		"GET http://xn--bcher-kva.example/svc":  "blacklist",
		"GET http://ported.example:8000/svc":    "blacklist",
		"GET http://ported.example/svc":         "blacklist", // the port in Host is the client's choice
		"GET http://x/svc/admin":                "blacklist",
		"GET http://x/svc/admin/deep?q":         "blacklist",
		"GET http://x/svc/administrator":        "",
		"GET http://x/svc/write":                "",
		"POST http://x/svc/write/a":             "blacklist",
		"GET http://shop.example/secret":        "blacklist",
		"GET http://shop.example:8443/secret/x": "blacklist", // the gateway's port is not the URL's
		"GET http://other.example/secret":       "",
		"DELETE http://shop.example/items/1":    "blacklist",
		"GET http://shop.example/items/1":       "",
		"GET http://shop.example:8000/eight":    "blacklist",
		"GET http://shop.example/eight":         "blacklist",
		"GET http://x/hidden/y":                 "blacklist",
		"GET http://x/y/hidden":                 "",
	}.check(t, set)

	v := decide(set, ask(t, "GET http://x/svc/admin"))
	want := policy.Rule{Key: "lictor/policy/blacklist/ops", Index: 1, Entry: "/svc/admin"}
	if v.Rule != want || v.Message != "Denied" || v.Status != 403 {
		t.Errorf("got %+v, want the rule %+v", v, want)
	}
}

func TestListModesAndDirections(t *testing.T) { // A10, A11, X13
	s, set := newStore(t, policy.Options{},
		"blacklist/in", `{"entries":["in.example"],"direction":"ingress","reason":"ours"}`,
		"blacklist/out", `{"entries":["out.example"],"direction":"egress"}`,
		"blacklist/try", `{"entries":["try.example","in.example"],"mode":"report"}`,
	)
	expect{
		"GET http://in.example/s":  "blacklist",
		"GET http://out.example/s": "",
		"GET http://try.example/s": "",
	}.check(t, set)
	v := decide(set, ask(t, "GET http://try.example/s"))
	if w := v.Would(); len(w) != 1 || w[0].Rule.Entry != "try.example" || w[0].Reason != policy.ReasonBlacklist {
		t.Errorf("report mode notes %+v", w)
	}
	if v := decide(set, ask(t, "GET http://in.example/s")); v.Rule.Note != "ours" {
		t.Errorf("the operator's reason is %q", v.Rule.Note)
	}
	if out(set, "GET", "in.example", 80, "/") != "" || out(set, "GET", "out.example", 80, "/") != "blacklist" {
		t.Error("directions are mixed up at the egress")
	}

	set, _ = s.put(t, "whitelist/bare", "10.0.0.0/8") // egress only
	expect{"GET http://x/s from=9.9.9.9": ""}.check(t, set)
	set, _ = s.put(t, "whitelist/gw", `{"entries":["127.0.0.1","/pub"],"direction":"ingress"}`)
	expect{
		"GET http://x/s":                      "",
		"GET http://x/s from=9.9.9.9":         "whitelist",
		"GET http://x/pub/a from=9.9.9.9":     "",
		"GET http://x/pub/..;/s from=9.9.9.9": "whitelist", // a grant wants every reading
		"GET http://in.example/pub":           "blacklist", // which wins
	}.check(t, set)
	set, _ = s.put(t, "whitelist/gw", `{"entries":["127.0.0.1"],"direction":"ingress","mode":"report"}`)
	v = decide(set, ask(t, "GET http://x/s from=9.9.9.9"))
	if w := v.Would(); !v.Allowed() || len(w) != 1 || w[0].Reason != policy.ReasonWhitelist {
		t.Errorf("a whitelist in report mode gives %+v", v)
	}
	if v = decide(set, ask(t, "GET http://x/s")); len(v.Would()) != 0 {
		t.Errorf("what is on it is reported: %+v", v.Would())
	}
	s.put(t, "whitelist/gw", "-")
	set, _ = s.put(t, "whitelist/gw", `{"entries":["no such entry"],"direction":"ingress"}`)
	expect{"GET http://x/s": "whitelist"}.check(t, set) // an entry nobody can read admits nobody
	set, _ = s.put(t, "whitelist/gw", "-", "blacklist/in", "-", "blacklist/try", "-")
	expect{"GET http://in.example/s": ""}.check(t, set)
}

// registry knows where services are.
type registry map[string][]string

func (r registry) ServicesAt(a netip.AddrPort) []string         { return r[a.String()] }
func (r registry) ServicesNamed(h string, port uint16) []string { return r[fmt.Sprint(h, ":", port)] }
func (r registry) AnyCase(service string) bool                  { return slices.Contains(r["any case"], service) }

var services = registry{"10.0.0.5:8080": {"billing"}, "billing.internal:80": {"billing"}, "10.0.0.6:8080": {"open"}, "open.internal:80": {"open"}, "any case": {"open"}}

// out asks the egress; a path of "" is a tunnel.
func out(set *policy.Set, method, host string, port uint16, path string, addrs ...string) policy.Reason {
	d := &policy.Destination{Method: method, Host: host, Port: port, Registry: services}
	if path != "" {
		d.Path = mustPath(path)
	}
	for _, a := range addrs {
		d.Addrs = append(d.Addrs, netip.MustParseAddr(a))
	}
	var v policy.Verdict
	if set.Blacklisted(d, &v, nil) || len(addrs) > 0 && !set.Whitelisted(d, &v, nil) {
		return v.Reason
	}
	if !v.Allowed() {
		return "denied without a reason"
	}
	return ""
}

func TestEgressLists(t *testing.T) { // A3, A4, A8, A12
	s, set := newStore(t, policy.Options{}, "blacklist/b", `["69.16.230.117", "2606:2800:220:1:248:1893:25c8:1946",
		"10.0.0.0/8:443", "[fd00::]/8:80", "evil.example:8080", "http://web.example/x", "https://tls.example/", "GET http://get.example/",
		"http://port.example:8080/", "service:billing", "/bare", ".wide.example"]`)
	tests := []struct {
		name, method, host string
		port               uint16
		path, addrs        string
		want               policy.Reason
	}{
		{"an address after DNS", "GET", "h", 80, "/", "69.16.230.117", "blacklist"},
		{"any of several addresses", "GET", "h", 80, "/", "1.1.1.1 2606:2800:220:1:248:1893:25c8:1946", "blacklist"},
		{"a mapped address", "GET", "h", 80, "/", "::ffff:69.16.230.117", "blacklist"},
		{"another address", "GET", "h", 80, "/", "69.16.230.118", ""},
		{"a CIDR with its port", "GET", "h", 443, "/", "10.9.9.9", "blacklist"},
		{"a CIDR with another port", "GET", "h", 80, "/", "10.9.9.9", ""},
		{"an IPv6 CIDR with its port", "GET", "h", 80, "/", "fd12::1", "blacklist"},
		{"a host with its port", "GET", "evil.example", 8080, "/", "", "blacklist"},
		{"a host with another port", "GET", "evil.example", 80, "/", "", ""},
		{"a URL by whole segments", "GET", "web.example", 80, "/x/y", "", "blacklist"},
		{"a URL's neighbour", "GET", "web.example", 80, "/xy", "", ""},
		{"a URL at another port", "GET", "web.example", 8080, "/x", "", ""},
		{"a URL by a trick", "GET", "web.example", 80, "/a/..%2Fx", "", "blacklist"},
		{"a tunnel hides the path", "CONNECT", "web.example", 80, "", "", ""},
		{"a tunnel to a URL without path", "CONNECT", "tls.example", 443, "", "", "blacklist"},
		{"a tunnel hides the method", "CONNECT", "get.example", 80, "", "", ""},
		{"a method with its URL", "GET", "get.example", 80, "/z", "", "blacklist"},
		{"another method", "POST", "get.example", 80, "/z", "", ""},
		{"a URL with its port", "GET", "port.example", 8080, "/", "", "blacklist"},
		{"a registered address", "GET", "h", 8080, "/", "10.0.0.5", "blacklist"},
		{"another port of it", "GET", "h", 8081, "/", "10.0.0.5", ""},
		{"a registered name", "GET", "billing.internal", 80, "/", "", "blacklist"},
		{"a bare path never speaks of the egress", "GET", "h", 80, "/bare", "", ""},
		{"the apex of a domain", "CONNECT", "wide.example", 22, "", "", "blacklist"},
		{"an address by a name's suffix", "GET", "1.2.3.4", 80, "/", "1.2.3.4", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := out(set, tt.method, tt.host, tt.port, tt.path, strings.Fields(tt.addrs)...); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	set, _ = s.put(t, "whitelist/w", "1.1.1.0/24\ngood.example\nservice:billing", "blacklist/b", "1.1.1.9")
	for _, tt := range []struct {
		host, addrs string
		want        policy.Reason
	}{
		{"h", "1.1.1.1", ""},
		{"h", "1.1.1.1 1.1.1.2", ""},
		{"h", "1.1.1.1 2.2.2.2", "whitelist"}, // every address
		{"good.example", "2.2.2.2", ""},
		{"good.example", "1.1.1.9", "blacklist"},
		{"h", "2.2.2.2", "whitelist"},
		{"billing.internal", "2.2.2.2", ""},
	} {
		if got := out(set, "GET", tt.host, 80, "/", strings.Fields(tt.addrs)...); got != tt.want {
			t.Errorf("whitelist: %s at %s: got %q, want %q", tt.host, tt.addrs, got, tt.want)
		}
	}
}

func TestCheckEntry(t *testing.T) { // A4
	for _, good := range []string{
		"1.2.3.4", "1.2.3.4:80", "10.1.2.3/8", "10.0.0.0/8:443", "::1", "[::1]", "[::1]:80", "fc00::/7", "[fc00::/7]:80", "[fc00::]/7:80",
		"host", "host:80", "a.b.example.", ".a.example", "*.a.example:8080", "bücher.example", "http://h", "https://h:8443/a%2Fb",
		"http://[::1]:80/", "GET http://h/x", "post /x", "/x", "/", "service:web-1", "_dmarc.example",
	} {
		if err := policy.CheckEntry(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", " ", "1.2.3", "127.1", "2130706433", "0x7f.0.0.1", "1.2.3.4:0", "1.2.3.4:99999", "1.2.3.4/33", "[::1", "[::1]80", "[::1]:", "::1]:80",
		"host:", "host:x", "a b", "*", "*.", "a.*.b", "**.x", "ftp://h", "http://", "http://u@h/", "http://h/?q", "http://h/#f", "http://h/%zz", "/%zz", "/a?b",
		"GET host", "GET POST http://h/", "G(T http://h/", "service:", "service:a/b", "a/b", "http://127.1/", "::ffff:1.2.3.4/90", "fe80::1%eth0",
	} {
		if err := policy.CheckEntry(bad); err == nil {
			t.Errorf("%q is taken for an entry", bad)
		}
	}
}

func TestBadValuesNeverOpen(t *testing.T) { // X6
	s, _ := newStore(t, policy.Options{}, "blacklist/a", "evil.example", "acls/1", `{"api":"svc","groups":["g"]}`)
	set, rejected := s.put(t, "blacklist/a", `{"entries":`, "acls/1", "{")
	if len(rejected) != 2 || !rejected[0].Kept || !rejected[1].Kept {
		t.Fatalf("rejected %+v", rejected)
	}
	expect{"GET http://evil.example/x": "blacklist", "GET http://x/svc": "no_credentials"}.check(t, set)
	if got := set.Rejected(); len(got) != 2 || got[0].Path != "lictor/policy/acls/1" || got[0].Problems[0].Line != 1 {
		t.Errorf("status lists %+v", got)
	}
	set, rejected = s.put(t, "blacklist/a", "# mended\nother.example\nno good\nthird.example", "acls/1", `{"api":"svc","groups":["g"]}`)
	if len(rejected) != 1 || !rejected[0].Partial || rejected[0].Problems[0].Line != 3 || rejected[0].Problems[0].Field != "entries[1]" {
		t.Errorf("a bad entry is reported as %+v", rejected)
	}
	expect{"GET http://third.example/x": "blacklist", "GET http://evil.example/x": ""}.check(t, set)

	set, rejected = s.put(t, "blacklist/new", `{`)
	if !rejected[0].Closes || out(set, "GET", "h", 80, "/") != policy.ReasonPolicyUnavailable {
		t.Error("an unreadable blacklist without a former value leaves the egress open")
	}
	expect{"GET http://x/y": "policy_unavailable"}.check(t, set) // which direction it had nobody knows
	if set, _ = s.put(t, "blacklist/new", "-"); out(set, "GET", "h", 80, "/") != "" || len(set.Rejected()) != 1 {
		t.Error("its deletion does not open the egress")
	}
	if set, _ = s.put(t, "blacklist/new", "{"); out(set, "GET", "h", 80, "/") == "" {
		t.Error("unreadable again")
	}
	if set, _ = s.put(t, "blacklist/new", "repaired.example"); out(set, "GET", "h", 80, "/") != "" {
		t.Error("its repair does not open the egress")
	}

	set, _ = s.put(t, "whitelist/w", `{"entries":7}`)
	if out(set, "GET", "h", 80, "/", "1.1.1.1") != "whitelist" {
		t.Error("an unreadable whitelist admits")
	}
	expect{"GET http://x/y": ""}.check(t, set)
	set, _ = s.put(t, "whitelist/w", `{"entries":7,"direction":"both"}`)
	expect{"GET http://x/y": "whitelist"}.check(t, set)
	set, _ = s.put(t, "whitelist/w", "-", "acls/2", `{"api":"shut","groups":7}`, "acls/3", `{"groups":["g"]}`)
	expect{"GET http://x/y": "policy_unavailable"}.check(t, set)
	set, _ = s.put(t, "acls/3", "-")
	expect{"GET http://x/y": "", "GET http://x/shut": "acl"}.check(t, set)

	// A filter that can not be read narrows to nothing, wherever it is named.
	set, _ = s.put(t, "filters/f", `{"methods":"GET"}`, "acls/4", `{"api":"narrow","filters":["f"]}`,
		"filters/g", `{"methods":["GET"]}`, "acls/5", `{"api":"lost","filters":["g","00000000-0000-0000-0000-000000000000"]}`)
	expect{"GET http://x/narrow": "acl", "GET http://x/lost": "acl"}.check(t, set)
}

func TestAnEgressBlacklistKnowsAServiceInAnyCase(t *testing.T) { // E7, A4
	for _, entry := range []string{"service:open", "service:OPEN", "service:Open"} {
		_, set := newStore(t, policy.Options{}, "blacklist/ops", `{"entries":["`+entry+`"],"direction":"egress"}`)
		if by, name := out(set, "", "x.example", 8080, "", "10.0.0.6"), out(set, "", "open.internal", 80, "", "192.0.2.1"); by != "blacklist" || name != "blacklist" {
			t.Errorf("%s: by its address %q, by its name %q", entry, by, name)
		}
	}
	_, set := newStore(t, policy.Options{}, "blacklist/ops", `{"entries":["service:Billing"],"direction":"egress"}`)
	if got := out(set, "", "x.example", 8080, "", "10.0.0.5"); got != "" {
		t.Errorf("a service whose registry minds: %q", got)
	}
}
