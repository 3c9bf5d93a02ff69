package egress

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lictor/internal/eventually"
	"lictor/policy"
	"lictor/proxy/answer"
)

// known is a policy in which only bob and the group build may reach 127.0.0.2,
// and anybody 127.0.0.3.
func known() lists {
	digest := func(key string) string {
		sum := sha256.Sum256([]byte(key))
		return hex.EncodeToString(sum[:])
	}
	return lists{
		{Kind: policy.KindConsumers, Name: "bob"}:                &policy.Consumer{ID: "id-1", Name: "bob"},
		{Kind: policy.KindConsumers, Name: "eve"}:                &policy.Consumer{Name: "eve"},
		{Kind: policy.KindConsumers, Name: "ci"}:                 &policy.Consumer{Name: "ci", Groups: []string{"build"}},
		{Kind: policy.KindGroups, Name: "build"}:                 &policy.Group{Name: "build"},
		{Kind: policy.KindCredentials, Name: digest("bobs:key")}: &policy.Credential{Consumer: "bob"},
		{Kind: policy.KindCredentials, Name: digest("eveskey")}:  &policy.Credential{Consumer: "eve"},
		{Kind: policy.KindCredentials, Name: digest("ciskey")}:   &policy.Credential{Consumer: "ci"},
		{Kind: policy.KindCredentials, Name: digest("oldkey")}:   &policy.Credential{Consumer: "bob", NotAfter: time.Now().Add(-time.Hour)},
		{Kind: policy.KindWhitelist, Name: "some"}:               &policy.List{Allow: true, Direction: policy.Egress, Entries: []string{"127.0.0.2"}, Consumers: []string{"bob"}, Groups: []string{"build"}},
		{Kind: policy.KindWhitelist, Name: "all"}:                white("127.0.0.3"),
	}
}

func basic(text string) string {
	return "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(text))
}

func TestIdentity(t *testing.T) {
	b := start(t, quick())
	b.policy(known())
	tests := []struct {
		name, host string
		fields     []string
		status     int
	}{
		{"a consumer that the rule names", "127.0.0.2", []string{basic("bob:bobs:key")}, 200},
		{"by its id", "127.0.0.2", []string{basic("id-1:bobs:key")}, 200},
		{"the scheme in any case", "127.0.0.2", []string{"proxy-authorization: bAsIc " + base64.StdEncoding.EncodeToString([]byte("ci:ciskey"))}, 200},
		{"a group that the rule names", "127.0.0.2", []string{basic("ci:ciskey")}, 200},
		{"nobody", "127.0.0.2", nil, 407},
		{"a wrong key", "127.0.0.2", []string{basic("bob:wrong")}, 407},
		{"somebody else's key", "127.0.0.2", []string{basic("bob:ciskey")}, 407},
		{"a key that has run out", "127.0.0.2", []string{basic("bob:oldkey")}, 407},
		{"no key", "127.0.0.2", []string{basic("bob")}, 407},
		{"no base64", "127.0.0.2", []string{"Proxy-Authorization: Basic !"}, 407},
		{"another scheme", "127.0.0.2", []string{"Proxy-Authorization: Bearer bobs:key"}, 407},
		{"two of them", "127.0.0.2", []string{basic("bob:bobs:key"), basic("bob:bobs:key")}, 407},
		{"a consumer that the rule does not name", "127.0.0.2", []string{basic("eve:eveskey")}, 403},
		{"where no rule asks, nobody is asked", "127.0.0.3", nil, 200},
		{"where no rule asks, nonsense does no harm", "127.0.0.3", []string{basic("bob:wrong")}, 200},
		{"what no rule admits is denied without asking", "127.0.0.4", nil, 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := b.in(t)
			reason := answer.ReasonNone
			if tt.status != 200 {
				reason = answer.Reason(policy.ReasonWhitelist)
			}
			a := b.get(b.url(tt.host, "/"), tt.fields...)
			b.expect(a, tt.status, reason)
			if got := a.Header.Get("Proxy-Authenticate"); (got != "") != (tt.status == 407) || got != "" && !strings.HasPrefix(got, "Basic ") {
				t.Errorf("Proxy-Authenticate is %q", got)
			}
			c := b.client()
			a = c.do(append([]string{"CONNECT " + b.at(tt.host) + " HTTP/1.1", "Host: x"}, tt.fields...)...)
			b.expect(a, tt.status, reason)
			if tt.status == 200 && b.origin.last(t).Header.Get("Proxy-Authorization") != "" {
				t.Error("the credentials reached the target")
			}
		})
	}
	if strings.Contains(b.log.String(), "bobs") || !strings.Contains(b.log.String(), "consumer=bob") {
		t.Error("the log holds a key, or not the consumer")
	}
}

// TestRevokedCredentialsCutTunnels: X14.
func TestRevokedCredentialsCutTunnels(t *testing.T) {
	b := start(t, quick())
	b.policy(known())
	c := b.client()
	if a := c.do("CONNECT "+b.at("127.0.0.2")+" HTTP/1.1", "Host: x", basic("bob:bobs:key")); a.StatusCode != 200 {
		t.Fatalf("got %d", a.StatusCode)
	}
	over := ended(c.r)
	less := known()
	delete(less, policy.Key{Kind: policy.KindConsumers, Name: "bob"})
	b.last(1)
	b.policy(less)
	eventually.True(b, "the tunnel is cut", over)
}

func TestExplainKnowsWhoAsks(t *testing.T) {
	b := start(t, quick())
	b.policy(known())
	for header, want := range map[string]int{"": 407, basic("bob:bobs:key"): 200} {
		q := &answer.Question{URL: "http://127.0.0.2/"}
		if name, value, ok := strings.Cut(header, ": "); ok {
			q.Headers = [][2]string{{name, value}}
		}
		e, err := b.proxy.Explain(t.Context(), q)
		if err != nil || e.Status != want || (e.Consumer != nil) != (want == 200) {
			t.Errorf("%q: got %+v, %v", header, e, err)
		}
	}
}

// The line of a request says whose key it came with, which rule spoke, and what of
// the policy; never the key.
func TestAccessLogSaysWhoAskedTheEgress(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	log, err := answer.NewAccessLog(path, "json")
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	b.run(quick(), func(c *Config) { c.AccessLog = log })
	rules := known()
	for key, o := range rules {
		if c, ok := o.(*policy.Credential); ok {
			c.ID = "key-of-" + c.Consumer
			rules[key] = c
		}
	}
	rules[blackKey] = black("127.0.0.4")
	b.policy(rules)
	for _, tt := range []struct{ name, host, login, want string }{
		{"a consumer is let in", "127.0.0.2", "bob:bobs:key", `"consumer": "bob", "credential": "key-of-bob"`},
		{"its key has run out", "127.0.0.2", "bob:oldkey", `"credential": "key-of-bob", "method"`},
		{"no whitelist admits it", "127.0.0.2", "eve:eveskey", `"reason": "whitelist", "mode": "enforce", "policy": "` + b.set.Load().Digits() + `"`},
		{"a blacklist denies it", "127.0.0.4", "eve:eveskey", `"reason": "blacklist", "mode": "enforce", "rule": "lictor/policy/blacklist/ops", "entry": "127.0.0.4", "policy"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.get(b.url(tt.host, "/"), basic(tt.login))
			var last string
			eventually.True(t, "the line is written", func() bool {
				_ = log.Flush(time.Second)
				text, _ := os.ReadFile(path)
				last = string(text)
				return strings.Contains(last, "\n")
			})
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
			if _, key, _ := strings.Cut(tt.login, ":"); !strings.Contains(last, tt.want) || strings.Contains(last, key) {
				t.Errorf("got %s\nwant %s, and not the key", last, tt.want)
			}
		})
	}
}
