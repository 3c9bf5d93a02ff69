//go:build integration

package integration_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/http2"

	"lictor/app/listener/certtest"
)

// timed are the calls that the runtime makes because time passes.
var timed = map[string]bool{"nanosleep": true, "restart_syscall": true, "sched_yield": true, "total": true}

// TestASmallGETMakesFewSystemCalls counts what a GET over kept connections costs in
// calls of the kernel: the request is received and sent on, the answer as well, and
// each of the two connections is asked once whether there is nothing, the backend's
// so that a stale answer is nobody's (docs/decisions/0005). With many connections at
// work they share the waits; alone, each request waits twice, and the runtime looks
// before it waits.
func TestASmallGETMakesFewSystemCalls(t *testing.T) {
	byItself(t)
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatalf("%v: integration/need strace strace installs it", err)
	}
	t.Setenv("GOMAXPROCS", "1") // more threads wake each other
	backend := peerOf(t, answerSmall)
	l := startLictor(t, lictorConfig{Plain: true, Rest: staticConfig("svc", "http://"+backend) +
		fmt.Sprintf("access_log {\n  path = %q\n}\n", filepath.Join(t.TempDir(), "access"))})
	for _, tt := range []struct {
		connections, rounds int
		most, moves         float64 // calls, and those among them that receive and send
	}{
		// A part of the requests wakes a goroutine that finds nothing yet; one call more in
		// each would be seen.
		{1, 60, 10.5, 6.6},
		{64, 8, 7.1, 6.8},
	} {
		clients := keptClients(t, l.Gateway, tt.connections)
		clients.rounds(t, 3)
		least, seen := leastCalls(t, strace, l, tt.rounds*tt.connections, func() { clients.rounds(t, tt.rounds) })
		moves := least["recvfrom"] + least["sendto"] + least["read"] + least["write"]
		t.Logf("%d connections: %.2f calls for each GET, %.2f of them receive and send: %s", tt.connections, seen, moves, list(least))
		if seen > tt.most || moves > tt.moves {
			t.Errorf("%d connections: %.2f calls for each GET, want at most %.2f; %.2f of them receive and send, want at most %.2f: %s",
				tt.connections, seen, tt.most, moves, tt.moves, list(least))
		}
		if moves < 4 {
			t.Errorf("%d connections: %.2f calls move the bytes of a GET: not all were counted", tt.connections, moves)
		}
		clients.close()
	}
}

// TestManyStreamsMakeFewSystemCalls counts the same where HTTP/2 brings more requests
// at once than connections to the backend are kept for long: they move together, and
// none waits for a connection that is made anew (docs/benchmarks.md).
func TestManyStreamsMakeFewSystemCalls(t *testing.T) {
	byItself(t)
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatalf("%v: integration/need strace strace installs it", err)
	}
	t.Setenv("GOMAXPROCS", "1") // more threads wake each other
	for name, secure := range map[string]bool{"in plain text": false, "by TLS": true} {
		t.Run(name, func(t *testing.T) { manyStreamsCalls(t, strace, secure) })
	}
}

func manyStreamsCalls(t *testing.T, strace string, secure bool) {
	cfg := lictorConfig{Plain: true, Rest: staticConfig("svc", "http://"+peerOf(t, answerSmall))}
	if secure {
		cfg.Gateway, _ = tlsConfig(t, certtest.NewCA(t))
	}
	l := startLictor(t, cfg)
	const connections, streams, rounds = 8, 16, 8
	var clients []*manyStreams
	for range connections {
		nc, err := net.Dial("tcp", l.Gateway)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		if secure {
			nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		}
		clients = append(clients, &manyStreams{hostileClient: hostileOn(nc), next: 1})
	}
	all := func(rounds int) {
		for range rounds {
			for _, c := range clients {
				c.ask(t, streams)
			}
			for _, c := range clients {
				c.answers(t, streams)
			}
		}
	}
	all(3)
	least, seen := leastCalls(t, strace, l, rounds*connections*streams, func() { all(rounds) })
	t.Logf("%.2f calls for each GET: %s", seen, list(least))
	// Two reads and a write for the backend, and what 16 requests and answers share.
	if made := least["connect"]; seen > 4 || made > 0.01 {
		t.Errorf("%.2f calls for each GET and %.2f connections, want at most 4 and none: %s", seen, made, list(least))
	}
	if sent := least["sendto"] - 1; sent <= 0 || sent > 0.4 {
		t.Errorf("%.2f writes for each answer, want at most 0.4, for many leave together: %s", sent, list(least))
	}
	// The runtime is told of neither: it would wake a thread for each that takes long.
	if told := least["read"] + least["write"]; told > 0.05 {
		t.Errorf("%.2f calls move bytes by way of the scheduler, want none: %s", told, list(least))
	}
}

// manyStreams is a client that asks for much at once.
type manyStreams struct {
	*hostileClient
	next uint32
}

// ask sends n requests, all in one write.
func (c *manyStreams) ask(t *testing.T, n int) {
	t.Helper()
	var out bytes.Buffer
	f := &hostileClient{http2.NewFramer(&out, nil), nil}
	for range n {
		f.request(c.next, true, "GET", "/svc/x")
		c.next += 2
	}
	f.WriteWindowUpdate(0, 4<<10)
	if _, err := c.nc.Write(out.Bytes()); err != nil {
		t.Fatal(err)
	}
}

// answers reads n answers.
func (c *manyStreams) answers(t *testing.T, n int) {
	t.Helper()
	for n > 0 {
		f, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			if f.StreamEnded() {
				n--
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			t.Fatalf("%v instead of an answer", f)
		}
	}
}

// leastCalls returns how often the process makes each system call for each of the
// requests that work makes, and the sum, of the run with the fewest: the machine's
// other work can only add to it.
func leastCalls(t *testing.T, strace string, l *lictorProcess, requests int, work func()) (least map[string]float64, sum float64) {
	t.Helper()
	for range 3 {
		calls := countCalls(t, strace, l.cmd.Process.Pid, work)
		all := 0.0
		for name, n := range calls {
			calls[name] = n / float64(requests)
			all += calls[name]
		}
		if least == nil || all < sum {
			least, sum = calls, all
		}
	}
	return least, sum
}

// list tells the calls by name.
func list(calls map[string]float64) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		all = append(all, fmt.Sprintf("%s %.2f", name, calls[name]))
	}
	return strings.Join(all, ", ")
}

// answerSmall answers each request on c with 100 bytes.
func answerSmall(c net.Conn) {
	reply := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n" + strings.Repeat("x", 100))
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		if len(line) > 2 {
			continue
		}
		if _, err := c.Write(reply); err != nil {
			return
		}
	}
}

// kept are connections of clients.
type kept []net.Conn

func keptClients(t *testing.T, address string, n int) (all kept) {
	t.Helper()
	for range n {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		all = append(all, c)
	}
	return all
}

// rounds sends a request on each connection and reads all answers, n times.
func (all kept) rounds(t *testing.T, n int) {
	t.Helper()
	buf := make([]byte, 4<<10)
	for range n {
		for _, c := range all {
			if _, err := io.WriteString(c, "GET /svc/x HTTP/1.1\r\nHost: gw.test\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range all {
			if k, err := c.Read(buf); err != nil || !bytes.HasPrefix(buf[:k], []byte("HTTP/1.1 200 ")) || !bytes.HasSuffix(buf[:k], []byte("xxx")) {
				t.Fatalf("answered %q, %v", buf[:k], err)
			}
		}
	}
}

func (all kept) close() {
	for _, c := range all {
		c.Close()
	}
}

// countCalls returns how often the process makes each system call while work is done.
func countCalls(t *testing.T, strace string, pid int, work func()) map[string]float64 {
	t.Helper()
	file := filepath.Join(t.TempDir(), "calls")
	cmd := exec.Command(strace, "-f", "-c", "-o", file, "-p", strconv.Itoa(pid))
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	told := bufio.NewReader(said)
	if line, err := told.ReadString('\n'); !strings.Contains(line, "attached") {
		t.Fatalf("strace said %q, %v", line, err)
	}
	work()
	_ = cmd.Process.Signal(syscall.SIGINT) // it ends by that, with a status of its own
	_, _ = io.Copy(io.Discard, told)
	_ = cmd.Wait()
	return parseCalls(t, file)
}

// parseCalls reads the table of strace -c: share, seconds, microseconds, calls,
// errors if there were any, name.
func parseCalls(t *testing.T, file string) map[string]float64 {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	calls := make(map[string]float64)
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 5 {
			continue
		}
		n, err := strconv.ParseFloat(words[3], 64)
		if name := words[len(words)-1]; err == nil && !timed[name] {
			calls[name] = n
		}
	}
	if len(calls) == 0 {
		t.Fatalf("strace counted nothing:\n%s", text)
	}
	return calls
}
