package http2

import (
	"time"

	"golang.org/x/net/http2"
)

// maxBlock bounds a header block as it comes, in bytes and in frames: a client
// that goes on without an end is sent away (CVE-2024-27316 and its like).
func (c *conn) maxBlock() int { return 2*c.srv.h1.Limits().MaxHeader + maxFrame }

const maxBlockFrames = 64

func (c *conn) headers(f *http2.HeadersFrame) error {
	id := f.StreamID
	if id%2 == 0 {
		return &connError{http2.ErrCodeProtocol, "an even stream id"}
	}
	limit := c.srv.h1.Limits().MaxHeader
	c.mu.Lock()
	st := c.streams[id]
	was, ours := c.ended(id)
	c.mu.Unlock()
	switch {
	case st != nil:
		c.block.begin(st, true, f.StreamEnded(), nil, limit)
	case id <= c.lastID && was:
		if !ours {
			return &connError{http2.ErrCodeStreamClosed, "HEADERS on a stream that ended"}
		}
		c.block.begin(nil, true, f.StreamEnded(), nil, limit)
	case id <= c.lastID:
		return &connError{http2.ErrCodeProtocol, "a stream id that is not new"}
	default:
		c.lastID = id
		st := c.open(id)
		var text []byte
		if st != nil {
			text = st.text
		}
		c.block.begin(st, false, f.StreamEnded(), text, limit)
	}
	if f.HasPriority() && f.Priority.StreamDep == id {
		c.block.wrong("a stream depends on itself")
	}
	return c.fragment(id, f.HeaderBlockFragment(), f.HeadersEnded())
}

func (c *conn) continuation(f *http2.ContinuationFrame) error {
	return c.fragment(f.StreamID, f.HeaderBlockFragment(), f.HeadersEnded())
}

// fragment decodes a part of a header block.
func (c *conn) fragment(id uint32, p []byte, last bool) error {
	b := &c.block
	if b.size += len(p); b.size > c.maxBlock() {
		return errCalm
	}
	if b.frames++; b.frames > maxBlockFrames {
		return errCalm
	}
	if _, err := c.dec.Write(p); err != nil {
		return &connError{http2.ErrCodeCompression, "bad header block"}
	}
	if !last {
		return nil
	}
	if err := c.dec.Close(); err != nil {
		return &connError{http2.ErrCodeCompression, "bad header block"}
	}
	b.open = false
	switch {
	case b.st == nil && b.trailers: // of a stream that we ended
		return c.guard.idle(time.Now())
	case b.st == nil:
		return c.turnAway(id)
	case b.trailers:
		return c.trailers(id)
	}
	return c.request(id)
}

// turnAway refuses a stream for which there is no room. Unlike one that is spoilt it is
// not the client's fault, who cannot know what others have, nor costs it much.
func (c *conn) turnAway(id uint32) error {
	if err := c.guard.idle(time.Now()); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note(id, true)
	c.out = appendReset(c.out, id, http2.ErrCodeRefusedStream)
	return c.flushSoon()
}

// open makes a stream, nil if there are too many, or we are leaving. Those that are over
// for the client do not count with what it was told, but with what we have to do.
func (c *conn) open(id uint32) *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left || len(c.streams) >= maxStreams || c.running >= maxRunning || !c.srv.h1.TakeStream(c.peer) {
		return nil
	}
	c.running++
	c.lastOpened = id
	st := newStream(c, id)
	c.streams[id] = st
	return st
}

// request has a stream served whose head is complete.
func (c *conn) request(id uint32) error {
	b, st := &c.block, c.block.st
	b.finish()
	c.mu.Lock()
	st.text, st.declared, st.connect = b.text, b.length, b.protocol != ""
	st.head = b.method == "HEAD"
	st.ended, st.cut = b.ended, b.over()
	if b.malformed != "" {
		st.end(errSpoilt)
		c.finished()
		c.mu.Unlock()
		st.free()
		return &streamError{id, http2.ErrCodeProtocol, b.malformed}
	}
	c.guard.worked(8)
	now := b.ended || st.connect
	if now {
		st.complete()
	}
	c.mu.Unlock()
	if now {
		c.start(st)
		return nil
	}
	c.waiting = append(c.waiting, st)
	return nil
}

// trailers ends the body of a request.
func (c *conn) trailers(id uint32) error {
	b := &c.block
	c.mu.Lock()
	defer c.mu.Unlock()
	st := b.st
	switch {
	case c.streams[id] != st:
		return nil // it ended meanwhile
	case st.ended:
		return &streamError{id, http2.ErrCodeStreamClosed, "HEADERS behind the end of the stream"}
	case !b.ended:
		return &streamError{id, http2.ErrCodeProtocol, "trailers that are not the end"}
	case b.malformed != "" || b.over():
		return &streamError{id, http2.ErrCodeProtocol, "bad trailers"}
	case st.declared >= 0 && st.got != st.declared:
		return &streamError{id, http2.ErrCodeProtocol, "the body is not as long as was told"}
	}
	st.trailers = b.text
	st.ended = true
	st.cond.Broadcast()
	return nil
}

func (c *conn) data(f *http2.DataFrame) error {
	err := c.take(f)
	c.srv.relieve()
	return err
}

// take gives the bytes of a frame to their stream.
func (c *conn) take(f *http2.DataFrame) error {
	id, data := f.StreamID, f.Data()
	size := int64(f.Length) // padding counts
	if size == 0 && !f.StreamEnded() || len(data) == 0 && size > 0 {
		if err := c.guard.idle(time.Now()); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.recvWindow -= size; c.recvWindow < 0 {
		return &connError{http2.ErrCodeFlowControl, "more data than the connection may carry"}
	}
	c.uploaded += size
	c.hold(size)
	st := c.streams[id]
	if st == nil {
		return c.strayData(id, size)
	}
	padding := size - int64(len(data))
	switch {
	case st.ended:
		c.credit(size)
		return &streamError{id, http2.ErrCodeStreamClosed, "data behind the end of the stream"}
	case st.recvWindow < size:
		c.credit(size)
		return &streamError{id, http2.ErrCodeFlowControl, "more data than the stream may carry"}
	}
	if len(data) > 0 {
		c.guard.worked(1)
	}
	st.got += int64(len(data))
	if st.declared >= 0 && (st.got > st.declared || f.StreamEnded() && st.got != st.declared) {
		c.credit(size)
		return &streamError{id, http2.ErrCodeProtocol, "the body is not as long as was told"}
	}
	st.recvWindow -= size
	st.in.write(data)
	st.ended = f.StreamEnded()
	st.cond.Broadcast()
	if padding > 0 {
		st.taken(padding)
	}
	if c.widen() || padding > 0 { // by now the window may be the large one, though no backend takes anything
		return c.flushSoon()
	}
	return nil
}

// strayData answers data for a stream that is not there.
func (c *conn) strayData(id uint32, size int64) error {
	if id > c.lastID {
		return &connError{http2.ErrCodeProtocol, "data on an idle stream"}
	}
	c.credit(size)
	if was, ours := c.ended(id); was && !ours {
		return &streamError{id, http2.ErrCodeStreamClosed, "data on a stream that ended"}
	}
	return c.flushSoon()
}

func (c *conn) windowUpdate(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.earned > 0 {
		c.earned--
	} else if err := c.guard.idle(time.Now()); err != nil {
		return err
	}
	if f.StreamID == 0 {
		if c.sendWindow += int64(f.Increment); c.sendWindow > maxWindow {
			return &connError{http2.ErrCodeFlowControl, "window too large"}
		}
		c.stirAll()
		return nil
	}
	st := c.streams[f.StreamID]
	if st == nil {
		if f.StreamID > c.lastID {
			return &connError{http2.ErrCodeProtocol, "WINDOW_UPDATE on an idle stream"}
		}
		return nil
	}
	if st.sendWindow += int64(f.Increment); st.sendWindow > maxWindow {
		return &streamError{f.StreamID, http2.ErrCodeFlowControl, "window too large"}
	}
	st.cond.Broadcast()
	return nil
}

func (c *conn) rstStream(f *http2.RSTStreamFrame) error {
	if f.StreamID > c.lastID {
		return &connError{http2.ErrCodeProtocol, "RST_STREAM on an idle stream"}
	}
	c.mu.Lock()
	st := c.streams[f.StreamID]
	if st != nil {
		st.end(errReset)
	}
	err := c.flushSoon() // what nobody read is credited
	c.mu.Unlock()
	switch {
	case err != nil:
		return err
	case st == nil:
		return c.guard.idle(time.Now())
	}
	if !c.guard.resets.take(time.Now()) {
		return errCalm
	}
	return nil
}

func (c *conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return c.guard.idle(time.Now())
	}
	if err := c.guard.idle(time.Now()); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.NumSettings() > maxSettings {
		return errCalm
	}
	resize := resizing{conn: c}
	if err := f.ForeachSetting(resize.setting); err != nil {
		return err
	}
	if err := resize.apply(); err != nil {
		return err
	}
	c.out = appendFrame(c.out, 0, http2.FrameSettings, http2.FlagSettingsAck, 0)
	return c.flushSoon()
}

// maxSettings bounds the settings in a frame. There are not ten that anybody
// uses; one that comes twice counts twice, in its order (RFC 9113 6.5.3).
const maxSettings = 32

// resizing is what the settings in a frame do to the windows of all streams,
// which is done at once, however many they are.
type resizing struct {
	*conn
	grown, most int64 // in the end, and at most on the way there
}

func (c *resizing) setting(s http2.Setting) error {
	if err := s.Valid(); err != nil {
		return c.framing(err)
	}
	switch s.ID {
	case http2.SettingInitialWindowSize:
		c.grown += int64(s.Val) - c.initial
		c.initial = int64(s.Val)
		c.most = max(c.most, c.grown)
	case http2.SettingMaxFrameSize:
		c.frameSize = min(int(s.Val), maxFrame)
	case http2.SettingHeaderTableSize:
		c.shrunk = c.shrunk || s.Val < 4096
	}
	return nil
}

func (c *resizing) apply() error {
	if c.grown == 0 && c.most == 0 {
		return nil
	}
	for _, st := range c.streams {
		if st.sendWindow+c.most > maxWindow {
			return &connError{http2.ErrCodeFlowControl, "window too large"}
		}
		st.sendWindow += c.grown
		st.cond.Broadcast()
	}
	return nil
}

func (c *conn) ping(f *http2.PingFrame) error {
	if f.IsAck() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.leaving && !c.left && f.Data == c.drainPing {
			return c.leave()
		}
		return c.guard.idle(time.Now())
	}
	if err := c.guard.idle(time.Now()); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = appendFrame(c.out, len(f.Data), http2.FramePing, http2.FlagPingAck, 0)
	c.out = append(c.out, f.Data[:]...)
	return c.flushSoon()
}

// ended reports whether a stream was here lately, and whether it was us who
// ended it: then the client may not know yet.
func (c *conn) ended(id uint32) (was, ours bool) {
	for i := range c.closed {
		if c.closed[i].id == id {
			return true, c.closed[i].ours
		}
	}
	return false, false
}
