package policy

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"net/netip"
	"unsafe"

	"lictor/policy/internal/packed"
)

// filed is an entry of a list as a listIndex keeps it. Its record is
//
//	the list's number  4 bytes
//	flags              1 byte: what it speaks of, and which of these follow
//	text               as written, with its length
//	port               2 bytes
//	method             with its length
//	prefix             length and 4 bytes, or length and 16 bytes
//	host, path         with their lengths, a host or path only if the text is not just that
//
// so that the names and addresses that large lists are made of cost little more than
// their text. Which list that is now, and what mode it has, is looked up when it
// matches: so a change of a list's note or index does not touch its entries.
type filed struct {
	entry
	path string // of the paths of the entry the one that it is filed under
	list uint32
	text string
}

// listRule is an entry of a list, read.
type listRule struct {
	entry
	list string // the object's name
	text string // the entry as written
}

const (
	filedHost = iota // what it speaks of: the first two bits of the flags
	filedPath
	filedService
	filedAddr

	filedScope  = 2      // the place of the scope in the flags, two bits
	filedPort   = 1 << 4 // a port follows
	filedSaid   = 1 << 5 // which was written
	filedMethod = 1 << 6 // a method follows
	filedPlain  = 1 << 7 // the host behind its dots, the path or the IPv4 address is what is left out
	filedHead   = 5      // bytes before the text
)

func formOf(record []byte) int { return int(record[filedHead-1] & 3) }

// form is what an entry speaks of.
func (e *entry) form() int {
	switch {
	case e.isPath():
		return filedPath
	case e.service != "":
		return filedService
	case e.host != "":
		return filedHost
	}
	return filedAddr
}

// dots are the characters before the host in an entry of a scope.
func (s hostScope) dots() int { return [...]int{hostExact: 0, hostDomain: 1, hostSubdomains: 2}[s] }

// appendRecord appends the record of an entry of a list, as filed under path if it
// is one with a path.
func (e *entry) appendRecord(to []byte, list uint32, text, path string) []byte {
	form := e.form()
	flags := byte(form) | byte(e.scope)<<filedScope
	plain := form == filedHost && len(text) == e.scope.dots()+len(e.host) && text[e.scope.dots():] == e.host ||
		form == filedPath && e.host == "" && path == text || form == filedService && text == servicePrefix+e.service ||
		form == filedAddr && e.prefix.Addr().Is4()
	flags |= flag(e.port != 0, filedPort) | flag(e.portSaid, filedSaid) | flag(e.method != "", filedMethod) | flag(plain, filedPlain)
	to = append(binary.LittleEndian.AppendUint32(to, list), flags)
	to = appendText(to, text)
	if e.port != 0 {
		to = binary.LittleEndian.AppendUint16(to, e.port)
	}
	if e.method != "" {
		to = appendText(to, e.method)
	}
	switch {
	case form == filedAddr:
		return append(append(to, byte(e.prefix.Bits())), e.prefix.Addr().AsSlice()...)
	case plain:
		return to
	case form == filedService:
		return appendText(to, e.service)
	case form == filedPath:
		return appendText(appendText(to, e.host), path)
	}
	return appendText(to, e.host)
}

func flag(on bool, bit byte) byte {
	if on {
		return bit
	}
	return 0
}

func appendText(to []byte, s string) []byte {
	return append(binary.AppendUvarint(to, uint64(len(s))), s...)
}

// readFiled reads a record into f. It allocates nothing: f's texts are parts of the record.
func readFiled(record []byte, f *filed) {
	flags, rest := record[filedHead-1], record[filedHead:]
	*f = filed{list: binary.LittleEndian.Uint32(record)}
	f.scope, f.portSaid = hostScope(flags>>filedScope&3), flags&filedSaid != 0
	f.text, rest = cutText(rest)
	if flags&filedPort != 0 {
		f.port, rest = binary.LittleEndian.Uint16(rest), rest[2:]
	}
	if flags&filedMethod != 0 {
		f.method, rest = cutText(rest)
	}
	plain := flags&filedPlain != 0
	switch formOf(record) {
	case filedAddr:
		addr := netip.Addr{}
		if plain {
			addr = netip.AddrFrom4([4]byte(rest[1:]))
		} else {
			addr = netip.AddrFrom16([16]byte(rest[1:]))
		}
		f.prefix = netip.PrefixFrom(addr, int(rest[0]))
	case filedService:
		if f.service = f.text[min(len(servicePrefix), len(f.text)):]; !plain {
			f.service, _ = cutText(rest)
		}
	case filedPath:
		if f.path = f.text; !plain {
			f.host, rest = cutText(rest)
			f.path, _ = cutText(rest)
		}
	default:
		if plain {
			f.host = f.text[f.scope.dots():]
		} else {
			f.host, _ = cutText(rest)
		}
	}
}

func cutText(b []byte) (string, []byte) {
	n, size := binary.Uvarint(b)
	text := b[size : size+int(n)]
	return unsafe.String(unsafe.SliceData(text), len(text)), b[size+int(n):]
}

// file notes in a batch that an entry of a list comes or goes, under each of its keys.
func (e *entry) file(b *packed.Batch, list uint32, text string, add bool, scratch []byte) []byte {
	note := func(hash uint64, path string) {
		scratch = e.appendRecord(scratch[:0], list, text, path)
		if add {
			b.Put(hash, scratch)
		} else {
			b.Remove(hash, scratch)
		}
	}
	if !e.isPath() {
		note(e.hash(""), "")
	}
	for _, path := range e.paths {
		note(e.hash(path), path)
	}
	return scratch
}

// hash is that of the key under which an entry is filed. Entries that differ in
// method, port or spelling only have the same.
func (e *entry) hash(path string) uint64 {
	switch e.form() {
	case filedAddr:
		return wideOf(e.prefix.Addr()).hash(wideLength(e.prefix))
	case filedService:
		return hashService(e.service)
	case filedPath:
		if e.host == "" {
			return hashPath(path)
		}
		return hashURL(hashHost(e.host), hashPath(path))
	}
	return hashHost(e.host)
}

// compareRecords puts what is filed under one key in an order that does not depend
// on who came first, so that two lictors cite the same rule: by the names of the
// lists, then by the texts.
func compareRecords(name func(list uint32) string) func(x, y []byte) int {
	return func(x, y []byte) int {
		if a, b := binary.LittleEndian.Uint32(x), binary.LittleEndian.Uint32(y); a != b {
			if c := cmp.Or(cmp.Compare(name(a), name(b)), cmp.Compare(a, b)); c != 0 {
				return c
			}
		}
		textX, _ := cutText(x[filedHead:])
		textY, _ := cutText(y[filedHead:])
		return cmp.Or(cmp.Compare(textX, textY), bytes.Compare(x, y))
	}
}
