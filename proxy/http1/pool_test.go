package http1

import (
	"context"
	"net"
	"testing"
	"time"
)

// Requests that come many at once have their connections idle in turns. Those that
// are more than a pool keeps for long are not closed in between, to be made again.
func TestConnectionsThatAreUsedInTurnsAreKept(t *testing.T) {
	const many = 8
	for name, tt := range map[string]struct {
		most, kept int
		late       bool
	}{
		"as many as were used at once":                     {2, many, false},
		"no more than told where few descriptors are left": {2, 2, true},
		"none where none shall be kept":                    {0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			dialled := 0
			p := NewPool(PoolConfig{MaxIdle: tt.most, IdleTimeout: time.Hour, Dial: func(context.Context, string, string) (net.Conn, error) {
				dialled++
				a, b := net.Pipe()
				t.Cleanup(func() { a.Close(); b.Close() })
				return a, nil
			}})
			const rounds = 5
			for range rounds {
				var used []*Upstream
				for range many {
					u, err := p.Get(nil, time.Second)
					if err != nil {
						t.Fatal(err)
					}
					u.late = tt.late
					used = append(used, u)
				}
				for _, u := range used {
					p.put(u, nil)
				}
			}
			if want := many + (rounds-1)*(many-tt.kept); dialled != want {
				t.Errorf("%d connections were made, want %d", dialled, want)
			}
			for _, u := range p.idle {
				u.idle -= int64(2 * lately)
			}
			p.Expire()
			if _, idle := p.Counts(); idle != tt.most {
				t.Errorf("%d are kept that were not used lately, want %d", idle, tt.most)
			}
		})
	}
}
