package http2

import (
	"testing"

	"golang.org/x/net/http2"
)

// A client may take back more of a stream's window than is left of it (RFC 9113 6.9.2).
// The end of a body that carries no byte needs no window.
func TestAnAnswerEndsThoughItsWindowIsBelowNothing(t *testing.T) {
	p := hello(t, nil)
	p.request(1, false, "/opened")
	p.until(func(f http2.Frame) bool { return f.Header().Type == http2.FrameData })
	p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	p.until(func(f http2.Frame) bool {
		s, ok := f.(*http2.SettingsFrame)
		return ok && s.IsAck()
	})
	p.fr.WriteData(1, true, nil)
	if o := p.outcome(1); o.how != "" {
		t.Errorf("got %s, want the end of the answer", o)
	}
	if p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000}); !p.alive(3) {
		t.Error("the connection serves no further stream")
	}
}

// until reads frames up to the first that is wanted.
func (p *peer) until(wanted func(http2.Frame) bool) {
	p.t.Helper()
	for {
		f, err := p.fr.ReadFrame()
		if err != nil {
			p.t.Fatal(err)
		}
		if wanted(f) {
			return
		}
	}
}
