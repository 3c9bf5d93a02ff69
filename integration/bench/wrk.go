package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// load is what wrk is told to do.
type load struct {
	path        string
	size        int64 // of the answer's body
	connections int
	upload      int64  // of the request's body; 0: a GET
	key         bool   // send the access key
	url         string // asked for in absolute form, of a forward proxy; "": path
}

// wrkMark begins the line in which the script tells the result.
const wrkMark = "lictor-bench"

// script has wrk tell the exact numbers. A script without a request function
// costs nothing per request.
func (l load) script() string {
	var s strings.Builder
	if l.upload > 0 {
		fmt.Fprintf(&s, "wrk.method = 'POST'\nwrk.body = string.rep('x', %d)\n", l.upload)
	}
	if l.url != "" {
		fmt.Fprintf(&s, "wrk.path = '%s'\n", l.url)
	}
	if l.key {
		fmt.Fprintf(&s, "wrk.headers['%s'] = '%s'\n", keyHeader, accessKey)
	}
	fmt.Fprintf(&s, `done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\n%s %%d %%.0f %%d %%d %%d %%d %%d\n', summary.requests, summary.bytes,
    e.connect, e.read, e.write, e.timeout, e.status))
end
`, wrkMark)
	return s.String()
}

// run loads address for the bed's duration and returns the number of requests
// answered. Any error, or an answer that is not 2xx, fails it.
func (l load) run(ctx context.Context, b *bed, address string) (requests int64, err error) {
	file := filepath.Join(b.dir, "wrk.lua")
	if err := os.WriteFile(file, []byte(l.script()), 0o600); err != nil {
		return 0, err
	}
	p, err := b.start("wrk", b.others, b.programs["wrk"], "-t1", fmt.Sprintf("-c%d", l.connections),
		fmt.Sprintf("-d%ds", b.duration/time.Second), "--timeout", "10s", "-s", file, "http://"+address+l.path)
	if err != nil {
		return 0, err
	}
	defer p.stop()
	select {
	case <-p.ended:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	return l.parse(p.said())
}

// parse reads what script printed.
func (l load) parse(output []byte) (requests int64, err error) {
	_, line, found := bytes.Cut(output, []byte(wrkMark))
	var size, connect, read, write, timeout, status int64
	if _, err := fmt.Sscan(string(line), &requests, &size, &connect, &read, &write, &timeout, &status); !found || err != nil {
		return 0, fmt.Errorf("wrk said:\n%s", output)
	}
	switch {
	case connect+read+write+timeout+status > 0:
		return 0, fmt.Errorf("wrk counted errors: connect %d, read %d, write %d, timeout %d, status %d", connect, read, write, timeout, status)
	case requests == 0:
		return 0, fmt.Errorf("wrk had no request answered")
	case size < requests*l.size:
		return 0, fmt.Errorf("%d answers brought %d bytes, want %d bytes each", requests, size, l.size)
	}
	return requests, nil
}
