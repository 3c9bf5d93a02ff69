package rabbitmq

import (
	"errors"
	"net"
	"strings"
	"testing"
)

// pieces notes each write as it comes, and counts the reads of what there is.
type pieces struct {
	net.Conn
	got   []string
	err   error
	here  strings.Reader
	reads int
}

func (p *pieces) Read(b []byte) (int, error) {
	p.reads++
	return p.here.Read(b)
}

func (p *pieces) Write(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	p.got = append(p.got, string(b))
	return len(b), nil
}

func TestGatherKeepsTheOrderAndBoundsWhatItHolds(t *testing.T) {
	under := new(pieces)
	g := &gather{Conn: under}
	write := func(s string) {
		t.Helper()
		if n, err := g.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	write("a")
	g.hold()
	write("b")
	write("c")
	if err := g.release(); err != nil {
		t.Fatal(err)
	}
	g.hold()
	large := strings.Repeat("x", gatherMost)
	write("d")
	write(large) // too much to be held
	write("e")
	if len(under.got) != 4 {
		t.Errorf("%d writes came before the release, want 4", len(under.got))
	}
	if err := g.release(); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(under.got, "|"), "a|bc|d|"+large+"|e"; got != want {
		t.Errorf("got writes of %d bytes, want %d: %.40q", len(got), len(want), got)
	}
}

func TestGatherTellsAnErrorThatComesLate(t *testing.T) {
	broken := errors.New("broken")
	g := &gather{Conn: &pieces{err: broken}}
	g.hold()
	if _, err := g.Write([]byte("a")); err != nil {
		t.Fatal(err)
	}
	if err := g.release(); !errors.Is(err, broken) {
		t.Errorf("release says %v", err)
	}
	if _, err := g.Write([]byte("b")); !errors.Is(err, broken) {
		t.Errorf("Write says %v", err)
	}
}

func TestGatherReadsManyFramesAtOnce(t *testing.T) {
	under := new(pieces)
	g := newGather(under)
	under.here.Reset(strings.Repeat("frame", 1000))
	for range 1000 {
		var frame [5]byte
		if n, err := g.Read(frame[:]); err != nil || string(frame[:n]) != "frame" {
			t.Fatal(n, err)
		}
	}
	if under.reads != 1 {
		t.Errorf("%d reads, want one", under.reads)
	}
}
