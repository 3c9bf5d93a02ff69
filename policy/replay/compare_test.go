package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	_ "lictor/policy/tokens" // reads keys
)

// policyOf is the policy of documents by kind/name.
func policyOf(t testing.TB, all map[string]string) *Policy {
	t.Helper()
	p, err := FromDocuments(documentsOf(all), nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const (
	headLine = `{"v":1,"kind":"head","bind_consumers":false,"prefix":"lictor/"}`
	begin    = `{"v":1,"time":"2026-03-04T05:06:07.000001Z","id":"9f1c","listener":"gateway","method":"GET","host":"","port":80,"client":"10.1.2.3"`
)

// shopper is a record of ann at the shop.
const shopper = begin + `,"path":"/shop/export","consumer":"ann","mark":"00000000","credential":"k","key_sum":"2d711642","by":"segment","api":"shop","service":"shop","key_names":["apikey"],"key":"apikey","ran":true,"verdict":"pass","policy":"1","status":200}`

var annsKey = map[string]string{
	"consumers/ann": `{"name": "ann", "id": "ann", "groups": ["staff"]}`, "credentials/" + keyName("x"): `{"consumer": "ann", "id": "k"}`,
}

// with is annsKey with further documents.
func with(more ...string) map[string]string {
	all := make(map[string]string)
	for k, text := range annsKey {
		all[k] = text
	}
	for i := 0; i < len(more); i += 2 {
		if all[more[i]] = more[i+1]; more[i+1] == "" {
			delete(all, more[i])
		}
	}
	return all
}

func TestWhatBecomesOfARecord(t *testing.T) { // R2
	edit := func(record string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(record) }
	anonymous := begin + `,"path":"/shop/export","by":"segment","api":"shop","service":"shop","key_names":["apikey"],"ran":true,"verdict":"pass","policy":"1","status":200}`
	denied := edit(shopper, `"verdict":"pass"`, `"verdict":"refuse","reason":"acl","rule":"lictor/policy/acls/shop","plugin":"acl"`, `,"ran":true`, "")
	const mw = `{"v":1,"kind":"head","prefix":"lictor/","middleware":[{"name":"canary","paths":["/shop"],"reads":["X-Beta"],"route":"new"},{"name":"shut","paths":["/shop/admin"],"block":true},{"name":"staff","consumers":["ann"],"block":true,"reads":["X-Off"]}]}`
	tests := []struct {
		name   string
		head   string
		next   map[string]string
		record string
		want   string // class, and the rule or why
	}{
		{"nothing stands in the way", headLine, with(), shopper, "same"},
		{"an ACL that has her", headLine, with("acls/shop", `{"api": "shop", "groups": ["staff"]}`), shopper, "same"},
		{"an ACL that has not", headLine, with("acls/shop", `{"api": "shop", "groups": ["boss"]}`), shopper, "closes acls/shop acl"},
		{"her key is gone", headLine, with("credentials/"+keyName("x"), "", "acls/shop", `{"api": "shop", "groups": ["staff"]}`), shopper, "closes acls/shop no_credentials"},
		{"her key ran out before", headLine, with("credentials/"+keyName("x"), `{"consumer": "ann", "id": "k", "not_after": "2026-03-04T05:06:07Z"}`, "acls/shop", `{"api": "shop", "groups": ["staff"]}`), shopper, "closes acls/shop no_credentials"},
		{"her key runs out after", headLine, with("credentials/"+keyName("x"), `{"consumer": "ann", "id": "k", "not_after": "2026-03-04T05:06:08Z"}`, "acls/shop", `{"api": "shop", "groups": ["staff"]}`), shopper, "same"},
		{"key-auth that finds her key", headLine, with("plugins/key", `{"id": "key", "name": "key-auth"}`), shopper, "same"},
		{"key-auth that looks elsewhere", headLine, with("plugins/key", `{"id": "key", "name": "key-auth", "config": {"key_names": ["x-key"]}}`), shopper, "unknown key-auth looks for a key in x-key, not recorded"},
		{"key-auth that looks elsewhere first", headLine, with("plugins/key", `{"id": "key", "name": "key-auth", "config": {"key_names": ["x-key", "apikey"]}}`), shopper, "unknown key-auth looks for a key in x-key, not recorded"},
		{"a blacklist", headLine, with("blacklist/b", `{"entries": ["/shop/export"], "direction": "ingress"}`), shopper, "closes blacklist/b /shop/export blacklist"},
		{"the ACL is gone", headLine, with(), denied, "opens acls/shop acl"},
		{"it is still refused", headLine, with("acls/shop", `{"api": "shop", "groups": ["boss"]}`), denied, "same"},
		{"nobody, where a key is demanded", headLine, with("plugins/key", `{"id": "key", "name": "key-auth"}`), anonymous, "closes plugins/key no_credentials"},
		{"a key of nobody, and keys that are new", headLine, with("acls/shop", `{"api": "shop", "groups": ["staff"]}`), edit(anonymous, `"key_names":["apikey"]`, `"key_names":["apikey"],"key":"apikey"`), "unknown a key that was nobody's then may be somebody's now"},
		{"a limit that was there", headLine, with("plugins/l", `{"id": "l", "name": "rate-limiting", "config": {"second": 1}}`), shopper, "unknown plugin rate-limiting: what it would say is not recorded"},
		{"a size, and no body", headLine, with("plugins/s", `{"id": "s", "name": "request-size-limiting", "config": {"max_body": "1KiB"}}`), shopper, "same"},
		{"a size, and a body", headLine, with("plugins/s", `{"id": "s", "name": "request-size-limiting", "config": {"max_body": "1KiB"}}`), edit(shopper, `"ran":true`, `"ran":true,"body":true`), "unknown plugin request-size-limiting: what it would say is not recorded"},
		{"an authority", headLine, with("plugins/f", `{"id": "f", "name": "forward-auth", "config": {"service": "auth"}}`), shopper, "unknown plugin forward-auth: what it would say is not recorded"},
		{"a token", headLine, with("plugins/j", `{"id": "j", "name": "jwt", "config": {"secrets": ["0123456789abcdef0123456789abcdef"], "algorithms": ["HS256"]}}`), shopper, "unknown plugin jwt: the token is not recorded"},
		{"a country that is not recorded", headLine, with("filters/f", `{"name": "f", "locations": ["DE"]}`, "acls/shop", `{"api": "shop", "groups": ["staff"], "filters": ["f"]}`), shopper, "unknown the country of the client is not recorded"},
		{"a country that is", headLine, with("filters/f", `{"name": "f", "locations": ["DE"]}`, "acls/shop", `{"api": "shop", "groups": ["staff"], "filters": ["f"]}`), edit(shopper, `"ran"`, `"country":"DE","ran"`), "same"},
		{"a service that claims the host", headLine, with(), edit(shopper, `"ran"`, `"claimed":["cart","*.x"],"ran"`, `"host":""`, `"host":"a.x"`), "same"},
		{"what a feed refused", headLine, with(), edit(denied, "lictor/policy/acls/shop", "feeds/ads", `"reason":"acl"`, `"reason":"blacklist"`, `"plugin":"acl"`, `"entry":"10.0.0.0/8"`), "same"},
		{"what a feed closed that was not read", headLine, with(), edit(denied, "lictor/policy/acls/shop", "feeds/ads", `"reason":"acl"`, `"reason":"policy_unavailable"`, `"plugin":"acl"`, `"entry":""`), "unknown a feed was not read yet"},
		{"its rules", headLine, with("acls/cart", `{"api": "cart", "groups": ["boss"]}`), edit(shopper, `"ran"`, `"claimed":["cart","*.x"],"ran"`, `"host":""`, `"host":"a.x"`), "closes acls/cart acl"},
		{"an address of a masked prefix that is refused as a whole", headLine, with("blacklist/b", `{"entries": ["10.1.0.0/16"], "direction": "ingress"}`), edit(shopper, "10.1.2.3", "10.1.2.0/24"), "closes blacklist/b 10.1.0.0/16 blacklist"},
		{"one that is refused in part", headLine, with("blacklist/b", `{"entries": ["10.1.2.9"], "direction": "ingress"}`), edit(shopper, "10.1.2.3", "10.1.2.0/24"), "unknown it depends on what is masked: the address"},
		{"one beside it", headLine, with("blacklist/b", `{"entries": ["10.1.3.9"], "direction": "ingress"}`), edit(shopper, "10.1.2.3", "10.1.2.0/24"), "same"},
		{"a path below one that is refused", headLine, with("blacklist/b", `{"entries": ["/shop"], "direction": "ingress"}`), edit(shopper, `"/shop/export"`, `"/shop/export","cut":"plain"`), "closes blacklist/b /shop blacklist"},
		{"a path that may be refused", headLine, with("blacklist/b", `{"entries": ["/shop/export/all"], "direction": "ingress"}`), edit(shopper, `"/shop/export"`, `"/shop/export","cut":"plain"`), "unknown it depends on what is masked: the path"},
		{"an odd one", headLine, with(), edit(shopper, `"/shop/export"`, `"/shop/export","cut":"odd"`), "unknown the path, and may be of too many kinds"},
		{"refused before the policy", headLine, with(), edit(denied, `"by":"segment",`, "", `"acl"`, `"loop"`), "same"},
		{"refused by nobody's policy", headLine, with(), edit(denied, `"plugin":"acl"`, `"plugin":""`, `"reason":"acl"`, `"reason":"unknown_service"`), "unknown it was refused as unknown_service, not by the policy"},
		{"refused later", headLine, with(), edit(shopper, `"status":200`, `"reason":"unreachable","status":503`), "same"},
		{"the client left", headLine, with(), edit(denied, `"reason":"acl"`, `"reason":"client_left"`), "unknown the client left before it was decided"},
		{"without a policy", headLine, with(), edit(denied, `"policy":"1"`, `"policy":""`, `"reason":"acl"`, `"reason":"policy_unavailable"`), "unknown no policy was in force"},
		{"no service any more", headLine, with("mappings/h.x", ""), edit(shopper, `"/shop/export"`, `"/"`), "closes no_service"},
		{"middleware that did nothing does nothing", mw, with(), shopper, "same"},
		{"middleware that blocks, behind an ACL that is gone", mw, with(), edit(denied, "/shop/export", "/shop/admin"), "same"},
		{"middleware whose header did not fit", mw, with(), denied, "opens acls/shop acl"},
		{"middleware whose header did", mw, with(), edit(denied, `"verdict"`, `"headers":["canary"],"verdict"`), "unknown middleware canary sends the request elsewhere"},
		{"middleware that blocks by a header that did", mw, with(), edit(denied, `"verdict"`, `"headers":["staff"],"verdict"`), "same"},
		{"middleware that reads what another API got", mw, with("apis/part", `{"name": "part", "service": "shop", "filters": ["f"]}`, "filters/f", `{"name": "f", "paths": ["/shop/export"]}`), denied, "unknown middleware canary reads X-Beta, not recorded"},
		{"a request that middleware blocked", mw, with("acls/shop", `{"api": "shop", "groups": ["boss"]}`), edit(shopper, `"verdict":"pass"`, `"verdict":"refuse","reason":"middleware"`), "same"},
		{"one that it sent to another service", mw, with("acls/new", `{"api": "new", "groups": ["boss"]}`), edit(shopper, `"ran":true`, `"ran":true,"matched":["canary"],"routed":["new"]`, `"service":"shop"`, `"service":"new"`), "closes acls/new acl"},
		{"no head", "", with(), denied, "unknown the log does not say which middleware there was"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			report := replayed(t, tt.head+"\n"+tt.record+"\n", &Options{Next: policyOf(t, tt.next)})
			got := "same"
			if len(report.Groups) > 0 {
				g := &report.Groups[0]
				got = strings.Join(strings.Fields(string(g.Class)+" "+strings.TrimPrefix(g.Rule, "policy/")+" "+g.Entry+" "+g.Why), " ")
			}
			if got != tt.want || report.Records != 1 || report.Left != (Left{}) {
				t.Errorf("got  %s\nwant %s\n%+v", got, tt.want, report)
			}
		})
	}
}

// replayed is the report of a log.
func replayed(t testing.TB, log string, o *Options) *Report {
	t.Helper()
	report, err := Run(context.Background(), strings.NewReader(log), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestOutboundRecords(t *testing.T) {
	const record = `{"v":1,"time":"2026-03-04T05:06:07Z","id":"1","listener":"egress","method":"GET","host":"a.example","port":80,"path":"/x","client":"10.1.2.0/24","addrs":["192.0.2.1"],"verdict":"pass","policy":"1","status":200}`
	refused := strings.NewReplacer(`"pass"`, `"refuse","reason":"whitelist"`).Replace(record)
	byName := strings.NewReplacer(`"pass"`, `"refuse","reason":"blacklist","rule":"lictor/policy/blacklist/b","entry":"a.example"`, `"addrs":["192.0.2.1"],`, "").Replace(record)
	tests := []struct {
		name, record, want string
		next               map[string]string
	}{
		{"nothing", record, "same", nil},
		{"a blacklisted name", record, "closes blacklist", map[string]string{"blacklist/b": "a.example"}},
		{"a blacklisted address", record, "closes blacklist", map[string]string{"blacklist/b": "192.0.2.0/24"}},
		{"an address behind that of NAT64", strings.Replace(record, "192.0.2.1", "64:ff9b::c000:201", 1), "closes blacklist", map[string]string{"blacklist/b": "192.0.2.0/24"}},
		{"a whitelist of the address behind it", strings.Replace(record, "192.0.2.1", "64:ff9b::c000:201", 1), "closes whitelist", map[string]string{"whitelist/w": "192.0.2.1"}},
		{"a whitelist without it", record, "closes whitelist", map[string]string{"whitelist/w": "b.example"}},
		{"a whitelist of others, that is gone", refused, "opens whitelist", nil},
		{"a name that was never looked up", byName, "unknown the addresses of the target are not recorded", nil},
		{"one that stays refused", byName, "same", map[string]string{"blacklist/b": ".example"}},
		{"a service by its name", record, "unknown where services are registered is not recorded", map[string]string{"blacklist/b": "service:shop"}},
	}
	for _, tt := range tests {
		report := replayed(t, headLine+"\n"+tt.record, &Options{Next: policyOf(t, tt.next)})
		got := "same"
		if len(report.Groups) > 0 {
			got = string(report.Groups[0].Class) + " " + report.Groups[0].Why
		}
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestRulesThatNoTrafficExercisedAreTold(t *testing.T) {
	former := policyOf(t, with("acls/shop", `{"api": "shop", "groups": ["staff"]}`, "acls/old", `{"api": "old", "groups": ["staff"]}`))
	next := policyOf(t, with("acls/shop", `{"api": "shop", "consumers": ["ann"]}`, "acls/pay", `{"api": "pay", "groups": ["staff"]}`, "blacklist/b", `{"entries": ["/a", "/b"], "direction": "ingress"}`))
	report := replayed(t, headLine+"\n"+strings.Repeat(shopper+"\n", 3), &Options{Next: next, Former: former})
	if want := []string{"acls/old", "acls/pay", "blacklist/b /a", "blacklist/b /b"}; !slices.Equal(report.Silent, want) || report.Changed != 5 || report.Same != 3 {
		t.Errorf("got %v of %d, want %v: %+v", report.Silent, report.Changed, want, report)
	}
}

func TestTornAndForeignLinesAreCounted(t *testing.T) {
	other := strings.Replace(shopper, `"v":1`, `"v":2`, 1)
	log := headLine + "\n" + shopper + "\n\n" + "nonsense\n" + other + "\n" + `{"v":2,"kind":"head"}` + "\n" + shopper + "\n" + shopper[:100]
	report := replayed(t, log, &Options{Next: policyOf(t, annsKey)})
	if report.Records != 2 || report.Left != (Left{Garbage: 2, Versions: 2}) {
		t.Errorf("got %+v", report)
	}
	since := time.Date(2026, 3, 4, 5, 6, 8, 0, time.UTC)
	if report = replayed(t, log, &Options{Next: policyOf(t, annsKey), Since: since}); report.Records != 0 {
		t.Errorf("older ones: %+v", report)
	}
}

func TestReportForPeople(t *testing.T) {
	next := policyOf(t, with("acls/shop", `{"api": "shop", "groups": ["boss"]}`, "acls/pay", `{"api": "pay", "groups": ["x"]}`))
	log := headLine + "\n" + strings.Repeat(shopper+"\n", 1234) + strings.Replace(shopper, `"/shop/export"`, `"/cart/x","cut":"odd"`, 1) + "\n"
	var out strings.Builder
	if err := replayed(t, log, &Options{Next: next}).Print(&out, func(s string) string { return s }); err != nil {
		t.Fatal(err)
	}
	want := `1,235 decisions, 2026-03-04 05:06:07 to 2026-03-04 05:06:07 UTC
CLOSES   1,234  acls/shop                                  consumer ann  GET /shop/export (req 9f1c)
SAME     0
UNKNOWN  1      the path, and may be of too many kinds     consumer ann  GET /cart/x (req 9f1c)
Not exercised: 1 of 2 changed rules
  acls/pay
`
	squeeze := func(s string) string {
		var all []string
		for line := range strings.Lines(s) {
			all = append(all, strings.Join(strings.Fields(line), " "))
		}
		return strings.Join(all, "\n")
	}
	if squeeze(out.String()) != squeeze(want) {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

// What was remembered of a line under one head must not be said of it under another.
func TestHeadCountsForWhatFollowsIt(t *testing.T) {
	denied := strings.NewReplacer(`"verdict":"pass"`, `"verdict":"refuse","reason":"acl","rule":"lictor/policy/acls/shop","plugin":"acl"`, `,"ran":true`, "").Replace(shopper)
	block := `{"v":1,"kind":"head","middleware":[{"name":"shut","block":true}]}`
	log := strings.Join([]string{headLine, denied, block, denied, headLine, denied}, "\n")
	if r := replayed(t, log, &Options{Next: policyOf(t, annsKey), Workers: 1}); r.Opens != 2 || r.Same != 1 {
		t.Errorf("got %+v", r)
	}
}

// BenchmarkReplay tries records that all differ in what decides, and some that do not.
func BenchmarkReplay(b *testing.B) {
	former := policyOf(b, with("acls/shop", `{"api": "shop", "groups": ["staff"]}`, "blacklist/b", `{"entries": ["/shop/admin"], "direction": "ingress"}`))
	next := policyOf(b, with("acls/shop", `{"api": "shop", "consumers": ["ann"]}`, "blacklist/b", `{"entries": ["/shop/admin", "/shop/never"], "direction": "ingress"}`))
	for _, paths := range []int{100, 1_000_000} {
		for _, o := range []*Options{{Next: next}, {Next: next, Former: former}} {
			b.Run(fmt.Sprintf("paths=%d/former=%v", paths, o.Former != nil), func(b *testing.B) {
				const records = 100_000
				var log strings.Builder
				log.WriteString(headLine + "\n")
				for i := range records {
					log.WriteString(strings.Replace(shopper, "/export", fmt.Sprintf("/item/%d", i%paths), 1) + "\n")
				}
				b.SetBytes(int64(log.Len()))
				for b.Loop() {
					if r := replayed(b, log.String(), o); r.Same != records {
						b.Fatalf("%+v", r)
					}
				}
				b.ReportMetric(float64(records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}
