package gateway

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"lictor/internal/eventually"
	"lictor/proxy/http1"
	"lictor/resolver"
)

// framesClient speaks frames of HTTP/2 to the gateway, and reads nothing by itself.
type framesClient struct {
	net.Conn
	*http2.Framer
	id uint32
}

func (r *rig) framesClient() (*framesClient, error) {
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	f := &framesClient{Conn: c, Framer: http2.NewFramer(c, c)}
	f.AllowIllegalWrites = true
	io.WriteString(c, http2.ClientPreface)
	return f, f.WriteSettings()
}

// open opens the next stream, and may leave it open.
func (f *framesClient) open(method, path string, end bool) {
	f.id = (f.id + 2) | 1
	var block writer
	enc := hpack.NewEncoder(&block)
	for _, p := range [][2]string{{":method", method}, {":scheme", "http"}, {":path", path}, {":authority", "gw.test"}} {
		enc.WriteField(hpack.HeaderField{Name: p[0], Value: p[1]})
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: f.id, BlockFragment: block, EndStream: end, EndHeaders: true})
}

// writer keeps what is written.
type writer []byte

func (w *writer) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}

// endings are ways in which streams and their connections end.
var endings = []func(f *framesClient){
	func(f *framesClient) { f.WriteRSTStream(f.id, http2.ErrCodeCancel) },
	func(f *framesClient) { f.WriteData(f.id, true, []byte("rest")) },
	func(f *framesClient) {
		f.WriteData(f.id, true, nil)
		f.WriteData(f.id, false, []byte("behind the end"))
	},
	func(f *framesClient) { f.WriteWindowUpdate(f.id, 1<<31-1) },
	func(f *framesClient) { f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}) },
	func(f *framesClient) {
		f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	},
	func(f *framesClient) { f.WriteGoAway(0, http2.ErrCodeNo, nil) },
	func(f *framesClient) { f.WriteContinuation(f.id, true, nil) },
	func(f *framesClient) { f.WriteRawFrame(http2.FrameHeaders, 0, f.id+2, []byte{0xff, 0xff, 0xff}) },
	func(f *framesClient) { f.Write([]byte{0, 0, 200, 0, 0}) },
	func(f *framesClient) { f.Conn.(*net.TCPConn).CloseWrite() },
	func(f *framesClient) { f.Conn.(*net.TCPConn).SetLinger(0); f.Close() },
	func(f *framesClient) { f.Close() },
	func(f *framesClient) { go io.Copy(io.Discard, f.Conn) },
}

// live is one random life of a connection.
func (f *framesClient) live() {
	defer f.Close()
	for range 1 + rand.IntN(8) {
		path := []string{"/svc/down/1/100000", "/svc/chunks/1/30000", "/svc/up", "/svc/early", "/svc/hang", "/svc/cut/1/5000", "/none", "/svc/%zz"}[rand.IntN(8)]
		body := rand.IntN(2) == 0
		f.open([]string{"GET", "POST", "HEAD", "DELETE"}[rand.IntN(4)], path, !body)
		if body {
			f.WriteData(f.id, false, make([]byte, rand.IntN(16<<10)))
		}
		if rand.IntN(2) == 0 {
			endings[rand.IntN(len(endings))](f)
		}
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond) // clients do so at moments that nobody chooses
	}
}

// However streams, connections and instances end, while the list of instances and the
// settings change: at the end nothing is counted of what is gone, and a client may have as
// many streams as before.
func TestNothingIsCountedOfWhatIsGone(t *testing.T) {
	const streams = 40
	set := testSettings()
	set.Timeout, set.Stream, set.Admission = time.Second, time.Second, http1.Admission{StreamsPerClient: streams}
	r := newRig(t, func(s *Settings) { *s = set })
	backend := func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/hang" { // net/http sees that its client leaves only behind the body
			if _, err := io.Copy(io.Discard, q.Body); err != nil {
				return
			}
		}
		stressBackend(w, q)
	}
	r.h2cBackend(resolver.H2C, backend)
	two := *r.src.Catalog().Lookup("svc").Instances[0]
	r.h2cBackend(resolver.HTTP1, backend)
	one := *r.src.Catalog().Lookup("svc").Instances[0]
	one.ID, two.ID = "one", "two"
	var wg sync.WaitGroup
	until := time.Now().Add(stressFor)
	for range 8 {
		wg.Go(func() {
			for time.Now().Before(until) {
				if f, err := r.framesClient(); err == nil {
					f.live()
				}
			}
		})
	}
	for time.Now().Before(until) {
		a, b := one, two
		switch rand.IntN(4) {
		case 0:
			r.serve(&a)
		case 1:
			r.serve(&b)
		default:
			r.serve(&a, &b)
		}
		next := set
		next.MaxConnections = rand.IntN(20)
		r.gw.Update(next)
		time.Sleep(5 * time.Millisecond)
	}
	wg.Wait()
	set.Timeout = time.Minute
	r.gw.Update(set)
	r.serve(&one, &two)
	what := ""
	left := func() bool {
		r.gw.sweep()
		active, _ := r.gw.upstream.Connections("svc")
		what = fmt.Sprintf("%d clients, %d in flight, %d that last, %d connections in use, %d waiting",
			r.gw.server.Open(), r.gw.upstream.InFlight(), r.gw.live.Len(), active, r.gw.upstream.Waiting("svc"))
		return what == "0 clients, 0 in flight, 0 that last, 0 connections in use, 0 waiting"
	}
	for until := time.Now().Add(20 * time.Second); !left() && time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
	}
	if !left() {
		t.Errorf("at the end there are %s", what)
	}
	f, err := r.framesClient()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range streams {
		f.open("GET", "/svc/hang", true)
	}
	eventually.True(t, "as many streams are served as a client may have", func() bool { return r.gw.upstream.InFlight() == streams })
}
