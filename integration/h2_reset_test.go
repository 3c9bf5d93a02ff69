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
	began := time.Now()
	slowest := time.Duration(0)
	holds(t, 3*time.Second, "others are served", func() error {
		at := time.Now()
		err := askOnce(client, "http://"+gw.Gateway+"/svc/")
		slowest = max(slowest, time.Since(at))
		return err
	})
	close(quit)
	wg.Wait()
	rate := float64(resets.Load()) / time.Since(began).Seconds()
	t.Logf("%.0f resets per second, sent away %d times, slowest answer %s", rate, away.Load(), slowest)
	if rate < 300 {
		t.Errorf("%.0f resets per second are no flood", rate)
	}
	if away.Load() < 2 {
		t.Error("the client was not sent away")
	}
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
