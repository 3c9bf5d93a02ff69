package tokens_test

import (
	"fmt"
	"strings"
	"testing"

	"lictor/policy"
)

func TestBadConfigurationsAreToldAtTheirPlace(t *testing.T) {
	rsaPrivate := map[string]any{"kty": "RSA", "n": "AQAB", "e": "AQAB", "d": "AQAB"}
	for _, tt := range []struct {
		name   string
		config map[string]any
		want   string
	}{
		{"nothing to verify with", map[string]any{}, "config: want at least one of keys, jwks_url and secrets"},
		{"no key", map[string]any{"keys": []any{"hello"}}, "config.keys[0]: is no key"},
		{"a PEM block that is cut", map[string]any{"keys": []any{publicPEM("rsa")[:100]}}, "config.keys[0]: is no PEM"},
		{"a private key", map[string]any{"keys": []any{"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}}, "config.keys[0]: is a PEM block \"PRIVATE KEY\""},
		{"a private JWK", map[string]any{"keys": []any{set(rsaPrivate)}}, "private key"},
		{"a secret among the keys", map[string]any{"keys": []any{`{"kty":"oct","k":"AAAA"}`}}, "stands in config.secrets"},
		{"a short RSA key", map[string]any{"keys": []any{`{"kty":"RSA","n":"` + b64(strings.Repeat("\xff", 128)) + `","e":"AQAB"}`}}, "1024 bits, want 2048"},
		{"a huge exponent", map[string]any{"keys": []any{`{"kty":"RSA","n":"` + b64(strings.Repeat("\xff", 256)) + `","e":"AQABAQABAQAB"}`}}, "exponent"},
		{"a point that is not on its curve", map[string]any{"keys": []any{toJSON(jwk("p256", "", map[string]any{"y": b64(strings.Repeat("\x01", 32))}))}}, "cannot be read"},
		{"a key for encryption", map[string]any{"keys": []any{toJSON(jwk("p256", "", map[string]any{"use": "enc"}))}}, "not for signatures"},
		{"a key to sign with", map[string]any{"keys": []any{toJSON(jwk("p256", "", map[string]any{"key_ops": []string{"sign"}}))}}, "not for verification"},
		{"a key whose algorithm is another's", map[string]any{"keys": []any{toJSON(jwk("p256", "", map[string]any{"alg": "RS256"}))}}, "is for the algorithm"},
		{"a set without keys", map[string]any{"keys": []any{`{"keys":[]}`}}, "without keys"},
		{"more keys without an id than are tried", map[string]any{"keys": []any{strings.Repeat(publicPEM("rsa"), 5)}}, "give each a kid"},
		{"a short secret", map[string]any{"secrets": []any{"password"}}, "config.secrets[0]: has 8 bytes, want at least 32"},
		{"a public key as a secret", map[string]any{"secrets": []any{publicPEM("rsa")}}, "config.secrets[0]: looks like a key"},
		{"what the admin API shows of a secret", map[string]any{"secrets": []any{"[secret]"}}, "what is shown in place of a secret"},
		{"the algorithm none", with(es(), map[string]any{"algorithms": []any{"none"}}), "config.algorithms[0]: is \"none\""},
		{"HS256 without a secret", with(es(), map[string]any{"algorithms": []any{"HS256"}}), "there are no secrets"},
		{"an algorithm without a key for it", with(es(), map[string]any{"algorithms": []any{"RS256"}}), "none of them is one that the keys are for"},
		{"a URL in plain text", map[string]any{"jwks_url": "http://id.example/jwks"}, "want https"},
		{"a URL of another kind", map[string]any{"jwks_url": "file:///etc/passwd"}, "want an https URL"},
		{"a URL with a password", map[string]any{"jwks_url": "https://u:p@id.example/"}, "has a user"},
		{"refresh without a URL", with(es(), map[string]any{"refresh": "1m"}), "config.refresh"},
		{"a refresh that floods", map[string]any{"jwks_url": "https://id.example/", "refresh": "1s"}, "config.refresh"},
		{"a leeway of days", with(es(), map[string]any{"leeway": "48h"}), "config.leeway"},
		{"an empty audience", with(es(), map[string]any{"audience": []any{""}}), "config.audience[0]: is empty"},
		{"no place for a token", with(es(), map[string]any{"header_names": []any{}}), "want a place for the token"},
		{"a header with a blank in its name", with(es(), map[string]any{"header_names": []any{"X Y"}}), "config.header_names[0]"},
		{"a header without a claim", with(es(), map[string]any{"claims_to_headers": []any{"X-User"}}), "config.claims_to_headers[0]"},
		{"a header that frames the message", with(es(), map[string]any{"claims_to_headers": []any{"content_length: n"}}), "no claim may set"},
		{"a header that says who the consumer is", with(es(), map[string]any{"claims_to_headers": []any{"X-Consumer-Username: sub"}}), "no claim may set"},
		{"a header twice", with(es(), map[string]any{"claims_to_headers": []any{"X-User: sub", "x_user: name"}}), "set already"},
		{"an optional consumer without a claim", with(es(), map[string]any{"consumer_optional": true}), "config.consumer_optional"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			problems := policy.Check("p", &policy.Plugin{ID: "p", Name: "jwt", Config: tt.config})
			if !strings.Contains(problems.Error(), tt.want) {
				t.Errorf("got %q, want %q", problems.Error(), tt.want)
			}
			for _, s := range []string{"password", "AAAA", publicPEM("rsa")[40:80]} {
				if tt.config["secrets"] != nil && strings.Contains(problems.Error(), s) {
					t.Errorf("%q repeats the secret", problems.Error())
				}
			}
		})
	}
}

func TestASecretIsShownNowhere(t *testing.T) {
	p := &policy.Plugin{ID: "jwt", Name: "jwt", Config: map[string]any{"secrets": []any{secret}}}
	b := newBedOf(t, p)
	r := b.request(bearing(sign("HS256", []byte(secret), `{"alg":"HS256"}`, good(nil))), "/svc")
	route, rec := b.set.Route(r), &policy.Recorder{}
	var v policy.Verdict
	if b.set.Decide(r, &route, &v, rec); !v.Allowed() {
		t.Fatalf("%+v", v)
	}
	wrong := policy.Check("p", &policy.Plugin{ID: "p", Name: "jwt", Config: map[string]any{"secrets": secret}})
	shown := fmt.Sprintf("%+v %#v %+v %s %+v %#v", rec.Plugins, rec, rec.Steps, wrong.Error(), b.set.TokenRules()[0], *b.set.TokenRules()[0])
	if strings.Contains(shown, secret[:12]) || strings.Contains(shown, fmt.Sprint([]byte(secret[:12]))[1:20]) {
		t.Errorf("the secret is shown in %s", shown)
	}
	if !strings.Contains(shown, "[secret]") {
		t.Error("it is not shown that there is a secret")
	}
	if p.Config["secrets"].([]any)[0] != secret {
		t.Error("hiding the secret changed the object")
	}
}
