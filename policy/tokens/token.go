package tokens

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"lictor/policy"
)

// parsed is a token of which nothing is believed yet but its form.
type parsed struct {
	algorithm string
	id        string // of the key, "" if it names none
	claims    map[string]any
}

// parse reads a token as strictly as can be (RFC 7515, RFC 8725), before any
// signature is checked: what two readers could read in two ways is refused.
// algorithms are those that it may be signed by, nil for all that count.
func parse(text string, algorithms []string) (*parsed, error) {
	for i := range len(text) {
		if c := text[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return nil, errors.New("the token has a character that belongs into none")
		}
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("the token has %d parts, want the 3 of a signed one", len(parts))
	}
	if parts[2] == "" {
		return nil, errors.New("the token has no signature")
	}
	header, err := segment(parts[0])
	if err != nil {
		return nil, fmt.Errorf("the header of the token: %w", err)
	}
	p := &parsed{}
	if err := p.readHeader(header); err != nil {
		return nil, err
	}
	if len(algorithms) > 0 && !slices.Contains(algorithms, p.algorithm) {
		return nil, fmt.Errorf("the token is signed by %s, want %s", p.algorithm, strings.Join(algorithms, " or "))
	}
	if p.claims, err = segment(parts[1]); err != nil {
		return nil, fmt.Errorf("the claims of the token: %w", err)
	}
	return p, checkTimes(p.claims)
}

func segment(text string) (map[string]any, error) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("it is no base64url")
	}
	return readObject(data)
}

// types are those of tokens that are shown to get in (RFC 8725 3.11). Others, as
// of tokens that log out or prove possession, are signed by the same keys.
var types = []string{"jwt", "at+jwt", "application/jwt", "application/at+jwt"}

// readHeader reads what is needed of the header. Members that say where a key could
// be got from (jku, jwk, x5u, x5c) are not looked at.
func (p *parsed) readHeader(header map[string]any) error {
	for _, name := range []string{"crit", "b64", "enc", "zip", "cty"} {
		if _, has := header[name]; has {
			return fmt.Errorf("the token has %s in its header, which is not understood", name)
		}
	}
	var ok bool
	if p.algorithm, ok = header["alg"].(string); !ok || !slices.Contains(policy.TokenAlgorithms, p.algorithm) {
		return fmt.Errorf("the token is signed by the algorithm %.40q, which is none that counts", fmt.Sprint(header["alg"]))
	}
	if id, has := header["kid"]; has {
		if p.id, ok = id.(string); !ok {
			return errors.New("the kid of the token is no text")
		}
	}
	if kind, has := header["typ"]; has {
		if text, ok := kind.(string); !ok || !slices.Contains(types, strings.ToLower(text)) {
			return fmt.Errorf("the token is of the typ %.40q, want JWT or at+jwt", fmt.Sprint(kind))
		}
	}
	return nil
}

// latest is the end of the year 9999, which all who read times understand.
const latest = 253402300799

// checkTimes wants each time to be a number of seconds that is one: RFC 7519 leaves
// it to the reader what becomes of others.
func checkTimes(claims map[string]any) error {
	for _, name := range []string{"exp", "nbf", "iat"} {
		value, has := claims[name]
		if !has {
			continue
		}
		number, ok := value.(json.Number)
		if !ok {
			return fmt.Errorf("the token's %s is no number", name)
		}
		if n, err := number.Float64(); err != nil || math.IsNaN(n) || n < 0 || n > latest {
			return fmt.Errorf("the token's %s is no time", name)
		}
	}
	return nil
}

// signerOf returns the key that signed a token, of those that may have, or nil and what
// is wrong.
func signerOf(text string, p *parsed, candidates []key) (*key, error) {
	if len(candidates) == 0 {
		return nil, fmt.Errorf("the token is signed by %s with the key %.80q, and no such key is known", p.algorithm, p.id)
	}
	for i := range candidates[:min(len(candidates), maxTried)] {
		if checkSignature(text, p.algorithm, candidates[i].material) == nil {
			return &candidates[i], nil
		}
	}
	return nil, errors.New("the token's signature is wrong")
}

// accept checks what a token claims whose signature is good.
func accept(rules *policy.TokenRules, p *parsed, signer *key, now time.Time) (*policy.Token, error) {
	claims := jwt.MapClaims(p.claims)
	options := []jwt.ParserOption{jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(rules.Leeway),
		jwt.WithTimeFunc(func() time.Time { return now }), jwt.WithAudience(rules.Audiences...)}
	if rules.Issuer != "" {
		options = append(options, jwt.WithIssuer(rules.Issuer))
	}
	if err := jwt.NewValidator(options...).Validate(claims); err != nil {
		return nil, errors.New(strings.ReplaceAll(err.Error(), "\n", ", "))
	}
	return newToken(rules, claims, signer.sum)
}

// checkSignature checks a signature by one key (RFC 7515 5.2).
func checkSignature(text, algorithm string, key any) error {
	method := jwt.GetSigningMethod(algorithm)
	dot := strings.LastIndexByte(text, '.')
	signature, err := base64.RawURLEncoding.Strict().DecodeString(text[dot+1:])
	if err != nil || method == nil || method.Alg() != algorithm {
		return errors.New("the signature cannot be read")
	}
	return method.Verify(text[:dot], signature, key)
}

// newToken takes what is wanted out of the claims.
func newToken(rules *policy.TokenRules, claims jwt.MapClaims, signer [32]byte) (*policy.Token, error) {
	t := &policy.Token{Key: signer, Settings: rules.Settings}
	if exp, err := claims.GetExpirationTime(); err == nil && exp != nil {
		t.Expires = exp.Add(rules.Leeway)
	}
	if nbf, err := claims.GetNotBefore(); err == nil && nbf != nil {
		t.NotBefore = nbf.Add(-rules.Leeway)
	}
	var err error
	if t.Consumer, err = consumerClaim(claims, rules.ConsumerClaim); err != nil {
		return nil, err
	}
	if t.Groups, err = groupsClaim(claims, rules.GroupsClaim); err != nil {
		return nil, err
	}
	for _, h := range rules.Headers {
		value, err := textClaim(claims, h.Value)
		if err != nil {
			return nil, err
		}
		t.Headers = append(t.Headers, policy.ClaimHeader{Name: h.Name, Value: value})
	}
	return t, nil
}
