package port

import (
	"net"
	"strconv"
	"testing"
)

func TestFreePortsAreGivenOnceAndBelowThoseOfConnections(t *testing.T) {
	seen := make(map[int]bool)
	for range 50 {
		ports, err := Free(4)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range ports {
			if seen[p] || p < least || p >= outgoing() {
				t.Fatalf("port %d, after %d others", p, len(seen))
			}
			seen[p] = true
		}
	}
}

func TestATakenPortIsNotFree(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, text, _ := net.SplitHostPort(l.Addr().String())
	if p, _ := strconv.Atoi(text); free(p) {
		t.Errorf("%d is taken", p)
	}
}

func TestAClaimedPortIsNotClaimedAgain(t *testing.T) {
	ports, err := Free(1)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := claim(ports[0]); err == nil { // as another process would
		c.Close()
		t.Errorf("%d is claimed twice", ports[0])
	}
}
