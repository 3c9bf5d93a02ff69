package http2

import (
	"bytes"
	"io"
	"net"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/net/http2"
)

// told is a connection on which an instance says something.
type told struct {
	net.Conn
	io.Reader
}

func (c told) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// TestLargeFramesOfInstances: whatever an instance says it takes, the library
// hears of frames of 16 KiB, in whatever pieces it comes; all else is as it was.
func TestLargeFramesOfInstances(t *testing.T) {
	settings := []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 1 << 20}, {ID: http2.SettingMaxFrameSize, Val: 1<<24 - 1}, {ID: http2.SettingInitialWindowSize, Val: 5<<8 | 5}}
	var said bytes.Buffer
	fr := http2.NewFramer(&said, nil)
	for _, err := range []error{
		fr.WriteSettings(settings...), fr.WriteSettingsAck(), fr.WriteWindowUpdate(0, 1<<20),
		fr.WriteData(1, false, []byte{0, 5, 0, 0xff, 0xff, 0xff}), fr.WriteSettings(settings[1]),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, pieces := range map[string]func(io.Reader) io.Reader{
		"at once":      func(r io.Reader) io.Reader { return r },
		"byte by byte": iotest.OneByteReader, "by halves": iotest.HalfReader,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(told{Reader: pieces(bytes.NewReader(said.Bytes()))}, time.Second, func() {})
			heard := http2.NewFramer(nil, w)
			var frames []http2.Setting
			for {
				f, err := heard.ReadFrame()
				if err != nil {
					break
				}
				switch f := f.(type) {
				case *http2.SettingsFrame:
					_ = f.ForeachSetting(func(s http2.Setting) error { // returns what we return
						frames = append(frames, s)
						return nil
					})
				case *http2.DataFrame:
					if !bytes.Equal(f.Data(), []byte{0, 5, 0, 0xff, 0xff, 0xff}) {
						t.Errorf("data came as %v", f.Data())
					}
				}
			}
			want := []http2.Setting{settings[0], {ID: http2.SettingMaxFrameSize, Val: maxFrame}, settings[2], {ID: http2.SettingMaxFrameSize, Val: maxFrame}}
			if len(frames) != len(want) {
				t.Fatalf("heard %v, want %v", frames, want)
			}
			for i := range want {
				if frames[i] != want[i] {
					t.Errorf("heard %v, want %v", frames[i], want[i])
				}
			}
			if got := w.window.Load(); got != initialWindow+1<<20 {
				t.Errorf("the window grew by %d", got)
			}
		})
	}
}
