package tokens

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/policy"
)

const keysURL = "https://id.example/jwks"

// fakeServer answers for keysURL.
type fakeServer struct {
	mu     sync.Mutex
	body   string
	status int // 0 = it cannot be reached
	asked  []time.Time
}

func (s *fakeServer) RoundTrip(*http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, time.Now())
	if s.status == 0 {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: s.status, Body: io.NopCloser(strings.NewReader(s.body)), Header: http.Header{}}, nil
}

func (s *fakeServer) answer(status int, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.body = status, body
}

func (s *fakeServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// signer is an Ed25519 key of the tests.
type signer struct {
	id  string
	key ed25519.PrivateKey
}

func newSigner(id string) signer {
	return signer{id, ed25519.NewKeyFromSeed(bytes.Repeat([]byte(id[:1]), 32))}
}

func jwks(all ...signer) string {
	var texts []string
	for _, s := range all {
		x := base64.RawURLEncoding.EncodeToString(s.key.Public().(ed25519.PublicKey))
		texts = append(texts, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":%q,"x":%q}`, s.id, x))
	}
	return `{"keys":[` + strings.Join(texts, ",") + `]}`
}

// token is one that holds for long.
func (s signer) token() string {
	return signed(fmt.Sprintf(`{"alg":"EdDSA","kid":%q}`, s.id), `{"exp":4102444800}`, func(text []byte) []byte { return ed25519.Sign(s.key, text) })
}

func signed(header, claims string, by func(text []byte) []byte) string {
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(header)) + "." + encode([]byte(claims))
	return text + "." + encode(by([]byte(text)))
}

// bySecret is the signature of HS256 by aSecret.
func bySecret(text []byte) []byte {
	h := hmac.New(sha256.New, []byte(aSecret))
	h.Write(text)
	return h.Sum(nil)
}

const aSecret = "a-secret-of-32-bytes-for-a-test-"

// following is a Verifier of a plugin with keysURL.
type following struct {
	*Verifier
	server *fakeServer
	rules  *policy.TokenRules
	set    atomic.Pointer[policy.Set]
	stop   context.CancelFunc
	told   atomic.Int64 // times that the keys changed
}

func follow(t *testing.T, dir string, server *fakeServer) *following {
	t.Helper()
	f := &following{server: server}
	plugin := &policy.Plugin{ID: "p", Name: "jwt", Config: map[string]any{"jwks_url": keysURL, "refresh": "10m"}}
	set, rejected := policy.NewBuilder(policy.Options{}).Apply(1, []policy.Change{{Key: policy.Key{Kind: policy.KindPlugins, Name: "p"}, Index: 1, Object: plugin}})
	if len(rejected) > 0 {
		t.Fatal(rejected[0].Problems)
	}
	f.set.Store(set)
	f.rules = set.TokenRules()[0]
	v, err := New(Config{Policy: f.set.Load, DataDir: dir, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	v.fetcher.secure.Transport = server
	v.OnChange(func() { f.told.Add(1) })
	f.Verifier = v
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := v.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	f.stop = func() { cancel(); <-ended }
	synctest.Wait()
	return f
}

// check verifies a token of a signer, and compares the error.
func (f *following) check(t *testing.T, when string, s signer, want string) {
	t.Helper()
	_, err := f.Verify(f.rules, s.token(), time.Now())
	if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
		t.Errorf("%s: %s: got %v, want %q", when, s.id, err, want)
	}
}

const unknown = "no such key is known"

func TestKeysAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newSigner("a"), newSigner("b")
		server := &fakeServer{}
		f := follow(t, "", server)
		defer func() { f.stop() }()
		f.check(t, "before any answer", a, policy.ErrNoKeys.Error())
		server.answer(200, jwks(a))
		time.Sleep(askEvery)
		synctest.Wait()
		f.check(t, "after the first", a, "")
		token, err := f.Verify(f.rules, a.token(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Holds(f.rules, token, time.Now()); err != nil {
			t.Error(err)
		}

		// A key comes: nobody waits, and after 30 s at most it is there.
		server.answer(200, jwks(a, b))
		f.check(t, "a key that is new", b, unknown)
		time.Sleep(askEvery + time.Second)
		synctest.Wait()
		f.check(t, "30 s later", b, "")
		f.check(t, "the former one as well", a, "")
		if err := f.Holds(f.rules, token, time.Now()); err != nil {
			t.Errorf("what lasts was cut by a key that came: %v", err)
		}

		// A key goes: with the next refresh what it signed is refused.
		server.answer(200, jwks(b))
		f.check(t, "until then it holds", a, "")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		f.check(t, "a key that is gone", a, unknown)
		if err := f.Holds(f.rules, token, time.Now()); !errors.Is(err, errKeyGone) {
			t.Errorf("what lasts by a key that is gone: %v", err)
		}
		if n := f.told.Load(); n != 3 {
			t.Errorf("told of %d changes, want 3", n)
		}
	})
}

// Tokens with made-up key ids ask for one fetch in 30 s, however many they are.
func TestAFloodOfKeyIDsFetchesOnceIn30Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, x := newSigner("a"), newSigner("x")
		server := &fakeServer{status: 200, body: jwks(a)}
		f := follow(t, "", server)
		defer func() { f.stop() }()
		before := server.count()
		const minutes = 5
		for range minutes * 60 * 2 {
			f.check(t, "flood", x, unknown)
			time.Sleep(500 * time.Millisecond)
		}
		f.stop()
		if n := server.count() - before; n > minutes*2+1 || n < minutes*2-1 {
			t.Errorf("%d fetches in %d minutes, want one in 30 s", n, minutes)
		}
		for i := 1; i < len(server.asked); i++ {
			if d := server.asked[i].Sub(server.asked[i-1]); d < askEvery {
				t.Errorf("fetch %d came %s after the one before", i, d)
			}
		}
		f.check(t, "beside it", a, "")
	})
}

func TestBadAnswersKeepTheLastGoodSet(t *testing.T) {
	private := strings.Replace(jwks(newSigner("b")), `"x"`, `"d":"AAAA","x"`, 1)
	for name, answer := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"no connection":            {0, "", "connection refused"},
		"an error":                 {500, "", "it answers 500"},
		"a redirect":               {302, "", "redirects are not followed"},
		"an empty body":            {200, "", "no JSON"},
		"a page":                   {200, "<html>", "no JSON"},
		"no keys":                  {200, `{"keys":[]}`, "without keys"},
		"keys that are no list":    {200, `{"keys":{}}`, "wrong type"},
		"private keys alone":       {200, private, "none that tokens"},
		"secrets alone":            {200, `{"keys":[{"kty":"oct","k":"AAAA"}]}`, "none that tokens"},
		"too many keys":            {200, `{"keys":[` + strings.Repeat(`{},`, 64) + `{}]}`, "65 keys"},
		"a member twice":           {200, `{"keys":[],"keys":` + jwks(newSigner("b"))[8:], "twice"},
		"an answer without an end": {200, strings.Repeat(" ", maxAnswer+1), "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newSigner("a")
				server := &fakeServer{status: 200, body: jwks(a)}
				f := follow(t, "", server)
				defer func() { f.stop() }()
				server.answer(answer.status, answer.body)
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				f.check(t, "after it", a, "")
				if s := f.Status(); len(s) != 1 || !strings.Contains(s[0].Problem, answer.want) || s[0].Keys != 1 {
					t.Errorf("status %+v, want %q", s, answer.want)
				}
				n := server.count()
				time.Sleep(time.Hour)
				if more := server.count() - n; more < 60 || more > 3600/22 {
					t.Errorf("asked %d times in an hour, want about every 30 s", more)
				}
				server.answer(200, jwks(a))
				time.Sleep(askEvery)
				synctest.Wait()
				if s := f.Status(); s[0].Problem != "" || time.Since(s[0].Fetched) > askEvery {
					t.Errorf("status afterwards: %+v", s)
				}
			})
		})
	}
}

// Keys of kinds that are not known here do not spoil the others (RFC 7517 5).
func TestKeysOfOtherKindsAreLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newSigner("a")
		more := strings.TrimSuffix(jwks(a), "]}") + `,{"kty":"OKP","crv":"X25519","x":"AAAA","kid":"c"},{"kty":"PQC"},{"kty":"oct","k":"AAAA","kid":"a"},{"kty":"EC","use":"enc"}]}`
		f := follow(t, "", &fakeServer{status: 200, body: more})
		defer func() { f.stop() }()
		f.check(t, "beside others", a, "")
		if s := f.Status(); s[0].Keys != 1 || s[0].LeftOut != 4 {
			t.Errorf("%+v", s[0])
		}
	})
}

func TestTheLastGoodSetSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := newSigner("a")
		private := strings.Replace(jwks(newSigner("b")), `"x"`, `"d":"c2VjcmV0","x"`, 1)
		server := &fakeServer{status: 200, body: strings.TrimSuffix(jwks(a), "]}") + "," + private[len(`{"keys":[`):]}
		f := follow(t, dir, server)
		f.check(t, "in the first life", a, "")
		f.stop()
		server.answer(0, "")
		time.Sleep(time.Hour)
		f = follow(t, dir, server)
		defer func() { f.stop() }()
		f.check(t, "in the second, without the server", a, "")
		s := f.Status()[0]
		if !s.Kept || s.Problem == "" || s.Keys != 1 || time.Since(s.Fetched) < time.Hour {
			t.Errorf("status %+v", s)
		}
		if text := readAll(t, dir); strings.Contains(text, "c2VjcmV0") || !strings.Contains(text, `"a"`) {
			t.Errorf("kept: %s", text)
		}
	})
}

func TestAKeptFileThatIsBadIsNotUsed(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "no JSON": "x", "of another URL": `{"url":"https://evil","keys":` + jwks(newSigner("a"))[8:],
		"without keys": `{"url":"` + keysURL + `","keys":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				server := &fakeServer{}
				f := follow(t, "", server)
				f.cfg.DataDir = dir
				writeFile(t, (&source{verifier: f.Verifier, url: keysURL}).file(), text)
				f.stop()
				f = follow(t, dir, server)
				defer func() { f.stop() }()
				f.check(t, "with it", newSigner("a"), policy.ErrNoKeys.Error())
			})
		})
	}
}

// A URL that the policy names no more is not asked any more.
func TestAURLIsFollowedAsLongAsItIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &fakeServer{status: 200, body: jwks(newSigner("a"))}
		f := follow(t, "", server)
		defer func() { f.stop() }()
		named := f.set.Swap(nil)
		f.PolicyChanged()
		synctest.Wait()
		n := server.count()
		time.Sleep(time.Hour)
		if server.count() != n || len(f.Status()) != 0 {
			t.Errorf("asked %d times more, status %+v", server.count()-n, f.Status())
		}
		f.set.Store(named)
		f.PolicyChanged()
		synctest.Wait()
		f.check(t, "named again", newSigner("a"), "")
	})
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	var r remembered
	r.init()
	rules := &policy.TokenRules{}
	now := time.Unix(1e9, 0)
	at := func(i int) identity { return identify(rules, fmt.Sprint(i)) }
	for i := range maxRemembered * 2 {
		r.add(at(i), nil, &policy.Token{Expires: now.Add(time.Duration(i%100+1) * time.Second)}, now)
	}
	if n := r.len(); n != maxRemembered {
		t.Errorf("%d are remembered, want %d", n, maxRemembered)
	}
	if r.find(at(maxRemembered*2-1), nil) == nil || r.find(at(maxRemembered*2-1), &keys{}) != nil {
		t.Error("the newest is forgotten, or is good for other keys")
	}
	r.sweep(now.Add(50*time.Second), []*policy.TokenRules{rules})
	if n := r.len(); n > maxRemembered*6/10 || n < maxRemembered*4/10 {
		t.Errorf("%d are left of %d when half have run out", n, maxRemembered)
	}
	r.sweep(now, nil)
	if n := r.len(); n != 0 {
		t.Errorf("%d are left of rules that are gone", n)
	}
}

// Tokens that a key is known for ask for nothing, whether they name it or not.
func TestATokenOfAKnownKeyFetchesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newSigner("a")
		server := &fakeServer{status: 200, body: jwks(a)}
		f := follow(t, "", server)
		defer func() { f.stop() }()
		own := *f.rules
		own.Keys = readKeys(nil, []string{aSecret}, nil, func(string, string, ...any) { t.Error("a bad secret") })
		narrow := *f.rules
		narrow.Algorithms = []string{"RS256"}
		byKey := func(text []byte) []byte { return ed25519.Sign(a.key, text) }
		before := server.count()
		for n := range 16 { // each another one
			claims := fmt.Sprintf(`{"exp":4102444800,"jti":"%d"}`, n)
			if _, err := f.Verify(f.rules, signed(`{"alg":"EdDSA"}`, claims, byKey), time.Now()); err != nil {
				t.Errorf("a key that is not named: %v", err)
			}
			if _, err := f.Verify(&own, signed(`{"alg":"HS256"}`, claims, bySecret), time.Now()); err != nil {
				t.Errorf("a secret of the plugin's own: %v", err)
			}
			if _, err := f.Verify(&narrow, signed(`{"alg":"EdDSA"}`, claims, byKey), time.Now()); err == nil {
				t.Error("an algorithm that does not count counts")
			}
			time.Sleep(15 * time.Second)
		}
		if n := server.count() - before; n > 0 {
			t.Errorf("%d fetches in 4 minutes, want none", n)
		}
	})
}

// A token that the plugin's own keys verify waits for no set that nobody has read yet.
func TestAKeyOfThePluginsOwnWaitsForNoSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, "", &fakeServer{}) // which is away
		defer func() { f.stop() }()
		own := *f.rules
		own.Keys = readKeys(nil, []string{aSecret}, nil, func(string, string, ...any) { t.Error("a bad secret") })
		if _, err := f.Verify(&own, signed(`{"alg":"HS256"}`, `{"exp":4102444800}`, bySecret), time.Now()); err != nil {
			t.Errorf("a secret of the plugin's own, while the provider is away: %v", err)
		}
	})
}

// An issuer may put as many groups into each token as fit.
func TestWhatIsRememberedIsBoundedInBytes(t *testing.T) {
	var r remembered
	r.init()
	rules := &policy.TokenRules{}
	now := time.Unix(1e9, 0)
	heavy := &policy.Token{Expires: now.Add(time.Hour), Groups: slices.Repeat([]string{"ab"}, 1500)}
	const least = 1500 * 2 * 18 // bytes of one: each group in the token and in its bearer, of 16 and its text
	for i := range 4000 {
		r.add(identify(rules, fmt.Sprint(i)), nil, heavy, now)
	}
	if n := r.len(); n*least > 64<<20 || n < 100 {
		t.Errorf("%d are remembered, of %d bytes each at least", n, least)
	}
	for i := range 4000 { // the last ones again, which take no more room
		r.add(identify(rules, "3999"), nil, heavy, now.Add(time.Duration(i)))
	}
	light := &policy.Token{Expires: now.Add(time.Hour)}
	for i := range maxRemembered {
		r.add(identify(rules, fmt.Sprint("light ", i)), nil, light, now)
	}
	if n := r.len(); n < maxRemembered/2 {
		t.Errorf("%d small ones are remembered in the place of large ones, of %d that have room", n, maxRemembered)
	}
	if r.sweep(now.Add(2*time.Hour), nil); r.len() > 0 {
		t.Errorf("%d are left", r.len())
	}
	for i := range r.shards {
		if n := r.shards[i].bytes; n != 0 {
			t.Errorf("an empty shard counts %d bytes", n)
		}
	}
}

// Of two members whose names differ in their case the one that a JWK has is read.
func TestTheMembersOfAKeyAreReadAsTheyAreSpelled(t *testing.T) {
	a, b := newSigner("a"), newSigner("b")
	one, other := strings.TrimSuffix(strings.TrimPrefix(jwks(a), `{"keys":[`), `]}`), strings.TrimPrefix(jwks(b), `{"keys":`)
	for _, text := range []string{
		`{"keys":[` + one + `],"Keys":` + other,
		`{"KEYS":` + strings.TrimSuffix(other, "}") + `,"keys":[` + one + `]}`,
		strings.TrimSuffix(one, "}") + `,"KID":"b","X":"","Use":"enc","Alg":"RS256","x5c":7}`,
		`{"keys":[` + strings.TrimSuffix(one, "}") + `,"KID":"b"}]}`,
	} {
		all, err := parseKeys(text)
		if err != nil || len(all) != 1 || all[0].id != "a" || !a.key.Public().(ed25519.PublicKey).Equal(all[0].material) {
			t.Errorf("%s is read as %+v, %v", text, all, err)
		}
	}
}
