package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/hashicorp/consul/api"
)

var rowJWT = &row{
	name: "jwt", unit: "µs",
	title:   "GET 1 KiB, 64 connections, of a browser with a token that was seen before: cors, jwt and a rate limit: CPU per request",
	aim:     "at most 1.15 of without",
	who:     []*contestant{lictorJWT, lictorBearer},
	measure: load{path: smallPath, size: smallSize, connections: 64, tokens: 1, origin: pageOrigin}.cpuPerRequest,
}

var rowJWTFirst = &row{
	name: "jwt-first", unit: "µs",
	title:   "the same with tokens (ES256) that were not seen before",
	aim:     "reported",
	who:     []*contestant{lictorJWT, lictorBearer},
	measure: load{path: smallPath, size: smallSize, connections: 64, tokens: manyTokens, origin: pageOrigin}.cpuPerRequest,
}

// pageOrigin is where the page is from that asks.
const pageOrigin = "https://app.bench.test"

// manyTokens are so many that of the 32,768 which lictor remembers hardly one is
// shown again before it is forgotten.
const manyTokens = 100_000

// lictorBearer is lictor without policy, sent the tokens nevertheless.
var lictorBearer = &contestant{name: "the same without policy", start: lictor.start}

// jwtPrefix is where lictorJWT, and no other, finds objects.
const jwtPrefix = "bench-jwt/"

// lictorJWT lets in by tokens, and lets pages of another origin read.
var lictorJWT = &contestant{
	name: "lictor with cors and jwt",
	start: func(b *bed, address string) (*proxy, error) {
		if err := writeJWT(b.client.KV()); err != nil {
			return nil, err
		}
		return startLictor(b, "lictor", address, fmt.Sprintf("policy {\n  prefix = %q\n}\n", jwtPrefix))
	},
	ready: func(ctx context.Context, p *proxy) error {
		return p.until(ctx, func() error { return fetch(ctx, "http://"+p.address+smallPath, "", http.StatusUnauthorized, -1) })
	},
}

// tokenKey is what the tokens are signed with.
var tokenKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// accessToken is a token that is shown beside the access key, so that whoever
// asks for either answers.
var accessToken = sync.OnceValue(func() string {
	all, err := newTokens(1)
	if err != nil {
		panic(err)
	}
	return all[0]
})

// newTokens returns n tokens.
func newTokens(n int) ([]string, error) {
	all := make([]string, n)
	for i := range all {
		var err error
		all[i], err = jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
			"iss": "https://id.bench.test/", "aud": "bench", "sub": "caller", "jti": fmt.Sprintf("%032x", i),
			"email": "caller@bench.test", "exp": time.Now().Add(24 * time.Hour).Unix(),
		}).SignedString(tokenKey())
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// writeJWT puts the objects into Consul KV.
func writeJWT(kv *api.KV) error {
	der, err := x509.MarshalPKIXPublicKey(tokenKey().Public())
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"keys": []string{string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}, "issuer": "https://id.bench.test/",
		"audience": []string{"bench"}, "consumer_claim": "sub", "claims_to_headers": []string{"X-Mail: email"},
	})
	if err != nil {
		return err
	}
	for key, value := range map[string]string{
		"consumers/caller":      `{"name": "caller", "groups": ["callers"]}`,
		"plugins/login":         fmt.Sprintf(`{"id": "login", "name": "jwt", "config": %s}`, config),
		"plugins/pages":         fmt.Sprintf(`{"id": "pages", "name": "cors", "config": {"origins": [%q], "credentials": true}}`, pageOrigin),
		"plugins/limit":         `{"id": "limit", "name": "rate-limiting", "config": {"seconds": 1000000, "hours": 1000000000}}`,
		"plugin-mappings/bench": fmt.Sprintf(`{"id": "bench", "api": %q, "plugins": ["pages", "login", "limit"]}`, service),
	} {
		if _, err := kv.Put(&api.KVPair{Key: jwtPrefix + "policy/" + key, Value: []byte(value)}, nil); err != nil {
			return fmt.Errorf("consul kv put %s: %w", key, err)
		}
	}
	return nil
}
