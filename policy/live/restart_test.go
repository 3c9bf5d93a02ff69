package live_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"lictor/internal/eventually"
	"lictor/internal/uri"
	"lictor/policy"
	"lictor/policy/live"
	dirstore "lictor/policy/store/dir"
)

// follow runs a policy on a directory until reads says that it has come so far,
// and returns why it refuses target then.
func follow(t *testing.T, dir, data, target string, until func(*live.Policy) bool) policy.Reason {
	t.Helper()
	s, err := dirstore.New(dirstore.Config{Dir: dir, DataDir: data, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	p, err := live.New(live.Config{Store: s, Prefix: "lictor/", Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	eventually.True(t, "the policy is in force", func() bool { return p.Set() != nil && !s.Status().LastGood && until(p) })
	path, _, err := uri.ParsePath(target, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &policy.Request{Method: "GET", Host: "h", Port: 80, Path: &path, Client: netip.MustParseAddr("192.0.2.1"), Now: time.Now()}
	route := p.Set().Route(r)
	var v policy.Verdict
	p.Set().Decide(r, &route, &v, nil)
	return v.Reason
}

// A mistake keeps the former value in force, and a restart keeps it so.
func TestARestartOpensNothingThatAMistakeDidNot(t *testing.T) {
	dir, data := t.TempDir(), t.TempDir()
	file := filepath.Join(dir, "blacklist/ops")
	write := func(text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rejected := func(p *live.Policy) bool { return len(p.Rejected()) == 1 }
	accepted := func(p *live.Policy) bool { return len(p.Rejected()) == 0 }
	write(`{"entries": ["/a/admin"], "direction": "ingress"}`)
	if got := follow(t, dir, data, "/a/admin", accepted); got != policy.ReasonBlacklist {
		t.Fatalf("at first: %q", got)
	}
	for _, text := range []string{`{"entries": ["/a/admin"], "direction": "ingress",}`, `{"entries": 7}`} { // also while lictor is away
		write(text)
		for range 3 {
			if got := follow(t, dir, data, "/a/admin", rejected); got != policy.ReasonBlacklist {
				t.Errorf("%s: %q", text, got)
			}
		}
	}
	write(`{"entries": ["/b/admin"], "direction": "ingress"}`)
	for target, want := range map[string]policy.Reason{"/a/admin": policy.ReasonNone, "/b/admin": policy.ReasonBlacklist} {
		if got := follow(t, dir, data, target, accepted); got != want {
			t.Errorf("mended: %s is %q", target, got)
		}
	}
}
