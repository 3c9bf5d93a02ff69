package replay

import (
	"strings"
	"testing"
)

// said is what a replay says of one record: its class, the rule and why.
func said(t *testing.T, record string, o *Options) string {
	t.Helper()
	report := replayed(t, headLine+"\n"+record+"\n", o)
	if report.Records != 1 || report.Left != (Left{}) {
		t.Fatalf("%+v", report)
	}
	if len(report.Groups) == 0 {
		return "same"
	}
	g := &report.Groups[0]
	return strings.Join(strings.Fields(string(g.Class)+" "+strings.TrimPrefix(g.Rule, "policy/")+" "+g.Entry+" "+g.Why), " ")
}

// Who showed a key that was nobody's may be somebody by then: by a new key, or by an
// old one whose consumer is new, or another one. Of a key that nobody has in both
// policies it can be told.
func TestTheKeyOfSomebodyNewIsNotGuessed(t *testing.T) { // R2
	record := begin + `,"path":"/shop/export","by":"segment","api":"shop","service":"shop","key_names":["apikey"],"key":"apikey","verdict":"refuse","reason":"bad_credentials","rule":"lictor/policy/acls/shop","plugin":"acl","policy":"1","status":401}`
	const acl, maybe = `{"api": "shop", "groups": ["staff"]}`, "unknown a key that was nobody's then may be somebody's now"
	waiting := "credentials/" + keyName("b")
	former := policyOf(t, with("acls/shop", acl, waiting, `{"consumer": "bob", "id": "kb"}`))
	for name, tt := range map[string]struct {
		next []string
		want string
	}{
		"nobody is new":               {nil, "same"},
		"a new key of a new consumer": {[]string{"consumers/eve", `{"groups": ["staff"]}`, "credentials/" + keyName("e"), `{"consumer": "eve", "id": "ke"}`}, maybe},
		"a new key of a known one":    {[]string{"credentials/" + keyName("e"), `{"consumer": "ann", "id": "ke"}`}, maybe},
		"a key whose consumer is new": {[]string{"consumers/bob", `{"groups": ["staff"]}`}, maybe},
		"a key that runs out later":   {[]string{waiting, `{"consumer": "bob", "id": "kb", "not_after": "2099-01-01T00:00:00Z"}`}, maybe},
		"a new consumer without key":  {[]string{"consumers/eve", `{"groups": ["staff"]}`}, "same"},
	} {
		next := policyOf(t, with(append([]string{"acls/shop", acl, waiting, `{"consumer": "bob", "id": "kb"}`}, tt.next...)...))
		if got := said(t, record, &Options{Next: next, Former: former}); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}

// What a mask has cut off behind dot segments, or slashes that count for nothing, may
// lead out of what is left: it is not taken for something below it.
func TestACutPathWithDotSegmentsSaysNothing(t *testing.T) { // R1, R2
	next := policyOf(t, with("blacklist/b", `{"entries": ["/shop"], "direction": "ingress"}`))
	for path, want := range map[string]string{
		"/shop/export":      "closes blacklist/b /shop blacklist",
		"/shop/x/..":        "unknown the path, and may be of too many kinds",
		"/shop/.":           "closes blacklist/b /shop blacklist", // what follows is below /shop
		"/x/../shop/export": "unknown the path, and may be of too many kinds",
		"/./shop":           "unknown the path, and may be of too many kinds",
		"//shop":            "unknown the path, and may be of too many kinds",
		"/shop/..":          "unknown the path, and may be of too many kinds",
		"/":                 "unknown the path, and may be of too many kinds",
	} {
		if got := said(t, strings.Replace(shopper, `"path":"/shop/export"`, `"path":"`+path+`","cut":"plain"`, 1), &Options{Next: next}); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

// A name that a whitelist does not admit is refused before it is looked up, so that no
// address of it is recorded, and none is needed to say that it stays so, or comes.
func TestANameOfTheEgressIsRefusedBeforeItIsLookedUp(t *testing.T) { // R2
	const passed = `{"v":1,"time":"2026-03-04T05:06:07Z","id":"1","listener":"egress","method":"GET","host":"a.example","port":80,"path":"/x","client":"10.1.2.3","verdict":"pass","policy":"1","status":200}`
	refused := strings.Replace(passed, `"verdict":"pass"`, `"verdict":"refuse","reason":"whitelist"`, 1)
	for _, tt := range []struct {
		name, record, list, want string
	}{
		{"it stays refused", refused, "b.example", "same"},
		{"it is admitted", refused, "a.example", "unknown the addresses of the target are not recorded"},
		{"an address may admit it", refused, "b.example\n192.0.2.0/24", "unknown the addresses of the target are not recorded"},
		{"a name that passed", passed, "b.example", "closes whitelist"},
	} {
		if got := said(t, tt.record, &Options{Next: policyOf(t, map[string]string{"whitelist/w": tt.list})}); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}
