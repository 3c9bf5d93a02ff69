package tokens_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/hashicorp/go-hclog"

	"lictor/internal/uri"
	"lictor/policy"
	"lictor/policy/tokens"
)

// noon is when the tests decide.
var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

const secret = "a secret that is shared, of 64 bytes and more: 0123456789abcdef0123456789abcdef"

// signers are the keys of the tests, made once.
var signers = sync.OnceValue(func() map[string]crypto.Signer {
	must := func(k crypto.Signer, err error) crypto.Signer {
		if err != nil {
			panic(err)
		}
		return k
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	all := map[string]crypto.Signer{"ed": must(ed, err)}
	for name, curve := range map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521(), "other": elliptic.P256()} {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		all[name] = must(k, err)
	}
	for name, bits := range map[string]int{"rsa": 2048, "rsa2": 2048} {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		all[name] = must(k, err)
	}
	return all
})

func publicPEM(name string) string {
	der, err := x509.MarshalPKIXPublicKey(signers()[name].Public())
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// jwk is the public JWK of a key, with more members.
func jwk(name, kid string, more map[string]any) map[string]any {
	k, err := jwkset.NewJWKFromKey(signers()[name].Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid}})
	if err != nil {
		panic(err)
	}
	var all map[string]any
	if err := json.Unmarshal([]byte(toJSON(k.Marshal())), &all); err != nil {
		panic(err)
	}
	for name, v := range more {
		all[name] = v
	}
	return all
}

func set(all ...map[string]any) string { return toJSON(map[string]any{"keys": all}) }

func toJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// sign signs a header and claims, as they are, by an algorithm.
func sign(alg string, key any, header, claims string) string {
	text := b64(header) + "." + b64(claims)
	signature, err := jwt.GetSigningMethod(alg).Sign(text, key)
	if err != nil {
		panic(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// good are claims that pass, with more.
func good(more map[string]any) string {
	claims := map[string]any{"iss": "https://id", "aud": "shop", "sub": "ann", "exp": noon.Add(time.Hour).Unix()}
	for name, v := range more {
		if claims[name] = v; v == nil {
			delete(claims, name)
		}
	}
	return toJSON(claims)
}

// token is a good one by ES256.
func token(more map[string]any) string {
	return sign("ES256", signers()["p256"], `{"alg":"ES256","typ":"JWT"}`, good(more))
}

// bed is a policy with one plugin jwt for everything.
type bed struct {
	set      *policy.Set
	verifier *tokens.Verifier
}

func newBed(t testing.TB, config map[string]any, more ...policy.Change) *bed {
	t.Helper()
	return newBedWith(t, append([]policy.Change{change(&policy.Plugin{ID: "jwt", Name: "jwt", Config: config})}, more...)...)
}

func newBedOf(t testing.TB, plugins ...*policy.Plugin) *bed {
	t.Helper()
	var all []policy.Change
	for _, p := range plugins {
		all = append(all, change(p))
	}
	return newBedWith(t, all...)
}

func change(p *policy.Plugin) policy.Change {
	return policy.Change{Key: policy.Key{Kind: policy.KindPlugins, Name: p.ID}, Index: 1, Created: 1, Object: p}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// without is the policy of newBed without a consumer.
func without(t testing.TB, config map[string]any, consumer string) *policy.Set {
	t.Helper()
	return newBed(t, config, policy.Change{Key: policy.Key{Kind: policy.KindConsumers, Name: consumer}}).set
}

func newBedWith(t testing.TB, more ...policy.Change) *bed {
	t.Helper()
	b := &bed{}
	all := append([]policy.Change{
		{Key: policy.Key{Kind: policy.KindConsumers, Name: "ann"}, Index: 1, Object: &policy.Consumer{Name: "ann", Groups: []string{"staff"}}},
		{Key: policy.Key{Kind: policy.KindConsumers, Name: "bob"}, Index: 1, Object: &policy.Consumer{Name: "bob", CustomID: "b-17"}},
	}, more...)
	set, rejected := policy.NewBuilder(policy.Options{}).Apply(1, all)
	for _, r := range rejected {
		t.Fatalf("rejected: %s", r.Problems.Error())
	}
	b.set = set
	v, err := tokens.New(tokens.Config{Policy: func() *policy.Set { return b.set }, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	b.verifier = v
	return b
}

// header is the header of a request.
type header map[string][]string

func (h header) Field(name string) (string, int) {
	for n, v := range h {
		if strings.EqualFold(n, name) && len(v) > 0 {
			return v[0], len(v)
		}
	}
	return "", 0
}

func bearing(token string) header { return header{"Authorization": {"Bearer " + token}} }

// request is one with a header.
func (b *bed) request(h header, target string) *policy.Request {
	path, _, err := uri.ParsePath(target, nil)
	if err != nil {
		panic(err)
	}
	return &policy.Request{Method: "GET", Host: "h", Port: 80, Path: &path, Client: netip.MustParseAddr("127.0.0.1"), Fields: h, Tokens: b.verifier, Now: noon}
}

// decide returns the verdict, and what an explanation says of the token.
func (b *bed) decide(r *policy.Request) (v policy.Verdict, note string) {
	route := b.set.Route(r)
	rec := &policy.Recorder{}
	b.set.Decide(r, &route, &v, rec)
	for _, s := range rec.Steps {
		if s.Step == "jwt" {
			note = s.Note
		}
	}
	return v, note
}

func (b *bed) show(token string) (policy.Verdict, string) {
	return b.decide(b.request(bearing(token), "/svc/x"))
}
