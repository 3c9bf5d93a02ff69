package waiting

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

func TestARequestIsSentAndAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := pair(t, 10)
		long := "/v1/" + strings.Repeat("long", 10<<10)
		for i, path := range []string{"/v1/x?index=7", "/v1/a%2Fb", long} {
			a := ask(t, c, path)
			heads := came[*http2.MetaHeadersFrame](f)
			got := heads[len(heads)-1]
			for _, want := range [][2]string{{"method", "GET"}, {"scheme", "https"}, {"authority", "consul:8501"}, {"path", path}} {
				if got.PseudoValue(want[0]) != want[1] {
					t.Errorf("%s: %s is %q", path, want[0], got.PseudoValue(want[0]))
				}
			}
			if of := got.RegularFields(); len(of) != 1 || of[0].Name != "x-consul-token" || of[0].Value != "secret" || !got.StreamEnded() {
				t.Errorf("%s: %v", path, of)
			}
			stream := uint32(2*i + 1)
			f.head(stream, false, ":status", "103")
			if times, _, _ := a.came(); times != 0 {
				t.Error("what says that there is no answer yet is taken for it")
			}
			f.head(stream, false, ":status", "200", "x-consul-index", "8", "content-length", "100000")
			f.data(stream, false, 60_000)
			_, resp, err := a.came()
			if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("X-Consul-Index") != "8" || resp.ContentLength != 100_000 {
				t.Fatalf("%+v, %v", resp, err)
			}
			if n, err := io.ReadFull(resp.Body, make([]byte, 60_000)); err != nil {
				t.Fatalf("%d bytes, %v", n, err)
			}
			f.data(stream, false, 40_000)
			f.head(stream, true, "trailer", "of it")
			if n, err := a.read(t); n != 40_000 || err != nil {
				t.Errorf("%d bytes, %v", n, err)
			}
		}
		if s := c.State(); s.Active != 0 || s.Closing || len(came[*http2.RSTStreamFrame](f)) != 0 {
			t.Errorf("%+v is left", s)
		}
	})
}

// TestAPeerThatDoesWrongSpoilsNoMoreThanItsStream, or its connection: then all of it fails.
func TestAPeerThatDoesWrongSpoilsNoMoreThanItsStream(t *testing.T) {
	tests := []struct {
		name   string
		do     func(*far)
		code   http2.ErrCode // by which the stream is refused; 0 = the peer ended it
		closed bool          // the connection
	}{
		{"it resets the stream", func(f *far) { f.say(f.WriteRSTStream(1, http2.ErrCodeRefusedStream)) }, 0, false},
		{"data come before a head", func(f *far) { f.data(1, true, 5) }, http2.ErrCodeProtocol, false},
		{"there is no status", func(f *far) { f.head(1, true, "x", "y") }, http2.ErrCodeProtocol, false},
		{"the status is no number", func(f *far) { f.head(1, true, ":status", "ok") }, http2.ErrCodeProtocol, false},
		{"the head is too large", func(f *far) {
			f.head(1, true, append([]string{":status", "200"}, slices.Repeat([]string{"x", strings.Repeat("y", 500)}, 10)...)...)
		}, http2.ErrCodeProtocol, false},
		{"nothing but informs come", func(f *far) {
			for range mostInfo + 1 {
				f.head(1, false, ":status", "103")
			}
		}, http2.ErrCodeProtocol, false},
		{"an inform ends the stream", func(f *far) { f.head(1, true, ":status", "103") }, http2.ErrCodeProtocol, false},
		{"a second head does not end the stream", func(f *far) {
			f.head(1, false, ":status", "200")
			f.head(1, false, ":status", "200")
		}, http2.ErrCodeProtocol, false},
		{"more comes than the window lets", func(f *far) { f.head(1, false, ":status", "200"); f.data(1, false, Window+1) }, http2.ErrCodeFlowControl, false},
		{"more comes than the answer has", func(f *far) {
			f.head(1, false, ":status", "200", "content-length", "3")
			f.data(1, true, 4)
		}, http2.ErrCodeProtocol, false},
		{"a window grows by nothing", func(f *far) { f.say(f.WriteRawFrame(http2.FrameWindowUpdate, 0, 1, make([]byte, 4))) }, http2.ErrCodeProtocol, false},
		{"less comes than the answer has", func(f *far) {
			f.head(1, false, ":status", "200", "content-length", "3")
			f.data(1, true, 2)
		}, 0, false},
		{"something comes of a stream that was never begun", func(f *far) { f.data(99, true, 1) }, 0, true},
		{"something comes of a stream that the peer cannot begin", func(f *far) { f.head(2, true, ":status", "200") }, 0, true},
		{"it pushes", func(f *far) {
			f.say(f.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true}))
		}, 0, true},
		{"its settings are none", func(f *far) { f.say(f.WriteRawFrame(http2.FrameSettings, 0, 0, []byte("x"))) }, 0, true},
		{"a frame is too large", func(f *far) { f.say(f.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, maxFrame+1))) }, 0, true},
		{"a field is too large", func(f *far) { f.head(1, true, ":status", "200", "x", strings.Repeat("y", 50_000)) }, 0, true},
		{"it is no HTTP/2", func(f *far) { _, err := f.conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")); f.say(err) }, 0, true},
		{"it ends the connection", func(f *far) { f.conn.Close() }, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, f := pair(t, 10)
				spoilt, other := ask(t, c, "/spoilt"), ask(t, c, "/other")
				tt.do(f)
				times, resp, err := spoilt.came()
				if err == nil && resp != nil {
					_, err = io.ReadAll(resp.Body)
				}
				if times != 1 || err == nil {
					t.Errorf("it is answered %d times, %v", times, err)
				}
				if resets := came[*http2.RSTStreamFrame](f); tt.code == 0 && len(resets) > 0 || tt.code != 0 && (len(resets) != 1 || resets[0].ErrCode != tt.code) {
					t.Errorf("%v, want %v", resets, tt.code)
				}
				if got := c.State(); got.Closed != tt.closed {
					t.Fatalf("%+v", got)
				}
				if tt.closed {
					if times, _, err := other.came(); times != 1 || !errors.Is(err, ErrEnded) || c.Reserve() {
						t.Errorf("the other fails %d times: %v", times, err)
					}
					return
				}
				f.head(3, false, ":status", "200")
				f.data(3, true, 7)
				if n, err := other.read(t); n != 7 || err != nil || c.State().Active != 0 {
					t.Errorf("the other: %d bytes, %v", n, err)
				}
			})
		})
	}
}

// TestARequestEndsWithItsContext: the peer is told, and its place is another's.
func TestARequestEndsWithItsContext(t *testing.T) {
	for name, begun := range map[string]bool{"before its answer": false, "within its answer": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, f := pair(t, 2)
				cancelled, late := ask(t, c, "/cancelled"), ask(t, c, "/late")
				if begun {
					f.head(1, false, ":status", "200")
					f.head(3, false, ":status", "200")
				}
				ends := func(a *asked, want error) {
					times, resp, err := a.came()
					if begun {
						_, err = resp.Body.Read(make([]byte, 1))
					}
					if times != 1 || !errors.Is(err, want) {
						t.Errorf("%d times %v, want %v", times, err, want)
					}
				}
				cancelled.cancel()
				ends(cancelled, context.Canceled)
				stays := time.NewTicker(3 * time.Second) // of other frames, so that no ping is needed
				defer stays.Stop()
				for end := time.Now().Add(time.Hour); time.Now().Before(end); <-stays.C {
					f.say(f.WritePing(true, [8]byte{}))
				}
				ends(late, context.DeadlineExceeded)
				if resets := came[*http2.RSTStreamFrame](f); len(resets) != 2 || resets[0].ErrCode != http2.ErrCodeCancel {
					t.Errorf("%v", resets)
				}
				f.data(1, true, 100) // on its way in that moment
				if got := places(c); got != 2 {
					t.Errorf("%d places, want two", got)
				}
			})
		})
	}
}

// TestWhatNobodyReadsIsNotSent: each answer has a window, and what is not wanted takes no
// room of the connection.
func TestWhatNobodyReadsIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := pair(t, 2000)
		credit := func(stream uint32) (sum int) {
			for _, w := range came[*http2.WindowUpdateFrame](f) {
				if w.StreamID == stream {
					sum += int(w.Increment)
				}
			}
			return sum
		}
		const most = connWindow/Window + 40
		for i := range uint32(most) {
			a, stream := ask(t, c, "/x"), 2*i+1
			f.head(stream, false, ":status", "200")
			f.data(stream, false, Window)
			if got := credit(stream); got != 0 {
				t.Fatalf("the window of what nobody reads grows by %d", got)
			}
			switch _, resp, _ := a.came(); i % 3 {
			case 0:
				_ = resp.Body.Close()
			case 1:
				a.cancel()
			default:
				if _, err := io.ReadFull(resp.Body, make([]byte, Window)); err != nil || credit(stream) != Window {
					t.Errorf("once it was read the window grows by %d, %v", credit(stream), err)
				}
				f.data(stream, true, 0)
			}
		}
		if have := 65_535 + credit(0) - most*Window; have < connWindow/2 || c.State().Active != 0 {
			t.Errorf("the connection has a window of %d, want %d at least; %+v", have, connWindow/2, c.State())
		}
	})
}

func TestAConnectionOnWhichNothingComesEnds(t *testing.T) {
	tests := []struct {
		name   string
		peer   func(*far)
		closed bool
	}{
		{"its ping is answered", func(f *far) { f.say(f.WritePing(true, [8]byte{1})) }, false},
		{"anything else comes", func(f *far) { f.say(f.WriteSettingsAck()) }, false},
		{"its ping is not answered", func(*far) {}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, f := pair(t, 10)
				a := ask(t, c, "/x")
				for n := range 5 {
					time.Sleep(usual.Quiet)
					if got := len(came[*http2.PingFrame](f)); got != n+2 && !tt.closed {
						t.Errorf("%d pings, want %d and that of the beginning", got, n+1)
					}
					tt.peer(f)
				}
				times, _, err := a.came()
				if c.State().Closed != tt.closed || tt.closed != (times == 1 && errors.Is(err, ErrEnded)) {
					t.Errorf("%+v; %d times %v", c.State(), times, err)
				}
			})
		})
	}
}

// TestAPeerThatDoesNotReadKeepsNobody for longer than it may take to say a word.
func TestAPeerThatDoesNotReadKeepsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := pair(t, 10)
		a, b := ask(t, c, "/x"), ask(t, c, "/y")
		f.hears(false)
		b.cancel() // which is read last
		time.Sleep(usual.Quiet + usual.Word)
		if times, _, err := a.came(); times != 1 || !errors.Is(err, ErrEnded) || !c.State().Closed {
			t.Errorf("%d times %v; %+v", times, err, c.State())
		}
	})
}

func TestAConnectionEndsWhenNobodyNeedsIt(t *testing.T) {
	tests := []struct {
		name   string
		do     func(*Conn, *far)
		failed bool // the request that is on its way
		left   bool // the connection goes on, when that is over
	}{
		{"nothing happens", func(*Conn, *far) {}, false, true},
		{"it is retired", func(c *Conn, _ *far) { c.Retire() }, false, false},
		{"the peer goes away", func(_ *Conn, f *far) { f.say(f.WriteGoAway(1, http2.ErrCodeNo, nil)) }, false, false},
		{"the peer goes away and did not take the request", func(_ *Conn, f *far) { f.say(f.WriteGoAway(0, http2.ErrCodeNo, nil)) }, true, false},
		{"nobody asks for long", func(_ *Conn, f *far) {
			f.head(1, true, ":status", "200")
			for range usual.Idle / usual.Quiet {
				time.Sleep(usual.Quiet)
				f.say(f.WriteSettingsAck())
			}
			time.Sleep(2 * usual.Quiet)
		}, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, f := pair(t, 10)
				a := ask(t, c, "/x")
				tt.do(c, f)
				if !c.State().Closed {
					if c.Reserve() != tt.left {
						t.Errorf("there is a place: %v", !tt.left)
					}
					f.head(1, true, ":status", "200")
				}
				if times, _, err := a.came(); times != 1 || tt.failed != errors.Is(err, ErrEnded) {
					t.Errorf("%d times %v", times, err)
				}
				if c.State().Closed == tt.left {
					t.Errorf("%+v", c.State())
				}
			})
		})
	}
}

// places takes all places that there are, and returns how many.
func places(c *Conn) (n int) {
	for c.Reserve() {
		n++
	}
	return n
}

func TestOnlySoManyRequestsAsThePeerGrants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := pair(t, 3)
		ask(t, c, "/x")
		if got := c.State(); got.Grants != 3 || got.Active != 1 || places(c) != 2 {
			t.Errorf("%+v", got)
		}
		f.say(f.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 4}))
		if got := places(c); got != 1 {
			t.Errorf("%d places more, want one", got)
		}
	})
}

// TestAPeerThatDoesNotSpeakIsNoConnection, and it is closed.
func TestAPeerThatDoesNotSpeakIsNoConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, end := net.Pipe()
		go io.Copy(io.Discard, end) //nolint:errcheck // it ends with the connection
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if _, err := Open(ctx, near, usual); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if _, err := end.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("it is not closed: %v", err)
		}
	})
}

// TestAPanicEndsItsConnectionAlone, and all that waits on it is told.
func TestAPanicEndsItsConnectionAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := pair(t, 10)
		other := ask(t, c, "/other")
		c.Reserve()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://consul:8501/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		c.Send(req, func(*http.Response, error) { panic("odd") })
		f.head(3, true, ":status", "200")
		if times, _, err := other.came(); times != 1 || !errors.Is(err, ErrEnded) || !c.State().Closed {
			t.Errorf("%d times %v; %+v", times, err, c.State())
		}
	})
}
