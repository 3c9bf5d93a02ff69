package http1

import (
	"bytes"
	"io"
	"net/netip"
	"testing"
)

// FuzzProxyHeader holds that what is read of a PROXY header is the header and
// not a byte more, and that addresses come in pairs.
func FuzzProxyHeader(f *testing.F) {
	from, to := netip.MustParseAddrPort("203.0.113.9:4711"), netip.MustParseAddrPort("198.51.100.1:443")
	v1, _ := AppendProxyHeader(nil, 1, from, to)
	v2, _ := AppendProxyHeader(nil, 2, from, to)
	f.Add(v1)
	f.Add(v2)
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte("PROXY TCP6 ::1 ::1 1 2\r\nGET / HTTP/1.1\r\n"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"))
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		remote, local, err := ReadProxyHeader(r)
		if err != nil {
			return
		}
		if remote.IsValid() != local.IsValid() {
			t.Errorf("%q: %v and %v", b, remote, local)
		}
		n := len(b) - r.Len()
		if b[0] == 'P' && (b[n-1] != '\n' || bytes.IndexByte(b, '\n') != n-1) {
			t.Errorf("%q: %d bytes were read, which is no line", b, n)
		}
		if b[0] == '\r' && n != 16+int(b[14])<<8+int(b[15]) {
			t.Errorf("%q: %d bytes were read", b, n)
		}
		if _, _, err := ReadProxyHeader(bytes.NewReader(b[:n-1])); err == nil {
			t.Errorf("%q is whole without its last byte", b[:n])
		}
	})
}

func TestProxyHeaderIsReadAsItWasWritten(t *testing.T) {
	for _, pair := range [][2]string{{"203.0.113.9:1", "198.51.100.1:443"}, {"[2001:db8::1]:1", "[2001:db8::2]:443"}} {
		for version := byte(1); version <= 2; version++ {
			from, to := netip.MustParseAddrPort(pair[0]), netip.MustParseAddrPort(pair[1])
			text, err := AppendProxyHeader(nil, version, from, to)
			if err != nil {
				t.Fatal(err)
			}
			r := bytes.NewReader(append(text, "rest"...))
			remote, local, err := ReadProxyHeader(r)
			if err != nil || remote != from || local != to {
				t.Errorf("version %d: got %v %v, %v, want %v", version, remote, local, err, pair)
			}
			if rest, _ := io.ReadAll(r); string(rest) != "rest" {
				t.Errorf("version %d: %q is left", version, rest)
			}
		}
	}
}
