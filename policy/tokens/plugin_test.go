package tokens_test

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"lictor/policy"
)

func es() map[string]any { return map[string]any{"keys": []any{publicPEM("p256")}} }

// with is a configuration with more settings.
func with(config map[string]any, more map[string]any) map[string]any {
	for name, v := range more {
		config[name] = v
	}
	return config
}

func TestWhereATokenMayBe(t *testing.T) {
	good, other := token(nil), token(map[string]any{"jti": "2"})
	everywhere := map[string]any{"header_names": []any{"Authorization", "X-Token"}, "cookie_names": []any{"session", "sid"}, "uri_param_names": []any{"jwt", "t"}}
	for _, tt := range []struct {
		name   string
		config map[string]any
		header header
		target string
		want   policy.Reason
	}{
		{"in Authorization", nil, bearing(good), "/", ""},
		{"behind the word in another case", nil, header{"authorization": {"bEARER  " + good + " "}}, "/", ""},
		{"without the word", nil, header{"Authorization": {good}}, "/", policy.ReasonNoCredentials},
		{"another scheme", nil, header{"Authorization": {"Basic YTpi"}}, "/", policy.ReasonNoCredentials},
		{"the word alone", nil, header{"Authorization": {"Bearer"}}, "/", policy.ReasonNoCredentials},
		{"the word and blanks", nil, header{"Authorization": {"Bearer   "}}, "/", policy.ReasonNoCredentials},
		{"no header", nil, header{}, "/", policy.ReasonNoCredentials},
		{"two in one field", nil, header{"Authorization": {"Bearer " + good + ", Bearer " + good}}, "/", policy.ReasonBadCredentials},
		{"a field twice", nil, header{"Authorization": {"Bearer " + good, "Bearer " + good}}, "/", policy.ReasonBadCredentials},
		{"a field twice, of which the first is another", nil, header{"Authorization": {"Basic YTpi", "Bearer " + good}}, "/", policy.ReasonBadCredentials},
		{"in an argument that is not named", nil, header{}, "/?jwt=" + good, policy.ReasonNoCredentials},
		{"in a cookie that is not named", nil, header{"Cookie": {"session=" + good}}, "/", policy.ReasonNoCredentials},
		{"in another header, bare", everywhere, header{"X-Token": {good}}, "/", ""},
		{"in another header, behind the word", everywhere, header{"X-Token": {"Bearer " + good}}, "/", ""},
		{"in a cookie", everywhere, header{"Cookie": {"a=b; session=" + good + "; c=d"}}, "/", ""},
		{"in a cookie of another case", everywhere, header{"Cookie": {"Session=" + good}}, "/", policy.ReasonNoCredentials},
		{"in an argument", everywhere, header{}, "/?a=b&jwt=" + good, ""},
		{"in an argument with escapes", everywhere, header{}, "/?jwt=" + strings.Replace(good, ".", "%2E", 1), ""},
		{"an empty argument beside a header", everywhere, bearing(good), "/?jwt=", ""},
		{"an empty cookie beside a header", everywhere, header{"Authorization": {"Bearer " + good}, "Cookie": {"session="}}, "/", ""},
		{"another scheme beside a cookie", everywhere, header{"Authorization": {"Basic YTpi"}, "Cookie": {"session=" + good}}, "/", ""},
		{"in header and cookie", everywhere, header{"Authorization": {"Bearer " + good}, "Cookie": {"session=" + good}}, "/", policy.ReasonBadCredentials},
		{"in header and argument", everywhere, bearing(good), "/?t=" + other, policy.ReasonBadCredentials},
		{"in two headers", everywhere, header{"Authorization": {"Bearer " + good}, "X-Token": {other}}, "/", policy.ReasonBadCredentials},
		{"in two cookies", everywhere, header{"Cookie": {"session=" + good + "; sid=" + other}}, "/", policy.ReasonBadCredentials},
		{"in a field behind a tab, and in a cookie", everywhere, header{"Authorization": {"Bearer\t" + other}, "Cookie": {"session=" + good}}, "/", policy.ReasonBadCredentials},
		{"in one cookie twice", everywhere, header{"Cookie": {"session=" + good + "; session=" + other}}, "/", policy.ReasonBadCredentials},
		{"in one of two fields with cookies", everywhere, header{"Cookie": {"a=b", "session=" + good}}, "/", policy.ReasonBadCredentials},
		{"in one argument twice", everywhere, header{}, "/?jwt=" + good + "&jwt=" + good, policy.ReasonBadCredentials},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, with(es(), tt.config))
			if v, note := b.decide(b.request(tt.header, tt.target)); v.Reason != tt.want {
				t.Errorf("got %q (%s), want %q", v.Reason, note, tt.want)
			}
		})
	}
}

func TestNoTokenIsAskedForOne(t *testing.T) {
	b := newBed(t, es())
	v, note := b.decide(b.request(header{}, "/"))
	if v.Status != 401 || v.Reason != policy.ReasonNoCredentials || v.Challenge != `Bearer realm="lictor"` || !strings.Contains(note, "no token was sent") {
		t.Errorf("%+v: %s", v, note)
	}
}

func acl(groups ...string) policy.Change {
	return policy.Change{Key: policy.Key{Kind: policy.KindACLs, Name: "a"}, Index: 1, Object: &policy.ACL{ID: "a", API: "svc", Groups: groups}}
}

func TestWhoATokenIs(t *testing.T) {
	sub := map[string]any{"consumer_claim": "sub"}
	optional := map[string]any{"consumer_claim": "sub", "consumer_optional": true}
	groups := map[string]any{"consumer_claim": "sub", "consumer_optional": true, "groups_claim": "realm_access.roles"}
	roles := func(list ...any) map[string]any { return map[string]any{"realm_access": map[string]any{"roles": list}} }
	named := func(s string) map[string]any { return map[string]any{"sub": s} }
	for _, tt := range []struct {
		name   string
		config map[string]any
		claims map[string]any
		want   string // name and groups of the identity; "-" nobody, "" refused
		acl    string // a group that is let in, "" if there is no ACL
		reason policy.Reason
	}{
		{"a consumer by name", sub, nil, "ann staff", "", ""},
		{"a consumer by custom_id", sub, named("b-17"), "bob ", "", ""},
		{"nobody that there is", sub, named("eve"), "", "", policy.ReasonBadCredentials},
		{"nobody that there is, which is optional", optional, named("eve"), "-", "", ""},
		{"no claim, which is optional", optional, map[string]any{"sub": nil}, "-", "", ""},
		{"a plugin that asks for no consumer", nil, nil, "-", "", ""},
		{"a consumer's own groups open an ACL", sub, nil, "ann staff", "staff", ""},
		{"a consumer without them is refused", sub, named("b-17"), "", "staff", policy.ReasonACL},
		{"the token's groups open it, too", groups, with(named("b-17"), roles("staff", "eng")), "bob staff, eng", "staff", ""},
		{"they are added to the consumer's", groups, roles("staff", "eng"), "ann staff, eng", "eng", ""},
		{"and to nobody's", groups, with(named("eve"), roles("staff")), "-", "staff", ""},
		{"who has none is refused, not asked who it is", groups, named("eve"), "", "staff", policy.ReasonACL},
		{"groups as words", with(map[string]any{}, map[string]any{"groups_claim": "scope"}), map[string]any{"scope": "read  staff"}, "-", "staff", ""},
		{"a group with a comma, which would be two to a backend", groups, roles("a, staff"), "", "", policy.ReasonBadCredentials},
		{"a group with a line break", groups, roles("a\r\nX: y"), "", "", policy.ReasonBadCredentials},
		{"an empty group", groups, roles(""), "", "", policy.ReasonBadCredentials},
		{"a group that is a number", groups, roles(1), "", "", policy.ReasonBadCredentials},
		{"groups that are an object", groups, map[string]any{"realm_access": map[string]any{"roles": map[string]any{"staff": true}}}, "", "", policy.ReasonBadCredentials},
		{"a claim whose name has dots goes before one further in", map[string]any{"groups_claim": "a.b"}, map[string]any{"a.b": "staff", "a": map[string]any{"b": "eng"}}, "-", "staff", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var more []policy.Change
			if tt.acl != "" {
				more = append(more, acl(tt.acl))
			}
			b := newBed(t, with(es(), tt.config), more...)
			v, note := b.show(token(tt.claims))
			got := "-"
			if v.Identity != nil {
				got = v.Identity.Name + " " + v.Identity.GroupsText
			}
			if v.Reason != tt.reason || v.Allowed() && got != tt.want {
				t.Errorf("got %q by %q (%s), want %q by %q", got, v.Reason, note, tt.want, tt.reason)
			}
		})
	}
}

func TestACustomIDOfTwoConsumersIsNobodys(t *testing.T) {
	twin := policy.Change{Key: policy.Key{Kind: policy.KindConsumers, Name: "twin"}, Index: 1, Object: &policy.Consumer{Name: "twin", CustomID: "b-17"}}
	for _, optional := range []bool{false, true} {
		b := newBed(t, with(es(), map[string]any{"consumer_claim": "sub", "consumer_optional": optional}), twin)
		if v, _ := b.show(token(map[string]any{"sub": "b-17"})); v.Reason != policy.ReasonBadCredentials {
			t.Errorf("optional %v: got %+v", optional, v)
		}
	}
}

// A key and a token on one API: both are demanded, as Kong does.
func TestKeyAndTokenTogether(t *testing.T) {
	sum := sha256.Sum256([]byte("ann-key"))
	both := []policy.Change{
		{Key: policy.Key{Kind: policy.KindCredentials, Name: hex.EncodeToString(sum[:])}, Index: 1, Object: &policy.Credential{Consumer: "ann"}},
		{Key: policy.Key{Kind: policy.KindPlugins, Name: "key"}, Index: 1, Object: &policy.Plugin{ID: "key", Name: "key-auth", Config: map[string]any{"hide_credentials": true}}},
	}
	b := newBed(t, with(es(), map[string]any{"consumer_claim": "sub", "consumer_optional": true, "groups_claim": "scope", "hide_credentials": true}), both...)
	for _, tt := range []struct {
		name, key string
		token     string
		want      policy.Reason
		who       string
	}{
		{"of one consumer", "ann-key", token(nil), "", "ann staff"},
		{"of two consumers", "ann-key", token(map[string]any{"sub": "bob"}), policy.ReasonBadCredentials, "ann staff"},
		{"a token of nobody here", "ann-key", token(map[string]any{"sub": "eve", "scope": "read"}), "", "ann staff, read"},
		{"a key alone", "ann-key", "", policy.ReasonNoCredentials, "ann staff"},
		{"a token alone", "", token(nil), policy.ReasonNoCredentials, ""},
		{"a wrong key", "eve-key", token(nil), policy.ReasonBadCredentials, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := header{}
			if tt.key != "" {
				h["apikey"] = []string{tt.key}
			}
			if tt.token != "" {
				h["Authorization"] = []string{"Bearer " + tt.token}
			}
			v, note := b.decide(b.request(h, "/svc"))
			who := ""
			if v.Identity != nil {
				who = v.Identity.Name + " " + v.Identity.GroupsText
			}
			if v.Reason != tt.want || who != tt.who {
				t.Errorf("got %q, %q (%s)", v.Reason, who, note)
			}
			if v.Allowed() && !slices.Equal(v.Hide, []string{"apikey", "Authorization"}) {
				t.Errorf("hides %v", v.Hide)
			}
		})
	}
}

func TestClaimsBecomeHeaders(t *testing.T) {
	b := newBed(t, with(es(), map[string]any{"claims_to_headers": []any{"X-User: sub", "X-Roles: https://x/roles", "X-Mail: email", "X-Deep: a.b", "X-Number: n", "X-Is: yes"}}))
	v, note := b.show(token(map[string]any{"https://x/roles": []string{"a", "b"}, "a": map[string]any{"b": "José"}, "n": 12345678901234567, "yes": true}))
	want := []policy.ClaimHeader{{Name: "X-User", Value: "ann"}, {Name: "X-Roles", Value: "a, b"}, {Name: "X-Mail"}, {Name: "X-Deep", Value: "José"}, {Name: "X-Number", Value: "12345678901234567"}, {Name: "X-Is", Value: "true"}}
	if !v.Allowed() || !slices.Equal(v.Claims, want) {
		t.Errorf("%s: got %+v", note, v.Claims)
	}
	for name, mail := range map[string]any{
		"a line break": "a\r\nX-Admin: 1", "a NUL": "a\x00", "a control character of Unicode": "a\u0085b", "a blank at the end": "a ",
		"an object": map[string]any{"a": 1}, "a list of lists": []any{[]any{}}, "a list with a comma in it": []any{"a,b"}, "a list with an empty text": []any{"a", ""},
	} {
		if v, note := b.show(token(map[string]any{"email": mail})); v.Reason != policy.ReasonBadCredentials || !strings.Contains(note, `"email"`) {
			t.Errorf("%s: got %q %s %+v", name, v.Reason, note, v.Claims)
		}
	}
}

func TestATokenMayTakeTheLimitOfNobodyElse(t *testing.T) {
	limit := policy.Change{Key: policy.Key{Kind: policy.KindPlugins, Name: "l"}, Index: 1, Object: &policy.Plugin{ID: "l", Name: "rate-limiting", Config: map[string]any{"hour": int64(1)}}}
	b := newBed(t, with(es(), map[string]any{"consumer_claim": "sub", "consumer_optional": true}), limit)
	var limiter policy.Limiter
	ask := func(sub, client string) policy.Reason {
		r := b.request(bearing(token(map[string]any{"sub": sub})), "/svc")
		r.Limiter, r.Client = &limiter, addr(client)
		v, _ := b.decide(r)
		return v.Reason
	}
	for i, tt := range []struct {
		sub, client string
		want        policy.Reason
	}{
		{"eve", "10.0.0.1", ""}, {"mallory", "10.0.0.2", ""}, {"eve", "10.0.0.1", policy.ReasonRateLimit},
		{"ann", "10.0.0.1", ""}, {"ann", "10.0.0.2", policy.ReasonRateLimit},
	} {
		if got := ask(tt.sub, tt.client); got != tt.want {
			t.Errorf("request %d: got %q, want %q", i, got, tt.want)
		}
	}
}

func TestReportModeRefusesNobody(t *testing.T) {
	b := newBedOf(t, &policy.Plugin{ID: "jwt", Name: "jwt", Mode: policy.Report, Config: es()})
	for name, h := range map[string]header{"no token": {}, "a bad one": bearing("x.y.z")} {
		v, note := b.decide(b.request(h, "/svc"))
		if !v.Allowed() || len(v.Would()) != 1 || note == "" {
			t.Errorf("%s: %+v %q", name, v.Would(), note)
		}
	}
	if v, _ := b.show(token(nil)); !v.Allowed() || len(v.Would()) != 0 || v.Claims != nil {
		t.Errorf("a good one: %+v", v)
	}
}

func TestWithoutAVerifierNobodyPasses(t *testing.T) {
	b := newBed(t, es())
	r := b.request(bearing(token(nil)), "/")
	r.Tokens = nil
	if v, _ := b.decide(r); v.Reason != policy.ReasonPolicyUnavailable || v.Status != 503 {
		t.Errorf("got %+v", v)
	}
}

// A path that some backend reads as one of another API is asked for that API's
// credentials, too: that a token is good here says nothing there.
func TestATokenIsNoKeyForAnotherReading(t *testing.T) {
	put := func(kind policy.Kind, name string, o policy.Object) policy.Change {
		return policy.Change{Key: policy.Key{Kind: kind, Name: name}, Index: 1, Created: 1, Object: o}
	}
	var more []policy.Change
	for _, api := range []string{"pub", "adm"} {
		more = append(more, put(policy.KindFilters, api, &policy.Filter{Name: api, Paths: []string{"/" + api}}),
			put(policy.KindAPIs, api, &policy.API{Name: api, Filters: []string{api}}))
	}
	more = append(more,
		put(policy.KindPlugins, "jwt", &policy.Plugin{ID: "jwt", Name: "jwt", Config: with(es(), map[string]any{"consumer_claim": "sub"})}),
		put(policy.KindPlugins, "key", &policy.Plugin{ID: "key", Name: "key-auth"}),
		put(policy.KindPluginMappings, "1", &policy.PluginMapping{ID: "1", API: "pub", Plugins: []string{"jwt"}}),
		put(policy.KindPluginMappings, "2", &policy.PluginMapping{ID: "2", API: "adm", Plugins: []string{"key"}}))
	b := newBedWith(t, more...)
	for target, want := range map[string]policy.Reason{"/pub/x": "", "/pub/..;/adm/x": policy.ReasonNoCredentials, "/pub/x;y/z": ""} {
		if v, note := b.decide(b.request(bearing(token(nil)), target)); v.Reason != want {
			t.Errorf("%s: got %q (%s), want %q", target, v.Reason, note, want)
		}
	}
}

// A preflight that goes on to the service needs no token, and brings no header that
// looks like one of a claim.
func TestAPreflightForgesNoClaim(t *testing.T) {
	cors := &policy.Plugin{ID: "cors", Name: "cors", Config: map[string]any{"origins": []any{"https://app.ex"}, "preflight_continue": true}}
	b := newBedOf(t, cors, &policy.Plugin{ID: "jwt", Name: "jwt", Config: with(es(), map[string]any{"claims_to_headers": []any{"X-User: sub"}})})
	r := b.request(header{"Origin": {"https://app.ex"}, "Access-Control-Request-Method": {"PUT"}, "X-User": {"root"}}, "/svc")
	r.Method = "OPTIONS"
	if v, _ := b.decide(r); !v.Allowed() || len(v.Claims) != 0 || !slices.Equal(slices.Concat(v.Drop...), []string{"X-User"}) {
		t.Errorf("got %+v", v)
	}
}

// A dry question may be a consumer's who shows nothing; a request may not.
func TestAQuestionMayBeAConsumers(t *testing.T) {
	b := newBed(t, with(es(), map[string]any{"consumer_claim": "sub"}), acl("staff"))
	for _, tt := range []struct {
		as   string
		dry  bool
		want policy.Reason
	}{{"ann", true, ""}, {"bob", true, policy.ReasonACL}, {"ann", false, policy.ReasonNoCredentials}, {"eve", true, policy.ReasonNoCredentials}} {
		r := b.request(header{}, "/svc")
		r.As, r.Dry = tt.as, tt.dry
		if v, note := b.decide(r); v.Reason != tt.want {
			t.Errorf("as %s, dry %v: got %q (%s), want %q", tt.as, tt.dry, v.Reason, note, tt.want)
		}
	}
}

// What was let in is decided again: its token must hold still (X14).
func TestWhatLastsIsDecidedAgain(t *testing.T) {
	config := func(more map[string]any) map[string]any {
		return with(es(), with(map[string]any{"consumer_claim": "sub"}, more))
	}
	b := newBed(t, config(nil))
	facts := func(h header) *policy.Facts {
		r := b.request(h, "/svc")
		route := b.set.Route(r)
		var v policy.Verdict
		if b.set.Decide(r, &route, &v, nil); !v.Allowed() {
			t.Fatalf("%+v", v)
		}
		return r.Facts(&route, &v)
	}
	f := facts(bearing(token(nil)))
	original := b.set
	for _, tt := range []struct {
		name string
		set  *policy.Set
		at   time.Time
		want policy.Reason
	}{
		{"it goes on while it holds", original, noon.Add(59 * time.Minute), ""},
		{"it ends with its token", original, noon.Add(time.Hour), policy.ReasonBadCredentials},
		{"the same plugin written anew changes nothing", newBed(t, config(nil)).set, noon, ""},
		{"another key beside its own changes nothing", newBed(t, config(map[string]any{"keys": []any{publicPEM("rsa"), publicPEM("p256")}})).set, noon, ""},
		{"its key is gone", newBed(t, config(map[string]any{"keys": []any{publicPEM("rsa")}})).set, noon, policy.ReasonBadCredentials},
		{"another issuer is wanted", newBed(t, config(map[string]any{"issuer": "x"})).set, noon, policy.ReasonBadCredentials},
		{"the plugin is gone", newBedOf(t).set, noon, ""},
		{"its consumer is gone", without(t, config(nil), "ann"), noon, policy.ReasonBadCredentials},
		{"its consumer is not let in any more", newBed(t, config(nil), acl("nobody")).set, noon, policy.ReasonACL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var v policy.Verdict
			if tt.set.Recheck(f, tt.at, &v); v.Reason != tt.want {
				t.Errorf("got %q, want %q", v.Reason, tt.want)
			}
		})
	}
	b = newBedOf(t)
	f = facts(header{})
	var v policy.Verdict
	if original.Recheck(f, noon, &v); v.Reason != policy.ReasonNoCredentials {
		t.Errorf("a plugin that is new: got %q", v.Reason)
	}
}
