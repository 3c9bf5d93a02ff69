package policy_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"lictor/policy"
)

// asked is one request of a test of limits: what it differs by from another one.
type asked struct{ key, client, tenant, target string }

func TestLimitsCountApartWhatTheySay(t *testing.T) { // P6
	one := asked{"ka", "127.0.0.1", "t1", "/svc/a"}
	with1 := func(edit func(*asked)) asked {
		r := one
		edit(&r)
		return r
	}
	otherKey := with1(func(r *asked) { r.key = "ka2" })
	otherConsumer := with1(func(r *asked) { r.key = "kb" })
	otherAddress := with1(func(r *asked) { r.client = "127.0.0.2" })
	otherTenant := with1(func(r *asked) { r.tenant = "t2" })
	noTenant := with1(func(r *asked) { r.tenant = "" })
	noTenantElsewhere := with1(func(r *asked) { r.tenant, r.client = "", "127.0.0.2" })
	twice := with1(func(r *asked) { r.tenant = "t1,t1" })
	otherPath := with1(func(r *asked) { r.target = "/svc/b" })
	otherQuery := with1(func(r *asked) { r.target = "/svc/a?x=1" })
	spelled := with1(func(r *asked) { r.target = "/svc/x/../a" })
	nobody := with1(func(r *asked) { r.key = "" })
	nobodyElsewhere := with1(func(r *asked) { r.key, r.client = "", "127.0.0.2" })
	neighbour := asked{"", "2001:db8::1", "", "/svc/a"}
	sameNet := asked{"", "2001:db8::2", "", "/svc/a"}
	for _, tt := range []struct {
		name, config  string
		first, second asked
		shared        bool
	}{
		{"without a word it is the consumer", `{}`, one, otherKey, true},
		{"wherever they are", `{}`, one, otherAddress, true},
		{"another one has a limit of his own", `{}`, one, otherConsumer, false},
		{"of nobody it is the address", `{}`, nobody, nobodyElsewhere, false},
		{"the word says the same", `{"by":"consumer"}`, one, otherKey, true},
		{"a key", `{"by":"credential"}`, one, otherKey, false},
		{"wherever it is used", `{"by":"credential"}`, one, otherAddress, true},
		{"without one the address", `{"by":"credential"}`, nobody, nobodyElsewhere, false},
		{"and everybody there", `{"by":"credential"}`, nobody, nobody, true},
		{"an address", `{"by":"address"}`, one, otherConsumer, true},
		{"of another one", `{"by":"address"}`, one, otherAddress, false},
		{"a network of IPv6", `{"by":"address"}`, neighbour, sameNet, true},
		{"an address, as Kong says it", `{"limit_by":"ip"}`, one, otherConsumer, true},
		{"a header", `{"by":"header:X-Tenant"}`, one, otherConsumer, true},
		{"of another value", `{"by":"header:X-Tenant"}`, one, otherTenant, false},
		{"a header, as Kong says it", `{"limit_by":"header","header_name":"x-tenant"}`, one, otherTenant, false},
		{"without the header the address", `{"by":"header:X-Tenant"}`, noTenant, noTenantElsewhere, false},
		{"which is no value of it", `{"by":"header:X-Tenant"}`, noTenant, one, false},
		{"with two the address", `{"by":"header:X-Tenant"}`, twice, noTenant, true},
		{"a path, for all together", `{"by":"path"}`, one, otherConsumer, true},
		{"another one", `{"by":"path"}`, one, otherPath, false},
		{"without the query", `{"by":"path"}`, one, otherQuery, true},
		{"in whatever spelling", `{"by":"path"}`, one, spelled, true},
	} {
		config := strings.Replace(tt.config, "{", `{"year":1,`, 1)
		if tt.config == "{}" {
			config = `{"year":1}`
		}
		_, set := newStore(t, policy.Options{}, with("plugins/l", `{"name":"rate-limiting","config":`+config+`}`)...)
		limiter := new(policy.Limiter)
		send := func(a asked) policy.Reason {
			h := header{}
			if a.key != "" {
				h["apikey"] = []string{a.key}
			}
			if a.tenant != "" {
				h["X-Tenant"] = strings.Split(a.tenant, ",")
			}
			r := &policy.Request{Method: "GET", Host: "x", Port: 80, Path: mustPath(a.target), Client: netip.MustParseAddr(a.client), Fields: h, Now: noon, Limiter: limiter}
			route := set.Route(r)
			var v policy.Verdict
			set.Decide(r, &route, &v, nil)
			return v.Reason
		}
		if first := send(tt.first); first != "" {
			t.Fatalf("%s: the first is refused: %s", tt.name, first)
		}
		if got := send(tt.second) == policy.ReasonRateLimit; got != tt.shared {
			t.Errorf("%s: %s: both count together: %v, want %v", tt.name, tt.config, got, tt.shared)
		}
	}
}

func TestBadWordsForWhatCountsAreNamed(t *testing.T) { // P6
	for _, tt := range []struct{ config, want string }{
		{`{"by":"service"}`, `config.by: is "service", want "consumer", "credential", "address", "path" or "header:" and a name`},
		{`{"by":"header:"}`, `config.by: "" is no name of a header`},
		{`{"by":"header"}`, `config.by: "" is no name of a header`},
		{`{"by":"header:X: y"}`, `config.by: "X: y" is no name of a header`},
		{`{"by":"path","header_name":"X"}`, `config.header_name: is that of by = "header", which is not given`},
		{`{"by":"header:X","header_name":"Y"}`, `config.header_name: is that of by = "header"`},
		{`{"by":"path","limit_by":"ip"}`, `config.limit_by: is the same as by, want one of them`},
	} {
		s := &store{Builder: policy.NewBuilder(policy.Options{})}
		_, rejected := s.put(t, "plugins/p", `{"name":"rate-limiting","config":`+strings.Replace(tt.config, "{", `{"minute":1,`, 1)+`}`)
		if len(rejected) != 1 || !strings.Contains(fmt.Sprint(rejected[0].Problems), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.config, rejected, tt.want)
		}
	}
}
