//go:build integration

package integration_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// issuer is a provider of tokens and of the keys for them, on an address of its own.
type issuer struct {
	address string
	srv     *http.Server

	mu    sync.Mutex // guards what follows
	keys  map[string]*ecdsa.PrivateKey
	shown []string    // key ids
	asked []time.Time // when the keys were fetched
}

func startIssuer(t *testing.T, ids ...string) *issuer {
	t.Helper()
	s := &issuer{keys: make(map[string]*ecdsa.PrivateKey), shown: ids}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	s.srv = &http.Server{Handler: s}
	go s.srv.Serve(l) //nolint:errcheck // always ErrServerClosed
	t.Cleanup(func() { s.srv.Close() })
	return s
}

func (s *issuer) URL() string { return "http://" + s.address + "/jwks.json" }

// show has the keys of these ids in the set from now on.
func (s *issuer) show(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown = ids
}

func (s *issuer) fetches() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.asked...)
}

func (s *issuer) keyLocked(id string) *ecdsa.PrivateKey {
	if s.keys[id] == nil {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		s.keys[id] = k
	}
	return s.keys[id]
}

// ServeHTTP answers with the set.
func (s *issuer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, time.Now())
	var set jwkset.JWKSMarshal
	for _, id := range s.shown {
		k, err := jwkset.NewJWKFromKey(s.keyLocked(id).Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: id, USE: jwkset.UseSig}})
		if err != nil {
			panic(err)
		}
		set.Keys = append(set.Keys, k.Marshal())
	}
	_ = json.NewEncoder(w).Encode(set) // the client is here
}

// PEM is the public key of an id.
func (s *issuer) PEM(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	der, err := x509.MarshalPKIXPublicKey(s.keyLocked(id).Public())
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// token returns "Authorization: Bearer ..." by the key of an id.
func (s *issuer) token(t *testing.T, id string, holds time.Duration, more jwt.MapClaims) string {
	t.Helper()
	claims := jwt.MapClaims{"iss": "issuer", "aud": "mockbin", "sub": "ann", "exp": time.Now().Add(holds).Unix()}
	for name, v := range more {
		claims[name] = v
	}
	token := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	token.Header["kid"] = id
	s.mu.Lock()
	key := s.keyLocked(id)
	s.mu.Unlock()
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return "Authorization: Bearer " + text
}
