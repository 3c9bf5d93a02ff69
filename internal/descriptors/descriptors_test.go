package descriptors

import "testing"

// TestSomeAreKeptBack compares who may have how many.
func TestSomeAreKeptBack(t *testing.T) {
	if !(0 < ForUpstreams() && ForUpstreams() < ForClients() && ForClients() < Limit()) {
		t.Errorf("upstreams have %d, clients %d of %d", ForUpstreams(), ForClients(), Limit())
	}
	if kept := Limit() - ForClients(); kept > maxReserve || kept < min(Limit()/4, maxReserve) {
		t.Errorf("%d of %d are kept back", kept, Limit())
	}
	if Beyond(10, 9) || !Beyond(10, 10) {
		t.Error("the first ten are 0 to 9")
	}
}
