package resolver

import (
	"slices"
	"testing"
)

func names(c *Catalog) []string {
	var all []string
	for s := range c.All() {
		all = append(all, s.Name)
	}
	slices.Sort(all)
	return all
}

func TestCatalog(t *testing.T) {
	a, b, a2 := &Service{Name: "a"}, &Service{Name: "b"}, &Service{Name: "a", Loaded: true}
	first := NewCatalog(a, b)
	tests := []struct {
		name    string
		catalog *Catalog
		want    []string
		a       *Service
	}{
		{"of two services", first, []string{"a", "b"}, a},
		{"nil is empty", nil, nil, nil},
		{"the zero value is empty", &Catalog{}, nil, nil},
		{"of two with one name the later counts", NewCatalog(a, a2), []string{"a"}, a2},
		{"with one added", NewCatalog(b).With([]*Service{a}, nil), []string{"a", "b"}, a},
		{"with one replaced", first.With([]*Service{a2}, nil), []string{"a", "b"}, a2},
		{"with one dropped", first.With(nil, []string{"a", "nosuch"}), []string{"b"}, nil},
		{"put wins over drop", first.With([]*Service{a2}, []string{"a"}), []string{"a", "b"}, a2},
		{"made from nil", (*Catalog)(nil).With([]*Service{a}, []string{"b"}), []string{"a"}, a},
		{"made from the zero value", (&Catalog{}).With([]*Service{a}, nil), []string{"a"}, a},
		{"the first did not change", first, []string{"a", "b"}, a},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := names(tt.catalog); !slices.Equal(got, tt.want) || tt.catalog.Len() != len(tt.want) {
				t.Errorf("got %q, length %d, want %q", got, tt.catalog.Len(), tt.want)
			}
			if got := tt.catalog.Lookup("a"); got != tt.a {
				t.Errorf("a is %p, want %p", got, tt.a)
			}
		})
	}
	for range first.All() {
		break // a loop may end early
	}
}

func TestUsable(t *testing.T) {
	tests := []struct {
		name     string
		instance Instance
		want     bool
	}{
		{"the zero value is not", Instance{}, false},
		{"passing", Instance{State: Passing, Weight: 1}, true},
		{"passing without weight is not", Instance{State: Passing}, false},
		{"a negative weight is not", Instance{State: Passing, Weight: -1}, false},
		{"warning with a weight", Instance{State: Warning, Weight: 1}, true},
		{"critical is not", Instance{State: Critical, Weight: 1}, false},
		{"maintenance is not", Instance{State: Maintenance, Weight: 1}, false},
		{"a last resort", Instance{State: LastResort, Weight: 1}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.instance.Usable(); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			s := Service{Instances: []*Instance{{}, &tt.instance}}
			if got := s.Usable(); got != tt.want {
				t.Errorf("its service: got %v, want %v", got, tt.want)
			}
		})
	}
}

// TestCanaryIsUsableByItsOwnRequests: K6.
func TestCanaryIsUsableByItsOwnRequests(t *testing.T) {
	canary := &Instance{State: Passing, Weight: 1, Canary: true}
	stable := &Instance{State: Passing, Weight: 1}
	for _, tt := range []struct {
		name       string
		instances  []*Instance
		plain, own bool
	}{
		{"nothing", nil, false, false},
		{"a canary alone", []*Instance{canary}, false, true},
		{"a stable one alone", []*Instance{stable}, true, true},
		{"both", []*Instance{canary, stable}, true, true},
		{"a canary that fails", []*Instance{{State: Critical, Weight: 1, Canary: true}}, false, false},
	} {
		s := Service{Instances: tt.instances}
		if plain, own := s.Usable(), s.UsableBy(true); plain != tt.plain || own != tt.own {
			t.Errorf("%s: usable %v, by canary requests %v", tt.name, plain, own)
		}
	}
}

// TestStateNames: every state has a name, which status and metrics show.
func TestStateNames(t *testing.T) {
	want := []string{"unknown", "passing", "warning", "critical", "maintenance", "last_resort"}
	for i, name := range want {
		if got := State(i).String(); got != name {
			t.Errorf("state %d is %q, want %q", i, got, name)
		}
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	c := NewCatalog(&Service{Name: "a"})
	if n := testing.AllocsPerRun(100, func() { c.Lookup("a"); c.Lookup("nosuch") }); n != 0 {
		t.Errorf("Lookup allocates %v times, want 0", n)
	}
}
