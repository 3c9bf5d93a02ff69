package mesh

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever asks, and however often, Consul hears of it once in a moment.
func TestIntentionsAreAskedForOnce(t *testing.T) {
	inMesh(t, func(b *bench, _ *authority) {
		var asked []string
		answers := func(allowed bool, err error) {
			b.agent.edit(func() {
				b.agent.intention = func(who string) (bool, error) {
					time.Sleep(10 * time.Millisecond)
					asked = append(asked, who)
					return allowed, err
				}
			})
		}
		all := func(when string, want bool, questions int) {
			t.Helper()
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					if got, err := b.Allowed(context.Background(), "web"); got != want || err != nil {
						t.Errorf("%s: got %v, %v", when, got, err)
					}
				})
			}
			wg.Wait()
			if len(asked) != questions || asked[0] != "lictor to web" {
				t.Errorf("%s: consul was asked %q", when, asked)
			}
		}
		answers(true, nil)
		all("allowed", true, 1)
		answers(false, nil)
		all("it is remembered", true, 1)
		pass(Remembered)
		all("and asked again", false, 2)
		pass(Remembered)
		answers(false, errors.New("connection refused"))
		if _, err := b.Allowed(context.Background(), "web"); err == nil {
			t.Error("Consul is away: it is taken for an answer")
		}
	})
}

func TestNobodyWaitsForConsulForLong(t *testing.T) {
	inMesh(t, func(b *bench, _ *authority) {
		hang := make(chan struct{})
		b.agent.edit(func() { b.agent.intention = func(string) (bool, error) { <-hang; return true, nil } })
		began := time.Now()
		if allowed, err := b.Allowed(context.Background(), "web"); allowed || err == nil || time.Since(began) > askTime {
			t.Errorf("after %s: %v, %v", time.Since(began), allowed, err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := b.Allowed(ctx, "db"); err == nil {
			t.Error("who left is answered")
		}
		close(hang)
	})
}

// Very many services do not make very many questions, nor is every answer kept.
func TestIntentionsHaveBounds(t *testing.T) {
	inMesh(t, func(b *bench, _ *authority) {
		asked := 0
		b.agent.edit(func() { b.agent.intention = func(string) (bool, error) { asked++; return true, nil } })
		busy := 0
		for i := range 1000 {
			if _, err := b.Allowed(context.Background(), fmt.Sprint("svc", i)); errors.Is(err, ErrBusy) {
				busy++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if asked > askPace.Burst || asked+busy != 1000 {
			t.Errorf("consul was asked %d times, %d were too many", asked, busy)
		}
		for i := range 3 * maxKnown {
			pass(askPace.Every)
			if _, err := b.Allowed(context.Background(), fmt.Sprint("more", i)); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(b.intentions.known); n > maxKnown {
			t.Errorf("%d answers are kept", n)
		}
	})
}

// A panic while Consul is asked is an error of this question alone.
func TestAPanicIsNoAnswer(t *testing.T) {
	inMesh(t, func(b *bench, _ *authority) {
		b.agent.edit(func() { b.agent.intention = func(string) (bool, error) { panic("a test") } })
		if allowed, err := b.Allowed(context.Background(), "web"); allowed || err == nil {
			t.Errorf("got %v, %v", allowed, err)
		}
		synctest.Wait()
		pass(Remembered)
		b.agent.edit(func() { b.agent.intention = func(string) (bool, error) { return true, nil } })
		if allowed, err := b.Allowed(context.Background(), "web"); !allowed || err != nil {
			t.Errorf("afterwards: %v, %v", allowed, err)
		}
	})
}
