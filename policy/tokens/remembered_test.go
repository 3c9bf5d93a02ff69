package tokens_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"lictor/policy"
)

// full is a plugin that uses all that a token can say.
func full(more map[string]any) map[string]any {
	return with(map[string]any{
		"keys": []any{publicPEM("p256"), publicPEM("rsa")}, "issuer": "https://id", "audience": []any{"shop"}, "consumer_claim": "sub",
		"groups_claim": "roles", "claims_to_headers": []any{"X-User: sub", "X-Mail: email"}, "hide_credentials": true,
		"cookie_names": []any{"session"}, "uri_param_names": []any{"jwt"},
	}, more)
}

func fullToken() string {
	return sign("RS256", signers()["rsa"], `{"alg":"RS256","typ":"JWT","kid":"2026-05-01"}`,
		good(map[string]any{"email": "ann@example.org", "roles": []string{"staff", "eng"}, "iat": noon.Unix(), "jti": "0e8b6c3a-6f0b-4f0e-9c55-5d0c61a3a1f7"}))
}

// deciding returns what decides on a request with a token, which is remembered.
func deciding(t testing.TB, h header, target string) func() {
	t.Helper()
	b := newBed(t, full(nil))
	r := b.request(h, target)
	var v policy.Verdict
	run := func() {
		route := b.set.Route(r)
		if b.set.Decide(r, &route, &v, nil); !v.Allowed() {
			t.Fatalf("%+v", v)
		}
	}
	run()
	if v.Identity == nil || v.Identity.GroupsText != "staff, eng" || len(v.Claims) != 2 {
		t.Fatalf("steps are left out: %+v", v)
	}
	return run
}

func TestARememberedTokenCostsNoAllocation(t *testing.T) {
	text := fullToken()
	for name, run := range map[string]func(){
		"in a header":    deciding(t, bearing(text), "/svc"),
		"in a cookie":    deciding(t, header{"Cookie": {"a=b; session=" + text}}, "/svc"),
		"in an argument": deciding(t, header{}, "/svc?jwt="+text),
	} {
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
}

// oneField is a header of one field that costs what a real one does.
type oneField struct{ value string }

func (f oneField) Field(name string) (string, int) {
	if name == "Authorization" {
		return f.value, 1
	}
	return "", 0
}

func BenchmarkRememberedToken(b *testing.B) {
	run := func() func() {
		bed := newBed(b, full(nil))
		r := bed.request(nil, "/svc")
		r.Fields = oneField{"Bearer " + fullToken()}
		var v policy.Verdict
		return func() {
			route := bed.set.Route(r)
			if bed.set.Decide(r, &route, &v, nil); !v.Allowed() {
				b.Fatalf("%+v", v)
			}
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

func BenchmarkTokenSeenFirst(b *testing.B) {
	for _, of := range []struct{ alg, key string }{{"RS256", "rsa"}, {"ES256", "p256"}} {
		b.Run(of.alg, func(b *testing.B) {
			many := make([]string, 512)
			for i := range many {
				many[i] = sign(of.alg, signers()[of.key], fmt.Sprintf(`{"alg":%q}`, of.alg), good(map[string]any{"jti": i, "roles": []string{"eng"}}))
			}
			var bed *bed
			b.ReportAllocs()
			var v policy.Verdict
			for i := 0; b.Loop(); i++ {
				if i%len(many) == 0 {
					b.StopTimer()
					bed = newBed(b, full(nil)) // which remembers nothing
					b.StartTimer()
				}
				r := bed.request(nil, "/svc")
				r.Fields = oneField{"Bearer " + many[i%len(many)]}
				route := bed.set.Route(r)
				if bed.set.Decide(r, &route, &v, nil); !v.Allowed() {
					b.Fatalf("%+v", v)
				}
			}
		})
	}
}

// What is remembered is no way round the time, the rules or the consumers.
func TestARememberedTokenIsNoWayRound(t *testing.T) {
	b := newBed(t, full(nil))
	text := fullToken()
	ask := func(at time.Time) policy.Reason {
		r := b.request(bearing(text), "/svc")
		r.Now = at
		v, _ := b.decide(r)
		return v.Reason
	}
	if got := ask(noon); got != "" {
		t.Fatal(got)
	}
	if got := ask(noon.Add(time.Hour)); got != policy.ReasonBadCredentials {
		t.Errorf("after its end: got %q", got)
	}
	before := b.set
	for name, config := range map[string]map[string]any{
		"another issuer": full(map[string]any{"issuer": "x"}), "another audience": full(map[string]any{"audience": []any{"x"}}),
		"other keys": full(map[string]any{"keys": []any{publicPEM("rsa2")}}), "another algorithm": full(map[string]any{"algorithms": []any{"PS256"}}),
	} {
		b.set = newBed(t, config).set
		if got := ask(noon); got != policy.ReasonBadCredentials {
			t.Errorf("%s: got %q", name, got)
		}
	}
	b.set = without(t, full(nil), "ann")
	if got := ask(noon); got != policy.ReasonBadCredentials {
		t.Errorf("without its consumer: got %q", got)
	}
	b.set = before
	if got := ask(noon); got != "" {
		t.Errorf("back again: got %q", got)
	}
}

// The groups of the consumer are those of now, not of when the token was seen first.
func TestARememberedTokenFollowsItsConsumer(t *testing.T) {
	b := newBed(t, full(nil))
	text := fullToken()
	if v, _ := b.show(text); v.Identity.GroupsText != "staff, eng" {
		t.Fatalf("%+v", v.Identity)
	}
	changed := policy.Change{Key: policy.Key{Kind: policy.KindConsumers, Name: "ann"}, Index: 2, Object: &policy.Consumer{Name: "ann", Groups: []string{"new"}}}
	b.set = newBed(t, full(nil), changed).set
	if v, _ := b.show(text); v.Identity == nil || v.Identity.GroupsText != "new, staff, eng" {
		t.Errorf("%+v", v.Identity)
	}
}

func TestManyGoroutinesShowOneToken(t *testing.T) {
	b := newBed(t, full(nil))
	texts := []string{fullToken(), token(nil), "x.y.z"}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 200 {
				v, note := b.show(texts[(i+n)%len(texts)])
				if v.Allowed() != ((i+n)%len(texts) < 2) {
					t.Errorf("%d: %+v %s", (i+n)%len(texts), v.Reason, note)
				}
			}
		})
	}
	wg.Wait()
}
