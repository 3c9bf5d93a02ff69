package waiting

import (
	"errors"
	"net/http"
	"net/textproto"
	"strconv"
	"time"

	"golang.org/x/net/http2"
)

// read reads frames until the connection ends.
func (c *Conn) read() {
	for {
		frame, err := c.from.ReadFrame()
		c.listen()
		if err == nil {
			err = c.take(frame)
		}
		if stream, is := errors.AsType[http2.StreamError](err); is {
			err = c.spoilt(stream, err)
		}
		if err != nil {
			c.end(err)
			return
		}
	}
}

// listen notes that something came.
func (c *Conn) listen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = time.Now()
	if c.pinged {
		c.pinged = false
		c.timer.Reset(c.cfg.Quiet)
	}
}

// spoilt ends one stream, of which something came that cannot be.
func (c *Conn) spoilt(by http2.StreamError, why error) error {
	s, err := c.stream(by.StreamID)
	if s != nil {
		c.refuse(s, by.Code, why)
	}
	return err
}

// take takes over a frame.
func (c *Conn) take(frame http2.Frame) error {
	switch f := frame.(type) {
	case *http2.MetaHeadersFrame:
		return c.takeHead(f)
	case *http2.DataFrame:
		return c.takeData(f)
	case *http2.SettingsFrame:
		return c.takeSettings(f)
	case *http2.RSTStreamFrame:
		return c.takeReset(f)
	case *http2.GoAwayFrame:
		c.takeAway(f)
	case *http2.PingFrame:
		return c.takePing(f)
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol) // which it was told not to send
	}
	return nil // what is left says how much may be sent, or is not known
}

// stream returns a stream that something came of; nil = it is over. One that was never
// begun is an error.
func (c *Conn) stream(id uint32) (*stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id%2 == 0 || id >= c.next {
		return nil, http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return c.streams[id], nil
}

func (c *Conn) takeHead(f *http2.MetaHeadersFrame) error {
	s, err := c.stream(f.StreamID)
	if s == nil {
		return err
	}
	wrong := http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
	if s.body != nil { // only the reader makes it
		if !f.StreamEnded() {
			return wrong
		}
		c.over(s)
		return nil
	}
	resp, err := answer(f)
	switch {
	case err != nil:
		return errors.Join(err, wrong)
	case resp.StatusCode >= 200:
	case f.StreamEnded() || s.infos == mostInfo:
		return wrong
	default:
		s.infos++
		return nil
	}
	c.mu.Lock()
	began := s.beginLocked(resp)
	c.mu.Unlock()
	if f.StreamEnded() {
		c.over(s)
	}
	if began != nil { // else it was given up in this moment
		began(resp, nil)
	}
	return nil
}

// answer makes an answer of its head.
func answer(f *http2.MetaHeadersFrame) (*http.Response, error) {
	if f.Truncated {
		return nil, errors.New("the head of the answer is too large")
	}
	code, err := strconv.Atoi(f.PseudoValue("status"))
	if err != nil || code < 100 || code > 999 {
		return nil, errors.New("the answer has no status")
	}
	resp := &http.Response{Proto: "HTTP/2.0", ProtoMajor: 2, StatusCode: code, Header: make(http.Header), ContentLength: -1}
	for _, field := range f.RegularFields() {
		resp.Header.Add(textproto.CanonicalMIMEHeaderKey(field.Name), field.Value)
	}
	if n, err := strconv.ParseInt(resp.Header.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		resp.ContentLength = n
	}
	return resp, nil
}

// over ends a stream of which all came.
func (c *Conn) over(s *stream) {
	s.stop()
	c.mu.Lock()
	if s.body.err == nil {
		s.body.endLocked()
	}
	c.mu.Unlock()
	c.drop(s)
}

func (c *Conn) takeData(f *http2.DataFrame) error {
	s, err := c.stream(f.StreamID)
	if err != nil {
		return err
	}
	if err := c.count(int64(f.Length)); err != nil || s == nil {
		return err
	}
	if s.body == nil {
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
	}
	c.mu.Lock()
	err = s.body.takeLocked(f.Data(), int(f.Length))
	c.mu.Unlock()
	if err == nil && f.StreamEnded() {
		c.over(s)
	}
	return err
}

// count counts what comes on the connection, whose window is always large: those of
// streams bound what is held.
func (c *Conn) count(n int64) error {
	if c.credit -= n; c.credit < 0 {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	more := connWindow - c.credit
	if more < connWindow/2 {
		return nil
	}
	c.credit = connWindow
	return c.write(func() error { return c.to.WriteWindowUpdate(0, uint32(more)) })
}

func (c *Conn) takeSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	c.heed(f)
	return c.write(func() error {
		if size, is := f.Value(http2.SettingHeaderTableSize); is {
			c.fields.SetMaxDynamicTableSizeLimit(min(size, 4096))
		}
		return c.to.WriteSettingsAck()
	})
}

// heed notes how many streams the peer grants.
func (c *Conn) heed(f *http2.SettingsFrame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.said {
		c.said, c.grants = true, 1000 // unless it says otherwise at first
	}
	if n, is := f.Value(http2.SettingMaxConcurrentStreams); is {
		c.grants = n
	}
}

func (c *Conn) takeReset(f *http2.RSTStreamFrame) error {
	s, err := c.stream(f.StreamID)
	if s != nil && c.drop(s) {
		s.fail(http2.StreamError{StreamID: f.StreamID, Code: f.ErrCode, Cause: errReset})
	}
	return err
}

var errReset = errors.New("received from peer")

// takeAway notes that the peer takes no more requests, and ends those that it did not take.
func (c *Conn) takeAway(f *http2.GoAwayFrame) {
	c.mu.Lock()
	c.away = true
	left := c.leaveLocked(f.LastStreamID)
	c.mu.Unlock()
	for _, s := range left {
		s.fail(ErrEnded)
	}
	c.tidy()
}

func (c *Conn) takePing(f *http2.PingFrame) error {
	if !f.IsAck() {
		return c.write(func() error { return c.to.WritePing(true, f.Data) })
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tellLocked()
	return nil
}

// tellLocked wakes who waits for the first ping. c.mu is held.
func (c *Conn) tellLocked() {
	if !c.told {
		c.told = true
		close(c.alive)
	}
}
