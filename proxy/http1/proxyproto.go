package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"

	proxyproto "github.com/pires/go-proxyproto"
)

const (
	maxProxyV1   = 107     // bytes of a header of version 1, by its specification
	proxyV2Fixed = 16      // bytes before the part of a version 2 whose length they tell
	maxProxyV2   = 4 << 10 // bytes of that part: addresses, and what some clouds add
)

var (
	errNoProxyHeader   = errors.New("http1: no PROXY header from a trusted proxy")
	errLongProxyHeader = errors.New("http1: the PROXY header is too long")
)

// ReadProxyHeader reads a header of the PROXY protocol, version 1 or 2, and
// not a byte behind it. The addresses are invalid if it names none: a health
// check of the proxy itself, or something that is not TCP.
func ReadProxyHeader(r io.Reader) (remote, local netip.AddrPort, err error) {
	text, err := takeProxyHeader(r)
	if err != nil {
		return remote, local, err
	}
	h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(text)))
	if err != nil {
		return remote, local, err
	}
	if h.Command.IsLocal() {
		return remote, local, nil
	}
	return addrPort(h.SourceAddr), addrPort(h.DestinationAddr), nil
}

// takeProxyHeader reads the bytes of a header. Of version 1 only its end tells
// its length, so it is read byte by byte: once for a connection.
func takeProxyHeader(r io.Reader) ([]byte, error) {
	b := make([]byte, proxyV2Fixed, maxProxyV1)
	if _, err := io.ReadFull(r, b[:len(proxyproto.SIGV2)]); err != nil {
		return nil, err
	}
	n := len(proxyproto.SIGV2)
	switch {
	case bytes.Equal(b[:n], proxyproto.SIGV2):
		if _, err := io.ReadFull(r, b[n:]); err != nil {
			return nil, err
		}
		more := int(b[14])<<8 | int(b[15])
		if more > maxProxyV2 {
			return nil, errLongProxyHeader
		}
		b = append(b, make([]byte, more)...)
		_, err := io.ReadFull(r, b[proxyV2Fixed:])
		return b, err
	case !bytes.HasPrefix(b[:n], append(proxyproto.SIGV1, ' ')):
		return nil, errNoProxyHeader
	}
	for b = b[:n]; b[len(b)-1] != '\n'; {
		if len(b) == maxProxyV1 {
			return nil, errLongProxyHeader
		}
		b = b[:len(b)+1]
		if _, err := io.ReadFull(r, b[len(b)-1:]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// AppendProxyHeader appends a header of the PROXY protocol, version 1 or 2,
// that names the ends of a client's connection.
func AppendProxyHeader(dst []byte, version byte, remote, local netip.AddrPort) ([]byte, error) {
	h := proxyproto.HeaderProxyFromAddrs(version, net.TCPAddrFromAddrPort(remote), net.TCPAddrFromAddrPort(local))
	text, err := h.Format()
	return append(dst, text...), err
}
