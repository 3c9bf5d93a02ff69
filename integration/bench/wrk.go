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
	origin      string // send this Origin; "": none
	tokens      int    // send so many bearer tokens, in turn; 0: none
	url         string // asked for in absolute form, of a forward proxy; "": path
	pause       int    // milliseconds before each request of a connection, on average; 0: none
}

// loaded is what wrk found.
type loaded struct {
	requests int64 // that were answered
	p99      int64 // microseconds from a request to the end of its answer, of 99 %
}

// manyTokensScript sends the lines of a file as tokens, one after the other.
const manyTokensScript = `local tokens, at = {}, 0
for line in io.lines('%s') do tokens[#tokens+1] = line end
request = function()
  at = at %% #tokens + 1
  wrk.headers['Authorization'] = 'Bearer ' .. tokens[at]
  return wrk.format()
end
`

// wrkMark begins the line in which the script tells the result.
const wrkMark = "lictor-bench"

// script has wrk tell the exact numbers. A script without a request function
// costs nothing per request; several tokens need one.
func (l load) script(tokens string) (string, error) {
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
	if l.origin != "" {
		fmt.Fprintf(&s, "wrk.headers['Origin'] = '%s'\n", l.origin)
	}
	if l.tokens > 0 {
		all, err := newTokens(l.tokens)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&s, "wrk.headers['Authorization'] = 'Bearer %s'\n", all[0])
		if l.tokens > 1 { // from a file, for a script has not so many constants
			if err := os.WriteFile(tokens, []byte(strings.Join(all, "\n")), 0o600); err != nil {
				return "", err
			}
			fmt.Fprintf(&s, manyTokensScript, tokens)
		}
	}
	if l.pause > 0 { // not all at the same time
		fmt.Fprintf(&s, "delay = function() return math.random(0, %d) end\n", 2*l.pause)
	}
	fmt.Fprintf(&s, `done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\n%s %%d %%.0f %%d %%d %%d %%d %%d %%d\n', summary.requests, summary.bytes,
    e.connect, e.read, e.write, e.timeout, e.status, latency:percentile(99.0)))
end
`, wrkMark)
	return s.String(), nil
}

// run loads address for the bed's duration and returns the number of requests
// answered. Any error, or an answer that is not 2xx, fails it.
func (l load) run(ctx context.Context, b *bed, address string) (requests int64, err error) {
	found, err := l.find(ctx, b, address)
	return found.requests, err
}

// find is run, and returns all that wrk found.
func (l load) find(ctx context.Context, b *bed, address string) (found loaded, err error) {
	file := filepath.Join(b.dir, "wrk.lua")
	script, err := l.script(filepath.Join(b.dir, "tokens"))
	if err != nil {
		return found, err
	}
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		return found, err
	}
	p, err := b.start("wrk", b.others, b.programs["wrk"], "-t1", fmt.Sprintf("-c%d", l.connections),
		fmt.Sprintf("-d%ds", b.duration/time.Second), "--timeout", "10s", "-s", file, "http://"+address+l.path)
	if err != nil {
		return found, err
	}
	defer p.stop()
	select {
	case <-p.ended:
	case <-ctx.Done():
		return found, ctx.Err()
	}
	return l.parse(p.said())
}

// parse reads what script printed.
func (l load) parse(output []byte) (got loaded, err error) {
	_, line, found := bytes.Cut(output, []byte(wrkMark))
	var size, connect, read, write, timeout, status int64
	if _, err := fmt.Sscan(string(line), &got.requests, &size, &connect, &read, &write, &timeout, &status, &got.p99); !found || err != nil {
		return loaded{}, fmt.Errorf("wrk said:\n%s", output)
	}
	switch {
	case connect+read+write+timeout+status > 0:
		return loaded{}, fmt.Errorf("wrk counted errors: connect %d, read %d, write %d, timeout %d, status %d", connect, read, write, timeout, status)
	case got.requests == 0:
		return loaded{}, fmt.Errorf("wrk had no request answered")
	case size < got.requests*l.size:
		return loaded{}, fmt.Errorf("%d answers brought %d bytes, want %d bytes each", got.requests, size, l.size)
	}
	return got, nil
}
