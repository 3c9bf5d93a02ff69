package live

import (
	"context"
	"testing"

	"github.com/hashicorp/go-hclog"

	"lictor/internal/crash"
	"lictor/policy"
	"lictor/policy/store"
	"lictor/policy/store/memory"
)

// quiet keeps the panics of a test out of its output.
func quiet(t *testing.T) (panics func() uint64) {
	t.Helper()
	crash.SetReport(func(string, any, []byte) {})
	before := crash.Counts()["policy"]
	return func() uint64 { return crash.Counts()["policy"] - before }
}

func TestAPanicOfTheBuilderIsCountedAndSetsOneObjectAside(t *testing.T) {
	panics := quiet(t)
	p, err := New(Config{Store: memory.New(hclog.NewNullLogger()), Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	set, rejections := p.builder.Apply(1, []policy.Change{
		{Key: policy.Key{Kind: policy.KindACLs, Name: "bad"}, Object: (*policy.ACL)(nil)}, // whose fields cannot be looked at
		{Key: policy.Key{Kind: policy.KindGroups, Name: "good"}, Object: &policy.Group{Name: "good"}},
	})
	if len(rejections) != 1 || rejections[0].Key.Name != "bad" || set.Objects(policy.KindGroups) != 1 {
		t.Errorf("got %+v with %d groups, want that the ACL alone is set aside", rejections, set.Objects(policy.KindGroups))
	}
	if panics() == 0 {
		t.Error("no panic was counted")
	}
}

func TestAPanicOfWhoIsToldOfChangesEndsNothing(t *testing.T) {
	panics := quiet(t)
	s := memory.New(hclog.NewNullLogger())
	p, err := New(Config{Store: s, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	changed := make(chan struct{}, 8)
	p.OnChange(func() { panic("boom") })
	p.OnChange(func() { changed <- struct{}{} })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	<-changed
	if _, err := s.Write(ctx, []store.Op{{Kind: "groups", Name: "g", Value: []byte("{}")}}); err != nil {
		t.Fatal(err)
	}
	<-changed
	if n := p.Loaded().Objects(policy.KindGroups); n != 1 {
		t.Errorf("%d groups are in force, want 1", n)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if panics() != 2 {
		t.Errorf("%d panics were counted, want 2", panics())
	}
}
