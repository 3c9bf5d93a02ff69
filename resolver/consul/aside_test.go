package consul

import (
	"errors"
	"runtime/debug"
	"strings"
	"testing"

	client "lictor/internal/consul"
)

// stackReader notes by which stack it is fed.
type stackReader struct{ stack string }

func (s *stackReader) feed([]byte) error { s.stack = string(debug.Stack()); return nil }
func (s *stackReader) end() error        { return nil }

// TestAWatchOfVeryManyDoesNotDecodeOnItsOwnStack: the stack would stay as large as that
// made it for as long as the watch waits.
func TestAWatchOfVeryManyDoesNotDecodeOnItsOwnStack(t *testing.T) {
	fake := newFake()
	fake.set("shop", instance("a", 1, httpOK))
	onBench(t, fake, nil, func(b *bench) {
		for _, many := range []bool{false, true} {
			var to stackReader
			if _, err := b.read(b.t.Context(), "/v1/health/service/shop", query{Many: many}, &to); err != nil {
				t.Fatal(err)
			}
			if own := strings.Contains(to.stack, t.Name()); own == many {
				t.Errorf("many=%v: it is read on the stack of who asks: %v\n%s", many, own, to.stack)
			}
		}
	})
}

// TestAPanicInWhatIsDoneAsideIsItsError: nobody waits for it for ever.
func TestAPanicInWhatIsDoneAsideIsItsError(t *testing.T) {
	for _, many := range []bool{false, true} {
		if err := aside(query{Many: many}, func() error { panic("odd") }); !errors.Is(err, client.ErrPanic) {
			t.Errorf("many=%v: %v, want that it raised a panic", many, err)
		}
	}
}
