package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"golang.org/x/net/http2"
)

// slowH2 is an HTTP/2 backend that takes 8 MB a second and answers nothing.
func slowH2(c net.Conn) {
	serveH2(c, func(kind http2.FrameType, id uint32, payload []byte) [][]byte {
		if kind != http2.FrameData || len(payload) == 0 {
			return nil
		}
		time.Sleep(time.Duration(len(payload)) * time.Second / 8_000_000)
		n := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))
		return [][]byte{frame(http2.FrameWindowUpdate, 0, 0, n), frame(http2.FrameWindowUpdate, 0, id, n)}
	})
}

// hostileH2 is an HTTP/2 backend that answers with frames of all sorts.
func hostileH2(c net.Conn) {
	r := rand.New(rand.NewPCG(rand.Uint64(), 5)) //nolint:gosec // choices
	h := &h2{Conn: c, r: r, next: 2}
	serveH2(c, func(kind http2.FrameType, id uint32, _ []byte) [][]byte {
		if kind != http2.FrameHeaders {
			return nil
		}
		h.open = append(h.open, id)
		good := frame(http2.FrameHeaders, 4, id, fields(":status", "200", "content-type", "application/grpc"))
		end := frame(http2.FrameHeaders, 5, id, fields("grpc-status", "0"))
		switch r.IntN(12) {
		case 0:
			return [][]byte{good, end}
		case 1: // much at once, past every window
			return [][]byte{good, bytes.Repeat(frame(http2.FrameData, 0, id, make([]byte, 16384)), 64)}
		case 2:
			return [][]byte{bytes.Repeat(frame(http2.FrameHeaders, 4, id, fields(":status", "103")), r.IntN(3000)), good, end}
		case 3:
			return [][]byte{frame(http2.FrameRSTStream, 0, id, []byte{0, 0, 0, byte(r.IntN(14))})}
		case 4:
			return [][]byte{frame(http2.FrameGoAway, 0, 0, make([]byte, 8))}
		case 5:
			return [][]byte{frame(http2.FrameHeaders, 0, id, fields(":status", "200")), bytes.Repeat(frame(http2.FrameContinuation, 0, id, fields("x-a", "b")), 5000)}
		case 6:
			return [][]byte{good, frame(http2.FrameData, 1, id, []byte("late")), bytes.Repeat(frame(http2.FramePing, 0, 0, make([]byte, 8)), 5000)}
		case 7:
			return [][]byte{frame(http2.FrameSettings, 0, 0, bytes.Repeat(h.setting(), 1+r.IntN(2000))), good, end}
		case 8:
			return nil
		default:
			list := [][]byte{}
			for range r.IntN(20) {
				list = append(list, h.anyFrame())
			}
			return list
		}
	})
}

// serveH2 speaks just enough HTTP/2 as a server to be taken for one, and sends
// what answer returns for each frame.
func serveH2(c net.Conn, answer func(kind http2.FrameType, id uint32, payload []byte) [][]byte) {
	if _, err := io.CopyN(io.Discard, c, int64(len(http2.ClientPreface))); err != nil {
		return
	}
	if _, err := c.Write(frame(http2.FrameSettings, 0, 0, nil)); err != nil {
		return
	}
	head := make([]byte, 9)
	for {
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(c, payload); err != nil {
			return
		}
		kind, ack := http2.FrameType(head[3]), head[4]&1 != 0
		var out [][]byte
		switch {
		case kind == http2.FrameSettings && !ack:
			out = [][]byte{frame(kind, 1, 0, nil)}
		case kind == http2.FramePing && !ack:
			out = [][]byte{frame(kind, 1, 0, payload)}
		default:
			out = answer(kind, binary.BigEndian.Uint32(head[5:])&(1<<31-1), payload)
		}
		for _, f := range out {
			if _, err := c.Write(f); err != nil {
				return
			}
		}
	}
}
