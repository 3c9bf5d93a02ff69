package resolver

import (
	"testing"
	"time"
)

// A state lasts from the change that brought it; what was there at first sight is as
// old as anybody knows, and what did not change does not grow younger.
func TestAgesOfStates(t *testing.T) {
	service := func(name string, loaded bool, instances ...*Instance) *Service {
		return &Service{Name: name, Loaded: loaded, Instances: instances}
	}
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	var a Ages
	if !a.Since("web", "a").IsZero() {
		t.Error("nothing was seen, yet a state has an age")
	}
	passing, critical := &Instance{ID: "a", State: Passing}, &Instance{ID: "a", State: Critical}
	told := &Instance{ID: "a", State: Critical, Note: "refused"}
	second := &Instance{ID: "b", State: Passing}
	for i, step := range []struct {
		catalog *Catalog
		a, b    time.Time
	}{
		{NewCatalog(service("web", false)), time.Time{}, time.Time{}},
		{NewCatalog(service("web", true, passing)), time.Time{}, time.Time{}}, // it was so before anybody looked
		{NewCatalog(service("web", true, passing, second)), time.Time{}, at(3)},
		{NewCatalog(service("web", true, critical, second)), at(4), at(3)},
		{NewCatalog(service("web", true, told, second), service("other", true)), at(4), at(3)},
		{NewCatalog(service("other", true)), time.Time{}, time.Time{}},
		{NewCatalog(service("web", true, told)), time.Time{}, time.Time{}},
		{NewCatalog(service("web", true, passing)), at(8), time.Time{}},
	} {
		a.Note(step.catalog, at(i+1))
		a.Note(step.catalog, at(i+100)) // nothing is new
		if got := a.Since("web", "a"); !got.Equal(step.a) {
			t.Errorf("step %d: a since %v, want %v", i+1, got, step.a)
		}
		if got := a.Since("web", "b"); !got.Equal(step.b) {
			t.Errorf("step %d: b since %v, want %v", i+1, got, step.b)
		}
	}
}
