package socket

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What the kernel says of a connection has it given up only if the peer was silent for
// as long as it may since something was on its way to it, or since it was asked.
func TestHowLongAPeerMayBeSilent(t *testing.T) {
	const limit = 2 * time.Second
	const ms = 1000 // in microseconds
	tests := []struct {
		name  string
		info  unix.TCPInfo
		due   bool
		want  time.Duration
		watch bool
	}{
		{"all is acknowledged, and no answer is due", unix.TCPInfo{Last_ack_recv: 60_000}, false, limit - time.Minute, false},
		{"just written, after a minute without a word", unix.TCPInfo{Unacked: 1, Rto: 204 * ms, Last_ack_recv: 60_000}, false, limit, true},
		{"written 150 ms ago, to a peer that is 300 ms away, after two seconds", unix.TCPInfo{Unacked: 1, Rto: 600 * ms, Last_data_sent: 150, Last_ack_recv: 2_100}, false, limit - 150*time.Millisecond, true},
		{"lost once", unix.TCPInfo{Unacked: 1, Rto: 400 * ms, Backoff: 1, Last_data_sent: 10, Last_ack_recv: 2_200}, false, limit - 210*time.Millisecond, true},
		{"sent four times, in 1.4 s and 0.6 s more", unix.TCPInfo{Unacked: 1, Rto: 1600 * ms, Backoff: 3, Last_data_sent: 600, Last_ack_recv: 9_000}, false, 0, true},
		{"the same, but it acknowledged a part just now", unix.TCPInfo{Unacked: 1, Rto: 1600 * ms, Backoff: 3, Last_data_sent: 600, Last_ack_recv: 5}, false, limit - 5*time.Millisecond, true},
		{"a window that is closed, and was not asked for", unix.TCPInfo{Notsent_bytes: 9, Probes: 1, Last_ack_recv: 9_000}, false, limit, true},
		{"a window that is closed, and nobody answers", unix.TCPInfo{Notsent_bytes: 9, Probes: 2, Last_ack_recv: 9_000}, false, limit - 9*time.Second, true},
		{"an answer is due, a second after the last word", unix.TCPInfo{Last_ack_recv: 1_000}, true, limit - time.Second, true},
		{"an answer is due, and the peer is to be asked", unix.TCPInfo{Last_ack_recv: 5_000}, true, limit / 2, true},
		{"an answer is due, and the peer said twice nothing", unix.TCPInfo{Probes: 2, Last_ack_recv: 3_000}, true, time.Second, true},
		{"an answer is due, and the peer said nothing for twice as long as it may", unix.TCPInfo{Probes: 2, Last_ack_recv: 4_000}, true, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if wait, watch := left(&tt.info, limit, tt.due); watch != tt.watch || watch && wait != tt.want {
				t.Errorf("got %s, watched %t; want %s, %t", wait, watch, tt.want, tt.watch)
			}
		})
	}
}

// A connection on which an answer is due asks its peer often whether it is there, and no
// more once the answer came: an idle connection costs no packets.
func TestAPeerIsAskedOftenWhileAnAnswerIsDue(t *testing.T) {
	a, _ := socketPair(t)
	p := NewPulse(a, time.Hour)
	defer p.Stop()
	idle := func() (seconds int) {
		_ = p.rc.Control(func(fd uintptr) { seconds, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE) })
		return seconds
	}
	p.limit = 0 // it is due to be asked at once
	p.due.Add(1)
	if _, watch := p.rest(); !watch || idle() != 1 {
		t.Errorf("while an answer is due: watched %t, asked after %d s, want after 1", watch, idle())
	}
	p.due.Add(-1)
	if _, watch := p.rest(); watch || idle() != int(Dialer.KeepAliveConfig.Idle/time.Second) {
		t.Errorf("once it came: watched %t, asked after %d s, want as any other", watch, idle())
	}
}

func TestAPulseThatWasStoppedLeavesNoTimer(t *testing.T) {
	a, _ := socketPair(t)
	p := NewPulse(a, time.Hour)
	p.Wrote()
	if p.timer == nil {
		t.Fatal("no timer runs for what was written")
	}
	p.Stop()
	p.wind(time.Hour) // as a look that was under way does
	if p.timer.Stop() {
		t.Error("the timer of a connection that was closed runs on, and holds it")
	}
}
