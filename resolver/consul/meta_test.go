package consul

import (
	"slices"
	"testing"
	"time"

	"lictor/resolver"
)

// TestProtocol: contract 2, lictor-scheme and lictor-protocol.
func TestProtocol(t *testing.T) {
	tests := []struct {
		name     string
		scheme   string
		protocol string
		tls      bool
		want     resolver.Protocol
		problems int
	}{
		{"nothing said", "", "", false, resolver.HTTP1, 0},
		{"http", "http", "http1", false, resolver.HTTP1, 0},
		{"https", "https", "", true, resolver.HTTP1, 0},
		{"h2c", "", "h2c", false, resolver.H2C, 0},
		{"h2c over http", "http", "h2c", false, resolver.H2C, 0},
		{"h2 means TLS", "", "h2", true, resolver.H2, 0},
		{"h2 over https", "https", "h2", true, resolver.H2, 0},
		{"h2 over http contradicts itself", "http", "h2", false, resolver.HTTP1, 1},
		{"h2c over https contradicts itself", "https", "h2c", true, resolver.HTTP1, 1},
		{"an unknown scheme", "ftp", "", false, resolver.HTTP1, 1},
		{"an unknown protocol", "https", "h3", true, resolver.HTTP1, 1},
		{"both unknown", "HTTPS", "H2", false, resolver.HTTP1, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var p problems
			meta := map[string]string{}
			if tt.scheme != "" {
				meta[resolver.MetaScheme] = tt.scheme
			}
			if tt.protocol != "" {
				meta[resolver.MetaProtocol] = tt.protocol
			}
			tls, got := resolver.MetaWrong(p.add).Protocol("n/a", meta)
			if tls != tt.tls || got != tt.want || len(p.texts) != tt.problems {
				t.Errorf("got TLS %v, %v, problems %q, want TLS %v, %v, %d problems", tls, got, p.texts, tt.tls, tt.want, tt.problems)
			}
		})
	}
}

// TestOptions: contract 2, the options of a service; a bad value is shown and ignored.
func TestOptions(t *testing.T) {
	type m = map[string]string
	tests := []struct {
		name     string
		metas    []m
		want     resolver.Options
		problems []string
	}{
		{"nothing said", []m{nil, {}}, resolver.Options{}, nil},
		{"everything said", []m{{resolver.MetaTimeout: "3600s", resolver.MetaBalance: "hash", resolver.MetaStrip: "false", resolver.MetaHost: "upstream"}},
			resolver.Options{Timeout: time.Hour, Balance: resolver.Hash, KeepSegment: true, UpstreamHost: true}, nil},
		{"care said", []m{{resolver.MetaSlowStart: "30s", resolver.MetaMaxRequests: "100", resolver.MetaEject: "5xx:5/10s", resolver.MetaHold: "1m"}},
			resolver.Options{SlowStart: 30 * time.Second, MaxRequests: 100, Hold: time.Minute,
				Eject: resolver.Faults{Status: 5, Count: 5, Within: 10 * time.Second}}, nil},
		{"bad care is none", []m{{resolver.MetaSlowStart: "0s", resolver.MetaMaxRequests: "0", resolver.MetaEject: "4xx:5/10s", resolver.MetaHold: "61s"}}, resolver.Options{}, []string{
			`n/0: lictor-slow-start = "0s": want a positive duration such as 30s`,
			`n/0: lictor-max-requests = "0": want a whole number of at least 1`,
			`n/0: lictor-eject = "4xx:5/10s": want answers such as 5xx:5/10s or 503:1/1s`,
			`n/0: lictor-hold = "61s": want a duration of at most 1m, such as 5s`,
		}},
		{"the defaults said", []m{{resolver.MetaStrip: "true", resolver.MetaHost: "keep"}}, resolver.Options{}, nil},
		{"locations are rewritten", []m{{resolver.MetaRewriteLocation: "true"}}, resolver.Options{RewriteLocation: resolver.Yes}, nil},
		{"or are not", []m{{resolver.MetaRewriteLocation: "false"}, {resolver.MetaRewriteLocation: "no"}}, resolver.Options{RewriteLocation: resolver.No}, []string{
			`n/1: lictor-rewrite-location = "no": want true or false`,
		}},
		{"bad values are ignored", []m{{resolver.MetaTimeout: "-1s", resolver.MetaBalance: "best", resolver.MetaStrip: "1", resolver.MetaHost: ""}}, resolver.Options{}, []string{
			`n/0: lictor-timeout = "-1s": want a positive duration such as 15s`,
			`n/0: lictor-balance = "best": want round_robin, least_requests, random_two or hash`,
			`n/0: lictor-strip = "1": want true or false`,
			`n/0: lictor-host = "": want keep or upstream`,
		}},
		{"one instance speaks for all", []m{{}, {resolver.MetaTimeout: "2s"}}, resolver.Options{Timeout: 2 * time.Second}, nil},
		{"of two the first wins", []m{{resolver.MetaTimeout: "1s"}, {resolver.MetaTimeout: "2s"}, {resolver.MetaTimeout: "1000ms"}},
			resolver.Options{Timeout: time.Second}, []string{`n/1: lictor-timeout = "2s": want the value of n/0`}},
		{"of two the first good one wins", []m{{resolver.MetaTimeout: "soon"}, {resolver.MetaTimeout: "2s"}},
			resolver.Options{Timeout: 2 * time.Second}, []string{`n/0: lictor-timeout = "soon": want a positive duration such as 15s`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var p problems
			var metas []resolver.InstanceMeta
			for i, meta := range tt.metas {
				metas = append(metas, resolver.InstanceMeta{ID: "n/" + string(rune('0'+i)), Meta: meta})
			}
			got := resolver.MetaWrong(p.add).Options(metas)
			if got != tt.want || !slices.Equal(p.texts, tt.problems) {
				t.Errorf("got %+v\n%q\nwant %+v\n%q", got, p.texts, tt.want, tt.problems)
			}
		})
	}
}

// TestCanaries: K6. A canary is known by its meta, and its options count only where
// no other instance says anything.
func TestCanaries(t *testing.T) {
	one := func(id string, meta map[string]string) entry {
		var e entry
		e.Node.Node, e.Service.ID, e.Service.Service, e.Service.Address, e.Service.Port, e.Service.Meta = "n", id, "svc", "192.0.2.1", 80, meta
		return e
	}
	r := new(Resolver)
	seen, options, texts := r.sightings([]entry{
		one("a", map[string]string{resolver.MetaCanary: "true", resolver.MetaTimeout: "1s", resolver.MetaBalance: "hash"}),
		one("b", map[string]string{resolver.MetaCanary: "false", resolver.MetaTimeout: "2s"}),
		one("c", map[string]string{resolver.MetaCanary: "yes"}),
	})
	if len(seen) != 3 || !seen[0].Canary || seen[1].Canary || seen[2].Canary {
		t.Errorf("got %+v", seen)
	}
	if want := (resolver.Options{Timeout: 2 * time.Second, Balance: resolver.Hash}); options != want {
		t.Errorf("got %+v, want %+v", options, want)
	}
	if want := []string{`n/c: lictor-canary = "yes": want true or false`, `n/a: lictor-timeout = "1s": want the value of n/b`}; !slices.Equal(texts, want) {
		t.Errorf("got %q, want %q", texts, want)
	}
}
