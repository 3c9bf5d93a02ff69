package tokens_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"lictor/policy"
)

// hs signs by HMAC with any key, as an attacker does who knows a public one.
func hs(key, header, claims string) string {
	text := b64(header) + "." + b64(claims)
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// The attacks of RFC 8725 and of those who came after it: each token would get in
// somewhere else. What an explanation says of it is a part of the table, so that
// each is refused for its own reason.
func TestAttacksOfRFC8725AreRefused(t *testing.T) {
	b := newBed(t, map[string]any{
		"keys":    []any{publicPEM("rsa"), set(jwk("p256", "a", nil), jwk("p384", "b", nil), jwk("ed", "e", nil), jwk("p521", "f", nil), jwk("rsa2", "ps", map[string]any{"alg": "PS256"}))},
		"secrets": []any{secret[:40]},
		"issuer":  "https://id", "audience": []any{"shop", "till"}, "consumer_claim": "sub",
	})
	es := func(header, claims string) string { return sign("ES256", signers()["p256"], header, claims) }
	head := `{"alg":"ES256","kid":"a"}`
	whole := es(head, good(nil))
	parts := strings.Split(whole, ".")
	other := es(head, good(map[string]any{"sub": "bob"}))
	exp := noon.Add(time.Hour).Unix()
	deep := strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat("}", 20)
	for _, tt := range []struct{ name, token, want string }{
		// 2.1: weak signatures and none
		{"the algorithm none", b64(`{"alg":"none"}`) + "." + b64(good(nil)) + ".", "no signature"},
		{"the algorithm none with a signature", b64(`{"alg":"none"}`) + "." + b64(good(nil)) + ".AAAA", "none that counts"},
		{"the algorithm nOnE", b64(`{"alg":"nOnE"}`) + "." + b64(good(nil)) + ".AAAA", "none that counts"},
		{"no algorithm", b64(`{"kid":"a"}`) + "." + parts[1] + "." + parts[2], "none that counts"},
		{"an algorithm that is no text", b64(`{"alg":["ES256"],"kid":"a"}`) + "." + parts[1] + "." + parts[2], "none that counts"},
		{"an algorithm in lower case", es(`{"alg":"es256","kid":"a"}`, good(nil)), "none that counts"},
		{"an empty signature", parts[0] + "." + parts[1] + ".", "no signature"},
		{"no signature at all", parts[0] + "." + parts[1], "2 parts"},
		{"the public RSA key as the secret of HS256", hs(publicPEM("rsa"), `{"alg":"HS256"}`, good(nil)), "signature is wrong"},
		{"the same with its key id", hs(publicPEM("p256"), `{"alg":"HS256","kid":"a"}`, good(nil)), "signature is wrong"},
		{"HS256 with an empty secret", hs("", `{"alg":"HS256"}`, good(nil)), "signature is wrong"},
		{"HS512 with a secret too short for it", sign("HS512", []byte(secret[:40]), `{"alg":"HS512"}`, good(nil)), "no such key"},
		{"the key of one algorithm for another", es(`{"alg":"ES384","kid":"a"}`, good(nil)), "no such key"},
		{"RSA's key id for ECDSA", es(`{"alg":"RS256","kid":"a"}`, good(nil)), "signature is wrong"},
		{"RS256 by a key that is for PS256", sign("RS256", signers()["rsa2"], `{"alg":"RS256","kid":"ps"}`, good(nil)), "signature is wrong"},
		{"a psychic signature: r and s are zero", parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)), "signature is wrong"},
		{"a short signature of zeros", parts[0] + "." + parts[1] + ".AAAA", "signature is wrong"},
		{"Ed25519 with a signature of zeros", b64(`{"alg":"EdDSA","kid":"e"}`) + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)), "signature is wrong"},
		{"RSA with a signature of zeros", b64(`{"alg":"RS256"}`) + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 256)), "signature is wrong"},
		{"the claims of another token", parts[0] + "." + strings.Split(other, ".")[1] + "." + parts[2], "signature is wrong"},
		{"a key that is not ours", sign("ES256", signers()["other"], head, good(nil)), "signature is wrong"},
		// 2.3, 2.4, 2.5: encryption, plaintext, curves
		{"a token that is encrypted", b64(`{"alg":"RSA-OAEP","enc":"A256GCM"}`) + ".a.b.c.d", "5 parts"},
		{"enc in the header", es(`{"alg":"ES256","kid":"a","enc":"A128GCM"}`, good(nil)), "enc in its header"},
		{"a compressed one", es(`{"alg":"ES256","kid":"a","zip":"DEF"}`, good(nil)), "zip in its header"},
		// 2.6, 2.7: JSON that is read in two ways
		{"a member twice in the header", es(`{"alg":"ES256","kid":"x","kid":"a"}`, good(nil)), `"kid" is there twice`},
		{"the algorithm twice", es(`{"alg":"none","kid":"a","alg":"ES256"}`, good(nil)), `"alg" is there twice`},
		{"a member twice in the claims", es(head, fmt.Sprintf(`{"sub":"bob","sub":"ann","exp":%d,"iss":"https://id","aud":"shop"}`, exp)), `"sub" is there twice`},
		{"one twice, spelled with an escape", es(head, fmt.Sprintf(`{"sub":"bob","s\u0075b":"ann","exp":%d,"iss":"https://id","aud":"shop"}`, exp)), `"sub" is there twice`},
		{"one twice further in", es(head, fmt.Sprintf(`{"sub":"ann","exp":%d,"iss":"https://id","aud":"shop","x":[{"a":1,"a":2}]}`, exp)), `"a" is there twice`},
		{"half a surrogate pair, which is no character", es(head, fmt.Sprintf(`{"sub":"\ud800","exp":%d,"iss":"https://id","aud":"shop"}`, exp)), "a character that there is not"},
		{"one in a member's name", es(head, fmt.Sprintf(`{"sub":"ann","exp":%d,"iss":"https://id","aud":"shop","\udc00":1}`, exp)), "a character that there is not"},
		{"something behind the claims", es(head, good(nil)+"{}"), "follows"},
		{"claims that are a list", es(head, "["+good(nil)+"]"), "no JSON object"},
		{"claims that are a text", es(head, `"`+b64(good(nil))+`"`), "no JSON object"},
		{"claims that are null", es(head, "null"), "no JSON object"},
		{"claims that end early", es(head, good(nil)[:20]), "no JSON"},
		{"claims that are no UTF-8", es(head, "{\"sub\":\"ann\xff\"}"), "no UTF-8"},
		{"claims in UTF-16", es(head, "{\x00}\x00"), "no JSON"},
		{"claims that are deep", es(head, deep), "levels deep"},
		{"a nested token", es(`{"alg":"ES256","kid":"a","cty":"JWT"}`, good(nil)), "cty in its header"},
		// 2.8: other uses of the same keys
		{"another issuer", es(head, good(map[string]any{"iss": "https://evil"})), "invalid issuer"},
		{"an issuer that begins the same", es(head, good(map[string]any{"iss": "https://id.evil"})), "invalid issuer"},
		{"no issuer", es(head, good(map[string]any{"iss": nil})), "iss"},
		{"a list of issuers", es(head, good(map[string]any{"iss": []string{"https://id"}})), "iss"},
		{"another audience", es(head, good(map[string]any{"aud": "bank"})), "invalid audience"},
		{"a list of other audiences", es(head, good(map[string]any{"aud": []string{"bank", "Shop"}})), "invalid audience"},
		{"an empty list of audiences", es(head, good(map[string]any{"aud": []string{}})), "aud"},
		{"no audience", es(head, good(map[string]any{"aud": nil})), "aud"},
		{"an audience that is no text", es(head, good(map[string]any{"aud": []any{"shop", 7}})), "aud"},
		{"a token to log out", es(`{"alg":"ES256","kid":"a","typ":"logout+jwt"}`, good(nil)), "typ"},
		{"a proof of possession", es(`{"alg":"ES256","kid":"a","typ":"dpop+jwt"}`, good(nil)), "typ"},
		{"a typ that is no text", es(`{"alg":"ES256","kid":"a","typ":1}`, good(nil)), "typ"},
		// 2.9, 2.10: what the header asks us to look up
		{"a key id that is a path", es(`{"alg":"ES256","kid":"../../../../dev/null"}`, good(nil)), "no such key"},
		{"a key id that is SQL", es(`{"alg":"ES256","kid":"x' UNION SELECT 'a"}`, good(nil)), "no such key"},
		{"a key id that is a number", es(`{"alg":"ES256","kid":1}`, good(nil)), "kid"},
		{"a key in the header", sign("ES256", signers()["other"], toJSON(map[string]any{"alg": "ES256", "kid": "z", "jwk": jwk("other", "z", nil)}), good(nil)), "no such key"},
		{"a URL of keys in the header", sign("ES256", signers()["other"], `{"alg":"ES256","kid":"z","jku":"http://127.0.0.1:1/"}`, good(nil)), "no such key"},
		{"a certificate in the header", sign("RS256", signers()["rsa2"], `{"alg":"RS256","x5c":["MIIB"],"x5u":"http://127.0.0.1:1/"}`, good(nil)), "signature is wrong"},
		// RFC 7515 4.1.11, RFC 7797
		{"what is critical", es(`{"alg":"ES256","kid":"a","crit":["exp"],"exp":1}`, good(nil)), "crit in its header"},
		{"an empty crit", es(`{"alg":"ES256","kid":"a","crit":[]}`, good(nil)), "crit in its header"},
		{"a payload that is not encoded", es(`{"alg":"ES256","kid":"a","b64":false}`, good(nil)), "b64 in its header"},
		// the form
		{"padding", parts[0] + "=." + parts[1] + "." + parts[2], "character"},
		{"padding behind the signature", whole + "==", "character"},
		{"a blank", parts[0] + " ." + parts[1] + "." + parts[2], "character"},
		{"the other base64", parts[0] + "." + parts[1] + "." + parts[2][:len(parts[2])-2] + "+/", "character"},
		{"a fourth part", whole + ".x", "4 parts"},
		{"only dots", "..", "no signature"},
		{"bits that are left over", parts[0] + "." + parts[1] + "." + leftOver(parts[2]), "signature is wrong"},
		{"one that is too long", es(head, good(map[string]any{"x": strings.Repeat("x", policy.MaxToken)})), "more than 8192 bytes"},
		// times
		{"one that has run out", es(head, good(map[string]any{"exp": noon.Unix()})), "expired"},
		{"one without an end", es(head, good(map[string]any{"exp": nil})), "exp"},
		{"an end that is null", es(head, `{"exp":null,"iss":"https://id","aud":"shop","sub":"ann"}`), "no number"},
		{"an end that is a text", es(head, good(map[string]any{"exp": fmt.Sprint(exp)})), "no number"},
		{"an end that is a truth", es(head, good(map[string]any{"exp": true})), "no number"},
		{"an end that is huge", es(head, strings.Replace(good(map[string]any{"exp": 1}), `"exp":1`, `"exp":1e300`, 1)), "no time"},
		{"an end beyond all numbers", es(head, strings.Replace(good(map[string]any{"exp": 1}), `"exp":1`, `"exp":1e999`, 1)), "no time"},
		{"an end that overflows", es(head, strings.Replace(good(map[string]any{"exp": 1}), `"exp":1`, `"exp":9223372036854775808`, 1)), "no time"},
		{"an end that is negative", es(head, good(map[string]any{"exp": -1})), "no time"},
		{"an end that is no number of JSON", es(head, strings.Replace(good(map[string]any{"exp": 1}), `"exp":1`, `"exp":NaN`, 1)), "no JSON"},
		{"one that is not valid yet", es(head, good(map[string]any{"nbf": noon.Unix() + 1})), "not valid yet"},
		{"a beginning that is a text", es(head, good(map[string]any{"nbf": "1"})), "no number"},
		{"one from the future", es(head, good(map[string]any{"iat": noon.Unix() + 60})), "before issued"},
		{"one from a negative time", es(head, good(map[string]any{"iat": -60})), "no time"},
		// consumers
		{"nobody", es(head, good(map[string]any{"sub": "eve"})), "names no consumer"},
		{"no subject", es(head, good(map[string]any{"sub": nil})), "names no consumer"},
		{"an empty subject", es(head, good(map[string]any{"sub": ""})), "names no consumer"},
		{"a list of subjects", es(head, good(map[string]any{"sub": []string{"ann"}})), "no name"},
		{"a subject that is an object", es(head, good(map[string]any{"sub": map[string]any{"ann": 1}})), "no name"},
		{"a subject with a line break", es(head, good(map[string]any{"sub": "ann\r\nX-Admin: 1"})), "value of a header"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, note := b.show(tt.token)
			if v.Allowed() || v.Status != 401 || v.Reason != policy.ReasonBadCredentials || v.Message != "Unauthorized" ||
				v.Challenge != `Bearer realm="lictor", error="invalid_token"` {
				t.Errorf("got %+v", v)
			}
			if !strings.Contains(note, tt.want) {
				t.Errorf("explained by %q, want %q", note, tt.want)
			}
			if len(tt.token) > 40 && strings.Contains(note, tt.token[len(tt.token)-20:]) {
				t.Errorf("the explanation %q repeats the token", note)
			}
		})
	}
	if v, note := b.show(whole); !v.Allowed() {
		t.Fatalf("the token that the attacks are made of is refused itself: %s", note)
	}
}

// leftOver changes the last bits of a base64 text, which no byte is made of.
func leftOver(s string) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(digits, s[len(s)-1])
	return s[:len(s)-1] + string(digits[last^1])
}

func TestGoodTokensPass(t *testing.T) {
	b := newBed(t, map[string]any{
		"keys":    []any{publicPEM("rsa"), publicPEM("p256"), set(jwk("p384", "b", nil), jwk("p521", "f", nil), jwk("ed", "e", nil), jwk("rsa2", "ps", map[string]any{"alg": "PS256", "use": "sig"}))},
		"secrets": []any{secret}, "audience": []any{"shop", "till"}, "consumer_claim": "sub", "leeway": "30s",
	})
	for _, tt := range []struct {
		name, alg, key, header string
		claims                 map[string]any
	}{
		{"RS256", "RS256", "rsa", `{"alg":"RS256"}`, nil},
		{"PS512 by the same key", "PS512", "rsa", `{"alg":"PS512"}`, nil},
		{"PS256 by a key that is for it", "PS256", "rsa2", `{"alg":"PS256","kid":"ps"}`, nil},
		{"ES256 with a key id that PEM does not have", "ES256", "p256", `{"alg":"ES256","kid":"whatever"}`, nil},
		{"ES384", "ES384", "p384", `{"alg":"ES384","kid":"b"}`, nil},
		{"ES384 without its key id", "ES384", "p384", `{"alg":"ES384"}`, nil},
		{"ES512", "ES512", "p521", `{"alg":"ES512","kid":"f","typ":"at+JWT"}`, nil},
		{"EdDSA", "EdDSA", "ed", `{"alg":"EdDSA","kid":"e","typ":"jwt"}`, nil},
		{"a list of audiences", "EdDSA", "ed", `{"alg":"EdDSA","kid":"e"}`, map[string]any{"aud": []string{"bank", "till"}}},
		{"a fraction of a second", "EdDSA", "ed", `{"alg":"EdDSA","kid":"e"}`, map[string]any{"exp": float64(noon.Unix()) + 0.5}},
		{"one that has run out within the leeway", "EdDSA", "ed", `{"alg":"EdDSA","kid":"e"}`, map[string]any{"exp": noon.Unix() - 29}},
		{"one that begins within the leeway", "EdDSA", "ed", `{"alg":"EdDSA","kid":"e"}`, map[string]any{"nbf": noon.Unix() + 29, "iat": noon.Unix() + 29}},
		{"a custom id", "EdDSA", "ed", `{"alg":"EdDSA","kid":"e"}`, map[string]any{"sub": "b-17"}},
		{"URLs of keys that nobody asks", "EdDSA", "ed", `{"alg":"EdDSA","kid":"e","jku":"http://127.0.0.1:1/","x5u":"http://127.0.0.1:1/"}`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := sign(tt.alg, signers()[tt.key], tt.header, good(tt.claims))
			for range 2 { // the second time from memory
				if v, note := b.show(text); !v.Allowed() || v.Identity == nil {
					t.Errorf("refused: %s: %s", v.Reason, note)
				}
			}
		})
	}
	for _, alg := range []string{"HS256", "HS384", "HS512"} {
		if v, note := b.show(sign(alg, []byte(secret), `{"alg":"`+alg+`"}`, good(nil))); !v.Allowed() {
			t.Errorf("%s: %s", alg, note)
		}
	}
}

// The library's own tokens pass as well as those that the tests put together.
func TestATokenOfTheLibraryPasses(t *testing.T) {
	b := newBed(t, map[string]any{"keys": []any{publicPEM("rsa")}})
	text, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{ExpiresAt: jwt.NewNumericDate(noon.Add(time.Minute))}).SignedString(signers()["rsa"])
	if err != nil {
		t.Fatal(err)
	}
	if v, note := b.show(text); !v.Allowed() || v.Identity != nil {
		t.Errorf("%+v: %s", v, note)
	}
}

func TestAlgorithmsNarrowWhatTheKeysAreFor(t *testing.T) {
	b := newBed(t, map[string]any{"keys": []any{publicPEM("rsa"), publicPEM("p256")}, "algorithms": []any{"RS256"}})
	if v, _ := b.show(token(nil)); v.Allowed() {
		t.Error("ES256 passes, and only RS256 may")
	}
	if v, note := b.show(sign("RS256", signers()["rsa"], `{"alg":"RS256"}`, good(nil))); !v.Allowed() {
		t.Errorf("RS256 is refused: %s", note)
	}
}
