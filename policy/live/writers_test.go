package live

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"lictor/internal/eventually"
	"lictor/policy/store"
	"lictor/policy/store/memory"
)

// pages is a log that is read while it is written.
type pages struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (p *pages) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buf.Write(b)
}

func (p *pages) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buf.String()
}

// A line tells which objects changed, and by whom if it was somebody of this process.
func TestChangeOfThePolicyIsALineThatSaysWhoMadeIt(t *testing.T) {
	log := new(pages)
	s := memory.New(hclog.NewNullLogger())
	p, err := New(Config{Store: s, Log: hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Info})})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	eventually.True(t, "the policy is loaded", func() bool { return p.Ready() == nil })
	put := func(to store.Store, ctx context.Context, names ...string) {
		t.Helper()
		var ops []store.Op
		for _, name := range names {
			ops = append(ops, store.Op{Kind: "blacklist", Name: name, Value: []byte(`{"entries": ["/x"]}`)})
		}
		if _, err := to.Write(ctx, ops); err != nil {
			t.Fatal(err)
		}
	}
	put(p.Store(), store.WithWriter(ctx, "10.0.0.1:7"), "mine", "too")
	put(p.Store(), ctx, "unnamed")
	put(s, store.WithWriter(ctx, "10.0.0.1:7"), "elsewhere")
	var lines []string
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "policy changed") {
			lines = append(lines, line)
		}
	}
	if len(lines) != 3 {
		t.Fatalf("got %q, want three changes", lines)
	}
	for i, want := range []string{`keys="blacklist/mine, blacklist/too" index=`, `keys=blacklist/unnamed index=`, `keys=blacklist/elsewhere index=`} {
		if !strings.Contains(lines[i], want) || strings.Contains(lines[i], "by=10.0.0.1:7") != (i == 0) {
			t.Errorf("got %s, want %s, and by whom only of the first", lines[i], want)
		}
	}
}
