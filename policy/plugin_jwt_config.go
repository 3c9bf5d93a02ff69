package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"net/netip"

	"lictor/internal/field"
)

// jwtConfig is the configuration of a plugin jwt.
type jwtConfig struct {
	TokenRules
	headers  []string // that may hold the token
	cookies  []string
	params   []string // arguments of the query
	optional bool     // a token that names no consumer there is passes

	dropped     []string // names of Headers
	hide        []string // headers and arguments that the backend must not see
	hideCookies []string
}

// TokenAlgorithms are those that a token may be signed by (RFC 7518 3.1, RFC 8037).
// The last three are for secrets. There is no "none".
var TokenAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"}

// Times of a configuration.
const (
	defaultRefresh = 15 * time.Minute
	minRefresh     = 30 * time.Second
	maxRefresh     = 24 * time.Hour
	maxLeeway      = 10 * time.Minute
)

func (jwtAuth) settings() []Field {
	return []Field{
		{Name: "keys", Type: TypeList, Example: `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, Doc: "public keys that tokens are signed with, each in PEM or as JWK or JWK set"},
		{Name: "jwks_url", Example: "https://id.example.org/jwks.json", Doc: "JWK set that is fetched in the background; https, or http on this machine"},
		{Name: "refresh", Default: "15m", Example: "1h", Doc: "how often jwks_url is fetched, from 30s to 24h"},
		{Name: "secrets", Type: TypeList, Secret: true, Example: "a-shared-secret-of-32-bytes-or-more", Doc: "for HS256, HS384 and HS512, of at least 32, 48 and 64 bytes; whoever knows one makes tokens"},
		{Name: "algorithms", Type: TypeList, Default: "all that the keys are for", Example: "EdDSA", Doc: "that a token may be signed by: " + strings.Join(TokenAlgorithms, ", ")},
		{Name: "issuer", Default: "any", Example: "https://id.example.org/", Doc: "what iss of a token must be"},
		{Name: "audience", Type: TypeList, Default: "any", Example: "shop", Doc: "one of which must be in aud of a token"},
		{Name: "leeway", Default: "0s", Example: "30s", Doc: "how far clocks may be apart, at most 10m"},
		{Name: "header_names", Type: TypeList, Default: "Authorization", Example: "Authorization", Doc: "headers that may hold the token, behind the word Bearer in Authorization"},
		{Name: "cookie_names", Type: TypeList, Example: "session", Doc: "cookies that may hold the token"},
		{Name: "uri_param_names", Type: TypeList, Example: "jwt", Doc: "arguments of the query that may hold the token"},
		{Name: "consumer_claim", Example: "sub", Doc: "claim that is the custom_id or name of the consumer; a.b is b within a"},
		{Name: "consumer_optional", Type: TypeTruth, Default: "false", Example: "true", Doc: "a token that names no consumer there is passes"},
		{Name: "groups_claim", Example: "realm_access.roles", Doc: "claim with groups that the bearer is in as well: a list, or words of a text"},
		{Name: "claims_to_headers", Type: TypeList, Example: "X-User: sub", Doc: "headers that the backend gets, each with its claim; what clients send of them is removed"},
		{Name: "hide_credentials", Type: TypeTruth, Default: "false", Example: "true", Doc: "the token is not passed on"},
	}
}

func (p jwtAuth) compile(config map[string]any, wrong wrongFunc) any {
	given := readSettings(p.settings(), config, wrong)
	c := &jwtConfig{headers: []string{"Authorization"}, optional: given.truth("consumer_optional")}
	c.readWhere(given, wrong)
	c.readRules(given, wrong)
	c.readKeys(given, wrong)
	return c
}

// readWhere reads where a token may be.
func (c *jwtConfig) readWhere(given values, wrong wrongFunc) {
	if names, ok := given["header_names"].([]string); ok {
		c.headers = names
	}
	c.cookies, c.params = given.list("cookie_names"), given.list("uri_param_names")
	for _, names := range []struct {
		setting string
		list    []string
	}{{"header_names", c.headers}, {"cookie_names", c.cookies}} {
		for i, name := range names.list {
			if !isToken(name) {
				wrong(settingAt(names.setting, i), "%q is no name of a header or cookie", name)
			}
		}
	}
	if len(c.headers)+len(c.cookies)+len(c.params) == 0 {
		wrong("config.header_names", "is empty, and so are cookie_names and uri_param_names: want a place for the token")
	}
	if given.truth("hide_credentials") {
		c.hide, c.hideCookies = slices.Concat(c.headers, c.params), c.cookies
	}
}

// readRules reads what is demanded of a token.
func (c *jwtConfig) readRules(given values, wrong wrongFunc) {
	c.Issuer, c.Audiences = given.text("issuer"), given.list("audience")
	c.ConsumerClaim, c.GroupsClaim = given.text("consumer_claim"), given.text("groups_claim")
	c.Algorithms = given.list("algorithms")
	c.Leeway = duration(given, "leeway", 0, 0, maxLeeway, wrong)
	c.Refresh = duration(given, "refresh", defaultRefresh, minRefresh, maxRefresh, wrong)
	for i, a := range c.Algorithms {
		if !slices.Contains(TokenAlgorithms, a) {
			wrong(settingAt("algorithms", i), "is %q, want %s", a, alternatives(TokenAlgorithms))
		}
	}
	for i, a := range c.Audiences {
		if a == "" {
			wrong(settingAt("audience", i), "is empty")
		}
	}
	if c.optional && c.ConsumerClaim == "" {
		wrong("config.consumer_optional", "is about config.consumer_claim, which is missing")
	}
	for i, line := range given.list("claims_to_headers") {
		name, claim, _ := strings.Cut(line, ":")
		claim = strings.TrimSpace(claim)
		switch {
		case !isToken(name) || claim == "":
			wrong(settingAt("claims_to_headers", i), `is %q, want "HEADER: CLAIM"`, line)
		case isReserved(name):
			wrong(settingAt("claims_to_headers", i), "%q is a header that no claim may set", name)
		case slices.ContainsFunc(c.Headers, func(h ClaimHeader) bool { return field.Same(h.Name, name) }):
			wrong(settingAt("claims_to_headers", i), "%q is set already", name)
		}
		c.Headers = append(c.Headers, ClaimHeader{Name: name, Value: claim})
		c.dropped = append(c.dropped, name)
	}
}

// readKeys reads what tokens are verified with.
func (c *jwtConfig) readKeys(given values, wrong wrongFunc) {
	keys, secrets := given.list("keys"), given.list("secrets")
	if c.URL = given.text("jwks_url"); c.URL != "" {
		checkJWKSURL(c.URL, wrong)
	}
	if given["refresh"] != nil && c.URL == "" {
		wrong("config.refresh", "is about config.jwks_url, which is missing")
	}
	symmetric := func(a string) bool { return strings.HasPrefix(a, "HS") }
	switch {
	case len(keys)+len(secrets) == 0 && c.URL == "":
		wrong("config", "want at least one of keys, jwks_url and secrets")
	case len(secrets) == 0 && slices.ContainsFunc(c.Algorithms, symmetric):
		wrong("config.algorithms", "names one for secrets, and there are no secrets")
	case len(keys) == 0 && c.URL == "" && len(c.Algorithms) > 0 && !slices.ContainsFunc(c.Algorithms, symmetric):
		wrong("config.algorithms", "names none for secrets, and there are only secrets")
	}
	c.Settings = settingsSum(c)
	switch {
	case len(keys)+len(secrets) == 0:
	case keyReader == nil:
		wrong("config", "this program reads no keys")
	default:
		algorithms := c.Algorithms
		if c.URL != "" {
			algorithms = nil // there are other keys, which may be for others
		}
		c.Keys = keyReader(keys, secrets, algorithms, wrong)
	}
}

// settingsSum hashes what is demanded of a token, but for the keys.
func settingsSum(c *jwtConfig) [32]byte {
	text, err := json.Marshal([]any{c.URL, c.Algorithms, c.Issuer, c.Audiences, c.Leeway, c.ConsumerClaim, c.GroupsClaim, c.Headers})
	if err != nil {
		panic(err) // these types can always be written
	}
	return sha256.Sum256(text)
}

// checkJWKSURL refuses what keys must not come from: whoever changes them on the
// way makes tokens.
func checkJWKSURL(text string, wrong wrongFunc) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" || u.Opaque != "":
		wrong("config.jwks_url", "is %q, want an https URL", text)
	case u.User != nil:
		wrong("config.jwks_url", "has a user, which everybody would see who may see the policy")
	case u.Fragment != "":
		wrong("config.jwks_url", "has a fragment")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		wrong("config.jwks_url", "is %q, want https: http only leads to this machine", text)
	case len(text) > 2000:
		wrong("config.jwks_url", "has more than 2000 bytes")
	}
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback() || strings.EqualFold(host, "localhost")
}

// isReserved reports whether a header frames the message, says whose it is or
// where it came from, so that lictor alone sets it.
func isReserved(name string) bool {
	for _, prefix := range []string{"X-Consumer-", "X-Forwarded-", "X-WASP-", "X-Lictor-", "Proxy-", "Content-", "Sec-"} {
		if field.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.ContainsFunc([]string{"Host", "Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Expect", "Via",
		"Forwarded", "Max-Forwards", "X-Forwarded", "X-Real-IP", "X-Request-ID", "Cookie", "HTTP2-Settings"},
		func(own string) bool { return field.Same(own, name) })
}

// duration reads a setting that is a time.
func duration(given values, name string, without, least, most time.Duration, wrong wrongFunc) time.Duration {
	text := given.text(name)
	if text == "" {
		return without
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < least || d > most {
		wrong("config."+name, `is %q, want a time such as "30s", from %s to %s`, text, least, most)
	}
	return cmp.Or(d, without)
}
