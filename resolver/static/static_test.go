package static

import (
	"slices"
	"strings"
	"testing"
	"time"

	"lictor/resolver"
)

func TestNew(t *testing.T) {
	tests := []struct {
		name string
		url  string
		want resolver.Instance
	}{
		{"host and port", "http://127.0.0.1:9001", resolver.Instance{ID: "127.0.0.1:9001", Address: "127.0.0.1:9001"}},
		{"a base path is kept (D7)", "http://h:1/base/v1", resolver.Instance{ID: "h:1/base/v1", Address: "h:1", BasePath: "/base/v1"}},
		{"a trailing slash is no base path", "http://h:1/", resolver.Instance{ID: "h:1", Address: "h:1"}},
		{"a base path loses its trailing slash", "http://h:1/p/", resolver.Instance{ID: "h:1/p", Address: "h:1", BasePath: "/p"}},
		{"a base path stays escaped", "http://h:1/a%2Fb", resolver.Instance{ID: "h:1/a%2Fb", Address: "h:1", BasePath: "/a%2Fb"}},
		{"http means port 80", "http://h", resolver.Instance{ID: "h:80", Address: "h:80"}},
		{"https means TLS and port 443", "https://h", resolver.Instance{ID: "h:443", Address: "h:443", TLS: true}},
		{"IPv6 keeps its brackets", "http://[::1]:9", resolver.Instance{ID: "[::1]:9", Address: "[::1]:9"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := New(map[string][]string{"foo": {tt.url}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			tt.want.Weight, tt.want.State = 1, resolver.Passing
			s := r.Catalog().Lookup("foo")
			if s == nil || !s.Loaded || len(s.Instances) != 1 || *s.Instances[0] != tt.want {
				t.Errorf("New(%q)\n got %+v\nwant %+v", tt.url, s, tt.want)
			}
			select {
			case <-r.Want("foo"):
			default:
				t.Error("Want makes one wait")
			}
			if !r.Status().Ready {
				t.Error("not ready")
			}
		})
	}
}

func TestNewReportsAllMistakesAtOnce(t *testing.T) {
	wrong := []string{
		"ftp://h", "h:80", "http://", "http://:80", "http://h:0", "http://h:70000", "http://h:x",
		"http://u:p@h", "http://h/?q", "http://h/?", "http://h/#f", "http://h/#", "://", "http://h/%zz",
	}
	_, err := New(map[string][]string{"a": wrong, "b": {"http://h", "http://h:80/", "http://ok"}}, nil)
	if err == nil {
		t.Fatal("no error")
	}
	for n, text := range wrong {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("mistake %d, %q, is not reported in %v", n+1, text, err)
		}
	}
	if !strings.Contains(err.Error(), `service "b": instance 2: "http://h:80/" is there twice`) {
		t.Errorf("the duplicate is not reported in %v", err)
	}
}

func TestUpdate(t *testing.T) {
	r, err := New(map[string][]string{"a": {"http://h:1", "http://h:2"}, "b": {"http://h:3"}, "c": {"http://h:4"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := r.Catalog()
	t.Run("with a mistake changes nothing", func(t *testing.T) {
		if _, err := r.Prepare(map[string][]string{"a": {"nonsense"}}, nil); err == nil || r.Catalog() != before {
			t.Errorf("got %v and another catalog: %v", err, r.Catalog() != before)
		}
	})
	t.Run("keeps the pointers of what stays", func(t *testing.T) {
		put, err := r.Prepare(map[string][]string{"a": {"http://h:2", "http://h:5"}, "b": {"http://h:3"}}, nil)
		if err != nil || r.Catalog() != before {
			t.Fatalf("got %v, and another catalog before it is put: %v", err, r.Catalog() != before)
		}
		put()
		after := r.Catalog()
		if after.Len() != 2 || after.Lookup("c") != nil {
			t.Errorf("got %d services, want a and b", after.Len())
		}
		if after.Lookup("b") != before.Lookup("b") {
			t.Error("b did not change but is another")
		}
		if after.Lookup("a").Instances[0] != before.Lookup("a").Instances[1] {
			t.Error("the instance of a that stays is another")
		}
		if before.Lookup("a").Instances[0].Address != "h:1" {
			t.Error("the old catalog was written to")
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"http://h", "https://h:1/p", "http://[::1]:9/a%2Fb/", "http://h/#", "http://h:0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		i, err := parse(text)
		if err != nil {
			return
		}
		if i.Address == "" || strings.HasSuffix(i.BasePath, "/") || i.BasePath != "" && i.BasePath[0] != '/' {
			t.Errorf("%q gives %+v", text, i)
		}
		again := "http://" + i.Address + i.BasePath
		if i.TLS {
			again = strings.Replace(again, "http", "https", 1)
		}
		if j, err := parse(again); err != nil || *j != *i {
			t.Errorf("%q gives %+v, but its own form %q gives %+v, %v", text, i, again, j, err)
		}
	})
}

func TestServicesWithoutInstances(t *testing.T) {
	r, err := New(map[string][]string{"none": {}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	names := slices.Collect(func(yield func(string) bool) {
		for s := range r.Catalog().All() {
			if !yield(s.Name) {
				return
			}
		}
	})
	if !slices.Equal(names, []string{"none"}) || r.Catalog().Lookup("none").Usable() {
		t.Errorf("got %v, want a service that cannot serve", names)
	}
}

func TestServicesHaveTheOptionsOfMetadata(t *testing.T) { // D7
	urls := map[string][]string{"out": {"https://h", "https://i"}, "in": {"http://h"}}
	r, err := New(urls, map[string]map[string]string{"out": {"lictor-host": "upstream", "lictor-timeout": "60s", "lictor-protocol": "h2"}})
	if err != nil {
		t.Fatal(err)
	}
	before := r.Catalog()
	if s := before.Lookup("out"); s.Options != (resolver.Options{UpstreamHost: true, Timeout: time.Minute}) || s.Instances[1].Protocol != resolver.H2 || !s.Instances[1].TLS {
		t.Errorf("got %+v, %+v", s.Options, s.Instances[1])
	}
	put, err := r.Prepare(urls, map[string]map[string]string{"in": {"lictor-strip": "false"}})
	if err != nil {
		t.Fatal(err)
	}
	put()
	after := r.Catalog()
	if s := after.Lookup("out"); s.Options != (resolver.Options{}) || s.Instances[0].Protocol != resolver.HTTP1 {
		t.Errorf("what is gone from the configuration holds: %+v", s.Options)
	}
	if s := after.Lookup("in"); !s.Options.KeepSegment || s.Instances[0] != before.Lookup("in").Instances[0] {
		t.Errorf("got %+v, another instance", s.Options)
	}
	for want, meta := range map[string]map[string]map[string]string{
		`service "in": lictor-protocol = "h2": want h2 with https`:      {"in": {"lictor-protocol": "h2"}},
		`service "in": lictor-timeout = "-1s": want a positive`:         {"in": {"lictor-timeout": "-1s"}},
		`service "in": lictor-canary = "true": want one of`:             {"in": {"lictor-canary": "true"}},
		`service "gone": it has options, but no instances`:              {"gone": {}},
		`service "out": lictor-host = "api.example": want keep or upst`: {"out": {"lictor-host": "api.example"}},
	} {
		if _, err := r.Prepare(urls, meta); err == nil || strings.Count(err.Error(), want) != 1 || r.Catalog() != after {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
