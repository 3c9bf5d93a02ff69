package tokens_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"lictor/policy"
)

// FuzzToken looks for texts that crash the reader of tokens, or that pass although
// nobody signed them.
func FuzzToken(f *testing.F) {
	whole := token(nil)
	for _, text := range []string{whole, whole + ".", "..", "a.b.c", b64(`{"alg":"none"}`) + "." + b64(`{}`) + ".", b64(`{"alg":"ES256","crit":[]}`) + "." + b64(good(nil)) + ".AAAA",
		b64(`{"alg":"RS256","kid":"x"}`) + "." + b64(`{"exp":1e99}`) + ".AAAA"} {
		f.Add(text)
	}
	b := newBed(f, full(nil))
	f.Fuzz(func(t *testing.T, text string) {
		v, note := b.show(text)
		if v.Allowed() && text != whole {
			t.Fatalf("%q passes", text)
		}
		if !v.Allowed() && note == "" {
			t.Errorf("%q is refused without a word", text)
		}
	})
}

// FuzzSignedClaims signs any header and claims: what passes must be what the
// standard library reads of them, too.
func FuzzSignedClaims(f *testing.F) {
	f.Add(`{"alg":"ES256"}`, good(nil))
	f.Add(`{"alg":"ES256","kid":"a","typ":"JWT"}`, good(map[string]any{"roles": []string{"a"}, "email": "x"}))
	f.Add(`{"alg":"ES256"}`, `{"exp":1e10,"sub":"ann","iss":"https://id","aud":["shop"]}`)
	f.Add(`{"alg":"ES256"}`, `{"exp":1,"exp":9999999999}`)
	b := newBed(f, full(nil))
	key := signers()["p256"]
	f.Fuzz(func(t *testing.T, header, claims string) {
		v, _ := b.show(sign("ES256", key, header, claims))
		if !v.Allowed() {
			return
		}
		var c struct {
			Sub, Iss string
			Exp      float64
			Email    any
		}
		if err := json.Unmarshal([]byte(claims), &c); err != nil {
			t.Fatalf("%q passes, and is no JSON: %v", claims, err)
		}
		if v.Identity == nil || v.Identity.Name != "ann" && v.Identity.CustomID != "b-17" || int64(c.Exp) < noon.Unix() {
			t.Errorf("%q passes as %+v", claims, v.Identity)
		}
		for _, h := range v.Claims {
			if strings.ContainsAny(h.Value, "\r\n\x00") {
				t.Errorf("%q becomes the header %q", claims, h.Value)
			}
		}
	})
}

// FuzzKeys looks for keys that crash the reader, or that are taken although they
// are none.
func FuzzKeys(f *testing.F) {
	for _, text := range []string{publicPEM("rsa"), publicPEM("ed"), set(jwk("p521", "x", nil)), toJSON(jwk("p256", "", nil)), `{"kty":"RSA","n":"","e":""}`,
		`{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", `{"keys":[{"kty":"oct","k":"AAAA"}]}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		wrong := policy.Check("p", &policy.Plugin{ID: "p", Name: "jwt", Config: map[string]any{"keys": []any{text}}})
		if len(wrong) > 0 && len(wrong.Error()) > 1000 {
			t.Errorf("told at length: %s", wrong.Error())
		}
		if d, err := base64.StdEncoding.DecodeString(text); err == nil && len(d) > 0 && len(wrong) == 0 {
			t.Errorf("%q is taken for a key", text)
		}
	})
}
