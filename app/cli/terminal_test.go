package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"lictor/admin/api"
)

// busy is a status with long notes, many instances and two problems.
func busy() *api.Status {
	st := &api.Status{
		NotReady: []string{strings.Repeat("why it is not ready ", 20)},
		Problems: []string{strings.Repeat("what is wrong ", 30) + "END1", "another END2"},
	}
	for i := range 100 {
		st.Services = append(st.Services, api.ServiceStatus{Name: "shop", Loaded: true, Instances: []api.InstanceStatus{
			{ID: fmt.Sprint("shop-", i), Note: strings.Repeat("disk full ", 20) + "END"},
		}})
	}
	return st
}

func TestStatusFitsTheTerminalButProblemsAreWhole(t *testing.T) {
	st := busy()
	t.Run("a pipe takes everything", func(t *testing.T) {
		var out strings.Builder
		if err := printStatus(&out, st); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"disk full END", "END1", "END2", "shop-99", strings.Join(st.NotReady, "; ")} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is not in it", want)
			}
		}
		if strings.Contains(out.String(), "…") {
			t.Error("something was cut")
		}
	})
	for _, size := range []terminal{{80, 24}, {40, 10}, {200, 60}, {1, 1}, {80, 2}} {
		t.Run(fmt.Sprint("a terminal of ", size), func(t *testing.T) {
			tables := size.cut(statusTables(st))
			for line := range strings.Lines(tables) {
				if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > size.width {
					t.Fatalf("a line has %d characters: %q", n, line)
				}
			}
			text := watchText(st, size)
			for _, want := range append(st.Problems, st.NotReady...) {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not whole", want)
				}
			}
			fixed := size.rows(statusHead(st)) + size.rows(problemsText(st))
			if rows := size.rows(text); rows > max(size.height, fixed+1) {
				t.Errorf("%d rows, %d of which cannot be less", rows, fixed)
			}
		})
	}
}

// brokenPipe fails after some writes.
type brokenPipe struct {
	strings.Builder
	left int
}

func (b *brokenPipe) Write(p []byte) (int, error) {
	if b.left--; b.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return b.Builder.Write(p)
}

// -watch goes on while nobody answers, and ends with its reader or with ctx.
func TestWatchAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nobody := &adminClient{address: "http://%"}
		out := &brokenPipe{left: 3}
		if err := watchStatus(t.Context(), out, nobody); err != io.ErrClosedPipe {
			t.Errorf("got %v", err)
		}
		if n := strings.Count(out.String(), "invalid URL"); n != 3 {
			t.Errorf("told %d times: %q", n, out.String())
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := watchStatus(ctx, io.Discard, nobody); err != nil {
			t.Errorf("got %v", err)
		}
	})
}
