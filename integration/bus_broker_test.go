//go:build integration

package integration_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func gatewayMemoryAlarm(t *testing.T, l *busLictor) {
	startWorker(t, busWorker{l.node.URL, "alarm", "alarm.worker", "#", echo})
	l.want(t, 200, "", "POST", "/alarm/x", "")
	l.node.ctl(t, "set_vm_memory_high_watermark", "0.0000001")
	eventually(t, soon, "the metric says that the broker is blocked", func() error {
		if metric(t, l.lictorProcess, "lictor_bus_blocked") != 1 {
			return errors.New("not yet")
		}
		return nil
	})
	var last *http.Response
	for range 5 {
		began := time.Now()
		last = l.want(t, 503, "unreachable", "POST", "/alarm/x", "hello")
		wantAtOnce(t, began)
	}
	if last.Header.Get("Retry-After") != "1" {
		t.Error("no Retry-After")
	}
	l.node.ctl(t, "set_vm_memory_high_watermark", "0.9")
	eventually(t, soon, "it heals", func() error {
		if status, why, _ := ask(t, "GET", "http://"+l.Gateway+"/alarm/x"); status != 200 {
			return fmt.Errorf("%d %s", status, why)
		}
		return nil
	})
}

// D16, D17, field notes B7.
func gatewayBusRestart(t *testing.T, l *busLictor) {
	startWorker(t, busWorker{l.node.URL, "load", "load.worker", "#", echo})
	l.want(t, 200, "", "POST", "/load/x", "")
	goroutines := metric(t, l.lictorProcess, "go_goroutines")
	var good, bad atomic.Int64
	quit := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			pace := time.Tick(20 * time.Millisecond) // a client that honours Retry-After, in small
			for k := 0; ; k++ {
				select {
				case <-quit:
					return
				default:
				}
				began, want := time.Now(), fmt.Sprint(i, " ", k)
				resp, text, err := l.call("POST", "/load/x", want)
				if took := time.Since(began); took > 4*time.Second {
					t.Errorf("an answer took %v, the limit is 2 s", took)
				}
				switch {
				case err == nil && resp.StatusCode == 200 && text == want:
					good.Add(1)
				case err == nil && resp.StatusCode >= 502 && resp.StatusCode <= 504 && reason(text) != "":
					bad.Add(1)
					<-pace
				default:
					t.Errorf("got %q, %v, want %q or 502..504", text, err, want)
				}
			}
		})
	}
	again := func(what string) {
		t.Helper()
		before := good.Load()
		eventually(t, 30*time.Second, what, func() error {
			if good.Load() < before+100 {
				return fmt.Errorf("%d good, %d bad", good.Load(), bad.Load())
			}
			return nil
		})
	}
	again("it serves")
	l.node.Stop()
	eventually(t, soon, "there are requests without a broker", func() error {
		if bad.Load() == 0 {
			return errors.New("none has failed")
		}
		return nil
	})
	l.node.start(t)
	again("it serves after a stop and a start")
	l.node.Kill()
	l.node.start(t)
	again("it serves after a crash")
	close(quit)
	wg.Wait()
	client.CloseIdleConnections()
	if bad.Load() == 0 || metric(t, l.lictorProcess, "lictor_bus_connects_total") < 3 {
		t.Errorf("%d bad answers: the test did not test", bad.Load())
	}
	eventually(t, soon, "goroutines are gone", func() error {
		if n := metric(t, l.lictorProcess, "go_goroutines"); n > goroutines+5 {
			return fmt.Errorf("%v goroutines, %v before", n, goroutines)
		}
		return nil
	})
	if n := metric(t, l.lictorProcess, "lictor_bus_in_flight"); n > 1 { // a probe may be on its way
		t.Errorf("%v requests are in flight", n)
	}
	// At the broker: the reply queue and channels to listen, to probe and to
	// publish to "load"; of the worker a queue and a channel.
	eventually(t, soon, "nothing is left behind at the broker", func() error {
		queues := l.node.ctl(t, "list_queues", "--no-table-headers", "name")
		channels := l.node.ctl(t, "list_channels", "--no-table-headers", "pid")
		if lines(queues) != 2 || lines(channels) > 4 {
			return errors.New(queues + channels)
		}
		return nil
	})
}
