package message

import (
	"bytes"
	"math"
)

// Limits of the chunked coding: what is not data must stay small.
const (
	maxChunkExtension = 256      // bytes of extensions of one chunk
	maxExtensions     = 8 << 10  // bytes by which extensions may outweigh the data
	maxTrailers       = 64 << 10 // bytes of the trailer section: as much as a head may have
)

var (
	errChunkSize   = &ParseError{400, "bad chunk size"}
	errChunkEnd    = &ParseError{400, "a chunk does not end where it should"}
	errExtension   = &ParseError{400, "bad chunk extension"}
	errExtensions  = &ParseError{400, "too many chunk extensions"}
	errTrailerSize = &ParseError{431, "the trailers are too large"}
)

// chunkState is what the decoder waits for.
type chunkState uint8

const (
	chunkSize     chunkState = iota // first digit of a size
	chunkDigits                     // more digits
	chunkPad                        // blanks behind them, in answers
	extStart                        // blanks, then a name
	extName                         // rest of the name
	extAfterName                    // blanks, then '=' or ';'
	extEqual                        // blanks, then a value
	extValue                        // rest of a token
	extAfterValue                   // blanks, then ';'
	extQuoted                       // rest of a quoted string
	extEscape                       // what follows a backslash in one
	extQuoteEnd                     // what follows a quoted string
	chunkSizeLF                     // after the CR of a size line
	chunkData                       // data
	chunkDataCR                     // CR after the data
	chunkDataLF                     // its LF
	chunkTrailer                    // the trailer section
	chunkDone                       // nothing
	chunkBad                        // never reached: no state follows
)

// ChunkDecoder decodes the chunked transfer coding as its bytes come. The zero
// value is ready. After an error it must not be used before Reset.
type ChunkDecoder struct {
	state    chunkState
	digits   uint8
	left     uint64 // size that is being read, then bytes left of the chunk
	ext      int    // bytes of extensions in this chunk
	excess   int64  // bytes of extensions that no data has paid for
	raw      []byte // trailer section up to now
	line     int    // start of the current line in raw
	trailers []Field

	// Lenient has blanks taken that follow a size, as some servers pad it. It is for
	// answers, never for requests, and is kept by Reset.
	Lenient bool
}

// Reset makes d ready for another body. Trailers that were handed out become invalid.
func (d *ChunkDecoder) Reset() {
	*d = ChunkDecoder{raw: d.raw[:0], trailers: d.trailers[:0], Lenient: d.Lenient}
}

// Done reports whether the body and its trailers are complete.
func (d *ChunkDecoder) Done() bool { return d.state == chunkDone }

// Trailers returns the trailer fields once d is done, valid until Reset. Those
// that must not be trailers (RFC 9110 6.5.1) are not among them.
func (d *ChunkDecoder) Trailers() []Field { return d.trailers }

// Decode reads src and writes the data in it to dst, which must be as long as
// src and may be the beginning of the same memory. It returns how many bytes it
// wrote and read; it reads all of src unless the body ends before, or is bad:
// then the data before the mistake has been written.
func (d *ChunkDecoder) Decode(dst, src []byte) (nDst, nSrc int, err error) {
	for nSrc < len(src) && d.state != chunkDone {
		switch d.state {
		case chunkData:
			n := int(min(d.left, uint64(len(src)-nSrc)))
			nDst += copy(dst[nDst:], src[nSrc:nSrc+n])
			nSrc += n
			if d.left -= uint64(n); d.left == 0 {
				d.state = chunkDataCR
			}
		case chunkTrailer:
			n, err := d.trailer(src[nSrc:])
			nSrc += n
			if err != nil {
				return nDst, nSrc, err
			}
		default:
			if err := d.step(src[nSrc]); err != nil {
				return nDst, nSrc, err
			}
			nSrc++
		}
	}
	return nDst, nSrc, nil
}

// step takes one byte of what stands between the data.
func (d *ChunkDecoder) step(c byte) error {
	switch d.state {
	case chunkDataCR:
		if c != '\r' {
			return errChunkEnd
		}
		d.state = chunkDataLF
	case chunkDataLF:
		if c != '\n' {
			return errChunkEnd
		}
		d.state = chunkSize
	case chunkSize:
		if classes[c]&isHex == 0 {
			return errChunkSize
		}
		d.digits, d.left, d.ext, d.state = 0, 0, 0, chunkDigits
		return d.digit(c)
	case chunkSizeLF:
		if c != '\n' {
			return errChunkSize
		}
		return d.begin()
	case chunkDigits:
		if classes[c]&isHex != 0 {
			return d.digit(c)
		}
		return d.sizeEnds(c)
	case chunkPad:
		return d.sizeEnds(c)
	default:
		return d.extension(c)
	}
	return nil
}

// sizeEnds takes a byte behind a chunk size.
func (d *ChunkDecoder) sizeEnds(c byte) error {
	switch {
	case c == '\r':
		d.state = chunkSizeLF
	case c == ';':
		d.ext, d.state = d.ext+1, extStart
	case d.Lenient && isBlank(c):
		d.state = chunkPad
		if d.ext++; d.ext > maxChunkExtension {
			return errExtensions
		}
	default:
		return errChunkSize
	}
	return nil
}

// digit takes one digit of a chunk size.
func (d *ChunkDecoder) digit(c byte) error {
	if d.digits++; d.digits > 16 {
		return errChunkSize
	}
	v := c - '0'
	if v > 9 {
		v = c | 0x20 - 'a' + 10
	}
	d.left = d.left<<4 | uint64(v)
	return nil
}

// extension takes one byte between the size and the end of its line. Extensions
// mean nothing to us and are not passed on, but those that another might read
// differently are refused.
func (d *ChunkDecoder) extension(c byte) error {
	if d.ext++; d.ext > maxChunkExtension {
		return errExtensions
	}
	next := extensionNext(d.state, c)
	if next == chunkBad {
		return errExtension
	}
	d.state = next
	return nil
}

// extensionNext returns what follows c in RFC 9112 7.1.1, but for blanks before
// the first semicolon, which net/http and llhttp take for a mistake as well:
//
//	*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )
func extensionNext(s chunkState, c byte) chunkState {
	token, blank := classes[c]&isToken != 0, isBlank(c)
	switch s {
	case extQuoted, extEscape:
		return quotedNext(s, c)
	case extStart:
		switch {
		case token:
			return extName
		case blank:
			return extStart
		}
		return chunkBad
	case extEqual:
		switch {
		case token:
			return extValue
		case blank:
			return extEqual
		case c == '"':
			return extQuoted
		}
		return chunkBad
	case extName, extValue:
		if token {
			return s
		}
	}
	named := s == extName || s == extAfterName
	switch {
	case c == ';':
		return extStart
	case c == '=' && named:
		return extEqual
	case blank && named:
		return extAfterName
	case blank:
		return extAfterValue
	case c == '\r' && s != extAfterName && s != extAfterValue:
		return chunkSizeLF
	}
	return chunkBad
}

// quotedNext is extensionNext within a quoted string.
func quotedNext(s chunkState, c byte) chunkState {
	switch {
	case c < ' ' && c != '\t', c == 0x7f:
		return chunkBad
	case s == extQuoted && c == '"':
		return extQuoteEnd
	case s == extQuoted && c == '\\':
		return extEscape
	}
	return extQuoted
}

// begin starts the data of a chunk, or the trailers after the last one.
func (d *ChunkDecoder) begin() error {
	if d.left > math.MaxInt64 {
		return errChunkSize
	}
	d.excess = max(0, d.excess+int64(d.ext)-int64(min(d.left, maxExtensions+maxChunkExtension)))
	if d.excess > maxExtensions {
		return errExtensions
	}
	d.state = chunkData
	if d.left == 0 {
		d.state = chunkTrailer
	}
	return nil
}

// trailer takes bytes of the trailer section up to the end of a line and
// returns how many.
func (d *ChunkDecoder) trailer(src []byte) (n int, err error) {
	n = len(src)
	i := bytes.IndexByte(src, '\n')
	if i >= 0 {
		n = i + 1
	}
	if len(d.raw)+n > maxTrailers {
		return 0, errTrailerSize
	}
	if i == 1 && src[0] == '\r' && len(d.raw) == 0 { // the common case: none
		d.state = chunkDone
		return n, nil
	}
	d.raw = append(d.raw, src[:n]...)
	if i < 0 {
		return n, nil
	}
	line := d.raw[d.line:]
	d.line = len(d.raw)
	switch {
	case len(line) < 2 || line[len(line)-2] != '\r':
		return n, ErrBareLF
	case len(line) > 2:
		return n, nil
	}
	if err := d.parseTrailers(); err != nil {
		return n, err
	}
	d.state = chunkDone
	return n, nil
}

// parseTrailers reads the complete trailer section.
func (d *ChunkDecoder) parseTrailers() error {
	most := MaxFields
	if d.Lenient {
		most = MaxAnswerFields
	}
	for b := d.raw; len(b) > 2; {
		var f Field
		n, err := f.parse(b, d.Lenient)
		if err != nil {
			return err
		}
		b = b[n:]
		if !mayTrail(&f) {
			continue
		}
		if len(d.trailers) == most {
			return ErrTooManyField
		}
		d.trailers = append(d.trailers, f)
	}
	return nil
}

// notTrailers are further names that must not be trailers: who reads them in
// the head acts on them before the trailers are there.
var notTrailers = [...]string{
	"age", "cache-control", "expires", "location", "max-forwards", "pragma",
	"range", "retry-after", "vary", "warning", "www-authenticate",
}

// mayTrail reports whether a field may be a trailer (RFC 9110 6.5.1). Of what
// speaks of the content only a digest can be known at its end (RFC 9530).
func mayTrail(f *Field) bool {
	switch f.ID {
	case Other:
	case FieldServer, FieldUserAgent, FieldReferer, FieldAccept:
		return true
	default:
		return false
	}
	if len(f.Name) > 8 && EqualFold(f.Name[:8], "content-") {
		return EqualFold(f.Name, "content-digest")
	}
	if len(f.Name) > 3 && EqualFold(f.Name[:3], "if-") {
		return false
	}
	for _, name := range notTrailers {
		if EqualFold(f.Name, name) {
			return false
		}
	}
	return true
}
