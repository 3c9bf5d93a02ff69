package http2

//lint:file-ignore SA1019 net/http does not say that a request was not processed (docs/decisions/0008)

import "golang.org/x/net/http2"

// line is a connection to the instance that requests share. Its counts are
// guarded by the mutex of its client.
type line struct {
	cc     *http2.ClientConn
	wire   *wire
	serial int // in the order in which they were made

	streams  int   // places that requests have
	uploads  int   // of them, those with a body that comes bit by bit
	promised int64 // bytes of bodies that are sent at once
	taken    bool  // by a request that shares it with none
}

// Bounds by which no request can use up what others share.
const (
	// answerWindow is how much of an answer waits for a client that does not read.
	answerWindow = 128 << 10
	// lineStreams is how many requests share a connection; together they cannot
	// use up the window of the connection, lineWindow.
	lineStreams = 100
	lineWindow  = lineStreams*answerWindow + 1<<20
	// spread is how many connections are made for bodies that come bit by bit
	// before they share any: what one of them does not get rid of, because its
	// client or the instance does not read, uses up the connection's window.
	spread = 64
)

// need is what a request wants of a line.
type need struct {
	streams bool  // its body comes bit by bit
	body    int64 // bytes of a body that is there as a whole
	any     bool  // any line with room will do, for no other can be made
	after   int   // only a line made after this one will do, and none that others use meanwhile
	login   bool  // it tries a login that belongs to the connection: the line ends with it
}

// takes reports whether l has room for a request. A body that is there as a
// whole needs a window that nobody else can use up; one that comes bit by bit
// goes where no such body waits. What has no body stays away from those as
// well: an instance that answered before a body's end may end the connection
// over trailers that come after it.
func (l *line) takes(n need) bool {
	switch {
	case l.taken, l.streams >= lineStreams, !l.cc.CanTakeNewRequest():
		return false
	case n.after > 0:
		return l.serial > n.after && l.streams == 0
	case n.any:
		return true
	case n.streams:
		return l.streams == l.uploads
	case n.body > 0:
		return l.uploads == 0 && (l.streams == 0 || l.wire.window.Load()-l.promised >= n.body)
	}
	return l.uploads == 0
}

// enter gives a request its place, leave takes it back.
func (l *line) enter(n need) { l.count(n, 1) }
func (l *line) leave(n need) { l.count(n, -1) }

func (l *line) count(n need, by int) {
	l.streams += by
	l.taken = by > 0 && n.after > 0
	l.promised += int64(by) * n.body
	l.wire.pulse.Expect(by)
	if n.streams {
		l.uploads += by
	}
}

// choose returns the line for a request, nil if one is to be made. c.mu must be held.
func (c *Client) choose(n need) *line {
	var best *line
	for _, l := range c.lines {
		if !l.takes(n) {
			continue
		}
		if !n.streams || n.any || l.uploads == 0 {
			return l
		}
		if best == nil || l.uploads < best.uploads {
			best = l
		}
	}
	if best != nil && len(c.lines) < spread {
		return nil // better one of its own
	}
	return best
}
