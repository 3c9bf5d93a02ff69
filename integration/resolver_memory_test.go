//go:build integration

package integration_test

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// TestWatchesOfManyServicesHoldLittle measures what lictor itself is resident with, when
// half of many services were asked for over HTTP/2 and each of them has a watch.
func TestWatchesOfManyServicesHoldLittle(t *testing.T) {
	together(t)
	agent := startConsul(t, withTLS(t))
	fillServicesAt(t, agent, *services, everywhere(t))
	secured := agent.Secured()
	p := startLictor(t, lictorConfig{Plain: true, Rest: fmt.Sprintf("consul {\n  address = %q\n  token = %q\n  tls {\n    ca_file = %q\n  }\n}\nresolver \"consul\" {\n}\n", secured.Addr, secured.Token, secured.CA)})
	p.Ready(t)
	began, before := time.Now(), resident(t, p)
	wanted := *services / 2
	askForMany(t, p, wanted)
	t.Logf("%d of %d services answer after %v, for %v of CPU; %d MiB were resident before", wanted, *services, time.Since(began).Round(time.Millisecond), cpuOf(t, p.Pid()), before>>10)
	time.Sleep(*settling)
	is := resident(t, p)
	in := func(series string) int { return int(metric(t, p, "go_memstats_"+series+"_bytes")) >> 20 }
	t.Logf("settled: %d MiB resident, %d at the height, of them %d in heap and %d in stacks; %d goroutines, %d connections", is>>10, memoryOf(t, p, "VmHWM:"),
		in("heap_inuse"), in("stack_inuse"), int(metric(t, p, "go_goroutines")), connsTo(t, secured))
	// The aim is 150 MiB for 5,000; this holds what was reached (docs/benchmarks.md).
	if most := 60<<10 + 44*wanted; is > most {
		t.Errorf("%d kB are resident with %d watches, want at most %d", is, wanted, most)
	}
}

// everywhere starts a backend that listens on each address of this machine, and returns its port.
func everywhere(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	go srv.Serve(l) //nolint:errcheck // always ErrServerClosed
	t.Cleanup(func() { srv.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

// askForMany sends each service a request, a few at a time.
func askForMany(t *testing.T, p *lictorProcess, wanted int) {
	t.Helper()
	const atOnce = 16
	errs := make([]error, atOnce)
	var wg sync.WaitGroup
	for k := range atOnce {
		wg.Go(func() {
			for i := k; i < wanted && errs[k] == nil; i += atOnce {
				var resp *http.Response
				if resp, errs[k] = http.Get("http://" + p.Gateway + "/" + many(i) + "/"); errs[k] != nil {
					return
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					errs[k] = fmt.Errorf("%s: %s", many(i), resp.Status)
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}
