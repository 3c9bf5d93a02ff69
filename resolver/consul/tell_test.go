package consul

import (
	"strings"
	"testing"
	"time"
)

// A service that comes or goes is a line of the log each; those that are there at the
// start are none.
func TestServicesThatComeAndGoAreLogged(t *testing.T) {
	fake := newFake()
	fake.set("old", instance("a", 1, httpOK))
	onBench(t, fake, nil, func(b *bench) {
		b.want("old")
		b.pass(time.Minute)
		if strings.Contains(b.log.String(), "service came") {
			t.Errorf("what was there from the start came:\n%s", b.log)
		}
		fake.set("new", instance("b", 2, httpOK))
		b.pass(time.Minute)
		fake.set("old")
		b.pass(time.Minute)
		for _, want := range []string{"service came: service=new\n", "service went: service=old\n"} {
			if strings.Count(b.log.String(), want) != 1 {
				t.Errorf("the log does not say once %q:\n%s", want, b.log)
			}
		}
	})
}
