package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// diary notes what services do. Their contexts end one at a time, so it needs
// no lock beyond what synctest.Wait gives.
type diary struct{ lines []string }

// service waits for the end of its context and then for another while.
func (d *diary) service(name string, while, grace time.Duration, err error) Service {
	return Service{Name: name, Grace: grace, Run: func(ctx context.Context) error {
		<-ctx.Done()
		d.lines = append(d.lines, name+" told to stop")
		time.Sleep(while)
		d.lines = append(d.lines, name+" stopped")
		return err
	}}
}

func TestStopsInReverse(t *testing.T) { // X16
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		var d diary
		err := Run(ctx, hclog.NewNullLogger(),
			d.service("resolver", time.Second, 2*time.Second, context.Canceled),
			d.service("gateway", 20*time.Second, 30*time.Second, nil),
			d.service("admin", 0, time.Second, nil),
		)
		want := []string{
			"admin told to stop", "admin stopped",
			"gateway told to stop", "gateway stopped",
			"resolver told to stop", "resolver stopped",
		}
		if err != nil || !slices.Equal(d.lines, want) {
			t.Errorf("got %v %q, want no error and %q", err, d.lines, want)
		}
	})
}

func TestErrors(t *testing.T) {
	boom := errors.New("boom")
	early := func(err error) Service {
		return Service{Name: "early", Run: func(context.Context) error {
			time.Sleep(time.Minute)
			return err
		}}
	}
	tests := []struct {
		name    string
		service Service
		want    string
		after   time.Duration // that Run returns
	}{
		{"a service that fails early ends the others", early(boom), "early ended: boom", time.Minute + time.Second},
		{"a service that returns early ends the others", early(nil), "early ended: no reason given", time.Minute + time.Second},
		{"a service that fails while stopping is reported", (&diary{}).service("late", time.Second, time.Minute, boom), "late: boom", time.Hour + 2*time.Second},
		{"a service that overstays its grace is left behind", (&diary{}).service("slow", time.Hour, time.Minute, nil), "slow did not end within 1m0s", time.Hour + 61*time.Second},
		{"a service that ends its grace in time is fine", (&diary{}).service("slow", time.Minute, time.Hour, nil), "", time.Hour + 61*time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				var d diary
				began := time.Now()
				err := Run(ctx, hclog.NewNullLogger(), d.service("first", time.Second, time.Minute, nil), tt.service)
				if got := text(err); !strings.HasPrefix(got, tt.want) || tt.want == "" && err != nil {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				if got := time.Since(began); got != tt.after {
					t.Errorf("returned after %s, want %s", got, tt.after)
				}
				time.Sleep(2 * time.Hour) // for the one that was left behind
				if want := []string{"first told to stop", "first stopped"}; !slices.Equal(d.lines, want) {
					t.Errorf("got %q, want %q", d.lines, want)
				}
			})
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprint(err)
}
