package consul

import "testing"

// TestAnInstanceBelongsToTheServiceWhoseExactNameItCarries: Consul's list of
// services minds the case of names and its health answers do not. Two names
// that differ in case are two services, each with its own rules.
func TestAnInstanceBelongsToTheServiceWhoseExactNameItCarries(t *testing.T) {
	for _, watches := range []int{0, 1} { // followed by watches, and one of them by the sweep
		fake := newFake()
		fake.set("pay", instance("a", 1, httpOK))
		fake.set("Pay", instance("b", 2, httpOK))
		fake.set("PAY", instance("c", 3, httpOK), instance("d", 4, httpOK))
		onBench(t, fake, func(c *Config) { c.Watches = watches }, func(b *bench) {
			b.want("pay", "Pay", "PAY")
			b.expect("pay", "a passing", "three twins")
			b.expect("Pay", "b passing", "three twins")
			b.expect("PAY", "c passing, d passing", "three twins")
		})
	}
}

func TestADeregisteredServiceGoesThoughItsTwinLives(t *testing.T) {
	fake := newFake()
	fake.set("pay", instance("a", 1, httpOK))
	fake.set("Pay", instance("b", 2, httpOK))
	onBench(t, fake, nil, func(b *bench) {
		b.want("pay", "Pay")
		fake.set("pay")
		b.pass(b.cfg.EmptyHold)
		b.expect("pay", "unknown", "it was deregistered")
		b.expect("Pay", "b passing", "its twin was deregistered")
	})
}

// TestATwinOpensNothingThatIsHidden: the twin is reachable, its hidden or own
// namesake's instances are not.
func TestATwinOpensNothingThatIsHidden(t *testing.T) {
	fake := newFake()
	fake.set("consul", instance("server", 8300, httpOK))
	fake.set("CONSUL", instance("t", 1, httpOK))
	fake.set("lictor", instance("own", 8000, httpOK))
	fake.set("Lictor", instance("u", 2, httpOK))
	onBench(t, fake, func(c *Config) { c.OwnService = "lictor" }, func(b *bench) {
		b.want("CONSUL", "Lictor")
		b.expect("CONSUL", "t passing", "it is a service of its own")
		b.expect("Lictor", "u passing", "it is a service of its own")
		b.expect("consul", "unknown", "it is hidden")
		b.expect("lictor", "unknown", "it is our own")
	})
}

func TestAServiceWithoutInstancesIsNotFilledByItsTwin(t *testing.T) {
	fake := newFake()
	fake.set("pay", instance("a", 1, httpBad))
	fake.set("Pay", instance("b", 2, httpOK))
	onBench(t, fake, nil, func(b *bench) {
		b.want("pay", "Pay")
		b.expect("pay", "a critical", "only its twin is well")
		if b.Catalog().Lookup("pay").Usable() {
			t.Error("requests for pay have somewhere to go")
		}
	})
}
