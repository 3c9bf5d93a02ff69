package tokens

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/MicahParks/jwkset"

	"lictor/policy"
)

func init() { policy.RegisterKeyReader(readKeys) }

// key is what a token may be signed with. It is immutable.
type key struct {
	id         string   // "" = it has none
	algorithms []string // that it is for
	material   any      // as golang-jwt takes it
	sum        [32]byte // of the material
}

// keys are those of a configuration, or of a set that was fetched. They are behind
// a pointer, which fmt shows as an address: some are secrets.
type keys struct{ all []key }

const (
	// maxKeys bounds the keys of a configuration or a set.
	maxKeys = 64
	// maxTried bounds the signatures that are checked for one token: by keys of
	// the same id, or of none.
	maxTried = 4
)

// fitting returns the keys that may have signed a token by an algorithm: those with
// its key id, for which named is true; else those that have none, or of a token
// without an id any.
func (k *keys) fitting(id, algorithm string) (fit []key, named bool) {
	if k == nil {
		return nil, false
	}
	var others []key
	for _, one := range k.all {
		switch {
		case !slices.Contains(one.algorithms, algorithm):
		case one.id == id && id != "":
			fit = append(fit, one)
		case one.id == "" || id == "":
			others = append(others, one)
		}
	}
	if len(fit) > 0 {
		return fit, true
	}
	return others, false
}

// same reports whether two sets are of the same keys for the same uses.
func (k *keys) same(other *keys) bool {
	return k != nil && slices.EqualFunc(k.all, other.all, func(a, b key) bool {
		return a.id == b.id && a.sum == b.sum && slices.Equal(a.algorithms, b.algorithms)
	})
}

// has reports whether a key is among them.
func (k *keys) has(sum [32]byte) bool {
	return k != nil && slices.ContainsFunc(k.all, func(one key) bool { return one.sum == sum })
}

// readKeys is a [policy.KeyReader].
func readKeys(texts, secrets, algorithms []string, wrong func(field, format string, args ...any)) any {
	all := &keys{}
	for i, text := range texts {
		found, err := parseKeys(text)
		if err != nil {
			wrong(fmt.Sprintf("config.keys[%d]", i), "%v", err)
		}
		all.all = append(all.all, found...)
	}
	for i, text := range secrets {
		one, err := newSecret(text)
		if err != nil {
			wrong(fmt.Sprintf("config.secrets[%d]", i), "%v", err)
		}
		all.all = append(all.all, one)
	}
	if len(all.all) > maxKeys {
		wrong("config.keys", "are %d, want at most %d", len(all.all), maxKeys)
	}
	alike := make(map[string]int) // by id and algorithm
	for _, one := range all.all {
		for _, a := range one.algorithms {
			if alike[one.id+" "+a]++; alike[one.id+" "+a] == maxTried+1 {
				wrong("config.keys", "more than %d for %s have the same kid, or none: give each a kid of its own", maxTried, a)
			}
		}
	}
	if len(algorithms) > 0 && !slices.ContainsFunc(all.all, func(one key) bool {
		return slices.ContainsFunc(one.algorithms, func(a string) bool { return slices.Contains(algorithms, a) })
	}) && len(all.all) > 0 {
		wrong("config.algorithms", "none of them is one that the keys are for")
	}
	return all
}

// parseKeys reads PEM, a JWK or a JWK set. An error repeats nothing of the text.
func parseKeys(text string) ([]key, error) {
	text = strings.TrimSpace(text)
	switch {
	case strings.HasPrefix(text, "{"):
		return parseJWKs([]byte(text))
	case strings.HasPrefix(text, "-----BEGIN"):
		return parsePEM([]byte(text))
	}
	return nil, errors.New("is no key, want a public key in PEM, a JWK or a JWK set")
}

func parsePEM(text []byte) (all []key, err error) {
	for len(strings.TrimSpace(string(text))) > 0 {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil, errors.New("is no PEM throughout")
		}
		var public any
		switch block.Type {
		case "PUBLIC KEY":
			public, err = x509.ParsePKIXPublicKey(block.Bytes)
		case "RSA PUBLIC KEY":
			public, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case "CERTIFICATE":
			var c *x509.Certificate
			if c, err = x509.ParseCertificate(block.Bytes); err == nil {
				public = c.PublicKey
			}
		default:
			return nil, fmt.Errorf("is a PEM block %.40q, want PUBLIC KEY or CERTIFICATE", block.Type)
		}
		if err != nil {
			return nil, errors.New("is a PEM block that cannot be read as a key")
		}
		one, err := newKey("", "", public)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// parseJWKs reads a JWK or a JWK set that an operator wrote: each key must be good.
func parseJWKs(text []byte) (all []key, err error) {
	set, err := readSet(text)
	if err != nil {
		return nil, err
	}
	for i := range set {
		one, err := newJWK(&set[i])
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		all = append(all, one)
	}
	return all, nil
}

// readSet reads the members of a JWK set, or the one of a JWK (RFC 7517).
func readSet(text []byte) ([]jwkset.JWKMarshal, error) {
	object, err := readObject(text)
	if err != nil {
		return nil, fmt.Errorf("is no JWK set: %w", err)
	}
	list := []any{object}
	if members, isSet := object["keys"]; isSet {
		if list, isSet = members.([]any); !isSet {
			return nil, errMember
		}
	}
	switch {
	case len(list) == 0:
		return nil, errors.New("is a JWK set without keys")
	case len(list) > maxKeys:
		return nil, fmt.Errorf("has %d keys, want at most %d", len(list), maxKeys)
	}
	all := make([]jwkset.JWKMarshal, len(list))
	for i, member := range list {
		if err := readJWK(&all[i], member); err != nil {
			return nil, err
		}
	}
	return all, nil
}

var errMember = errors.New("is no JWK set: a member is of the wrong type")

// readJWK reads the members of a JWK that are looked at. Others are not handed on: what
// reads them would take KID for kid as well, and the last of both.
func readJWK(to *jwkset.JWKMarshal, from any) error {
	object, ok := from.(map[string]any)
	if !ok {
		return errMember
	}
	known := make(map[string]any)
	for _, name := range []string{"kty", "use", "key_ops", "alg", "kid", "crv", "x", "y", "n", "e", "d", "k"} {
		if v, has := object[name]; has {
			known[name] = v
		}
	}
	text, err := json.Marshal(known)
	if err != nil || json.Unmarshal(text, to) != nil {
		return errMember
	}
	return nil
}

// newJWK makes a key of a JWK. Of its members those alone are looked at that say
// what the public key is and what it is for: a certificate in it, or the address of
// one, says nothing.
func newJWK(j *jwkset.JWKMarshal) (key, error) {
	switch {
	case j.KTY == jwkset.KtyOct || j.K != "":
		return key{}, errors.New("is a secret, which stands in config.secrets")
	case j.D != "":
		return key{}, errors.New("is a private key, want the public one")
	case j.USE != "" && j.USE != jwkset.UseSig:
		return key{}, errors.New("is not for signatures, by its use")
	case len(j.KEYOPS) > 0 && !slices.Contains(j.KEYOPS, jwkset.KeyOpsVerify):
		return key{}, errors.New("is not for verification, by its key_ops")
	case len(strings.TrimRight(j.E, "=")) > 6:
		return key{}, errors.New("has an exponent of more than 32 bits")
	}
	read, err := jwkset.NewJWKFromMarshal(public(j), jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{SkipMetadata: true})
	if err != nil {
		return key{}, fmt.Errorf("cannot be read: %.200s", err.Error())
	}
	return newKey(j.KID, string(j.ALG), read.Key())
}

// public is what is public of a JWK, and of use here.
func public(j *jwkset.JWKMarshal) jwkset.JWKMarshal {
	return jwkset.JWKMarshal{KTY: j.KTY, USE: j.USE, KEYOPS: j.KEYOPS, ALG: j.ALG, KID: j.KID, CRV: j.CRV, X: j.X, Y: j.Y, N: j.N, E: j.E}
}

// newKey makes a key of a public key. only is the one algorithm that it is for, ""
// if it does not say so.
func newKey(id, only string, public any) (key, error) {
	k := key{id: id, material: public}
	switch p := public.(type) {
	case *rsa.PublicKey:
		if n := p.N.BitLen(); n < 2048 || n > 8192 {
			return key{}, fmt.Errorf("is an RSA key of %d bits, want 2048 to 8192", n)
		}
		if p.E < 3 || p.E%2 == 0 || p.N.Bit(0) == 0 {
			return key{}, errors.New("is no good RSA key")
		}
		k.algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	case *ecdsa.PublicKey:
		of := map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[p.Curve.Params().BitSize]
		if of == "" {
			return key{}, errors.New("is on another curve than P-256, P-384 and P-521")
		}
		k.algorithms = []string{of}
	case ed25519.PublicKey:
		k.algorithms = []string{"EdDSA"}
	default:
		return key{}, errors.New("is no RSA, ECDSA or Ed25519 key")
	}
	if only != "" {
		if !slices.Contains(k.algorithms, only) {
			return key{}, fmt.Errorf("is for the algorithm %.40q, which is none of %s", only, strings.Join(k.algorithms, ", "))
		}
		k.algorithms = []string{only}
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return key{}, errors.New("is no good key")
	}
	k.sum = sha256.Sum256(append([]byte("public "), der...))
	return k, nil
}

// newSecret makes a key of a secret, for the algorithms that it is long enough for
// (RFC 7518 3.2).
func newSecret(text string) (key, error) {
	k := key{material: []byte(text), sum: sha256.Sum256([]byte("secret " + text))}
	for _, a := range []struct {
		name string
		size int
	}{{"HS256", 32}, {"HS384", 48}, {"HS512", 64}} {
		if len(text) >= a.size {
			k.algorithms = append(k.algorithms, a.name)
		}
	}
	switch {
	case text == policy.HiddenSecret:
		return k, errors.New("is what is shown in place of a secret, want the secret itself")
	case len(k.algorithms) == 0:
		return k, fmt.Errorf("has %d bytes, want at least 32", len(text))
	case strings.Contains(text, "-----BEGIN") || strings.HasPrefix(strings.TrimSpace(text), "{"):
		return k, errors.New("looks like a key: public keys are no secrets, and stand in config.keys")
	}
	return k, nil
}
