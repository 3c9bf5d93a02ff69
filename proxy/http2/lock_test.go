package http2

import (
	"net"
	"testing"

	"lictor/proxy/http1"
)

// The lock of a connection is what all its streams meet at. Questions that
// come with every frame and every write ask for it only near the bounds: this
// test would not end otherwise.
func TestFramesAndWritesFarFromTheBoundsNeedNoLock(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	c := newConn(NewServer(http1.NewServer(new(handler), testLimits())), a, new(http1.Peer), nil)
	st := newStream(c, 1)
	c.mu.Lock()
	if err := c.awaitRoom(); err != nil {
		t.Errorf("the reader may not go on: %v", err)
	}
	if st.Full() {
		t.Error("a stream of a connection with nothing to write is full")
	}
	c.flushing = true // by somebody else, who will take what is there
	c.out = make([]byte, maxOut)
	_ = c.flush()
	c.mu.Unlock()
	if !st.Full() {
		t.Error("a stream is not full while as much waits as may")
	}
	c.mu.Lock()
	c.out = c.out[:0]
	_ = c.flush()
	c.mu.Unlock()
	if st.Full() {
		t.Error("a stream is full though nothing waits")
	}
}
