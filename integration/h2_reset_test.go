//go:build integration

package integration_test

import (
	"bytes"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestRapidResetsLeaveOthersServed has one client open and reset 1,000 streams
// a second, on a new connection each time it is sent away, while another one
// is served as if nothing were.
func TestRapidResetsLeaveOthersServed(t *testing.T) {
	byItself(t)
	backend := startBackend(t, "one")
	gw := startLictor(t, lictorConfig{Rest: staticConfig("svc", "http://"+backend.Addr)})
	gw.Ready(t)
	quit := make(chan struct{})
	var wg sync.WaitGroup
	var resets, away atomic.Int64
	wg.Go(func() {
		for {
			select {
			case <-quit:
				return
			default:
				resetStreams(t, gw.Gateway, quit, &resets)
				away.Add(1)
			}
		}
	})
	client := &http.Client{Timeout: 20 * time.Second}
	began, answers := time.Now(), 0
	slowest := time.Duration(0)
	flooded := func() bool { return resets.Load() >= 1000 && away.Load() >= 2 }
	for answers < 100 || !flooded() {
		if time.Since(began) > 2*soon {
			t.Fatalf("within %s %d answers, %d resets, sent away %d times", time.Since(began), answers, resets.Load(), away.Load())
		}
		at := time.Now()
		if err := askOnce(client, "http://"+gw.Gateway+"/svc/"); err != nil {
			t.Fatalf("others are not served: %v", err)
		}
		slowest = max(slowest, time.Since(at))
		answers++
	}
	close(quit)
	wg.Wait()
	t.Logf("%.0f resets per second, sent away %d times, slowest of %d answers %s", float64(resets.Load())/time.Since(began).Seconds(), away.Load(), answers, slowest)
	if slowest > 2*time.Second {
		t.Errorf("the slowest answer took %s", slowest)
	}
}

// resetStreams opens and resets streams, 1,000 a second, until the connection ends.
func resetStreams(t *testing.T, address string, quit <-chan struct{}, resets *atomic.Int64) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	c.Write([]byte(http2.ClientPreface))
	fr := http2.NewFramer(c, nil)
	fr.WriteSettings()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for id := uint32(1); ; {
		select {
		case <-quit:
			return
		case <-tick.C:
		}
		for range 11 {
			var block bytes.Buffer
			enc := hpack.NewEncoder(&block)
			for _, f := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: "/svc/"}, {Name: ":authority", Value: "gw.test"}} {
				enc.WriteField(f)
			}
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
			if err := fr.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
				return
			}
			id += 2
			resets.Add(1)
		}
	}
}
