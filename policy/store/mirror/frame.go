package mirror

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"

	"lictor/policy/store"
)

var errOtherPlace = errors.New("it is of another place or format")

func decodeKept(data []byte, head string, first bool) (*kept, error) {
	rest, ok := bytes.CutPrefix(data, []byte(head))
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with %q", errOtherPlace, head)
	}
	var out *kept
	objects := map[string]store.Change{}
	for n := 0; len(rest) > 0; n++ {
		frame, after, err := cutFrame(rest)
		if err != nil {
			return collectKept(out, objects), fmt.Errorf("frame %d: %w", n, err)
		}
		changes, index, err := decodeUpdate(frame, first)
		if err != nil {
			return collectKept(out, objects), fmt.Errorf("frame %d: %w", n, err)
		}
		if out == nil {
			out = &kept{}
		}
		out.index = index
		for _, c := range changes {
			if c.Deleted {
				delete(objects, c.Key())
			} else {
				objects[c.Key()] = c
			}
		}
		rest = after
	}
	return collectKept(out, objects), nil
}

func collectKept(out *kept, objects map[string]store.Change) *kept {
	if out == nil {
		return nil
	}
	out.changes = make([]store.Change, 0, len(objects))
	for _, c := range objects {
		out.changes = append(out.changes, c)
	}
	return out
}

func cutFrame(data []byte) (frame, rest []byte, err error) {
	if len(data) < frameHead {
		return nil, nil, errors.New("cut off")
	}
	size := uint64(binary.LittleEndian.Uint32(data))
	if size > uint64(len(data)-frameHead) {
		return nil, nil, errors.New("cut off")
	}
	frame = data[frameHead : frameHead+size]
	if crc32.ChecksumIEEE(frame) != binary.LittleEndian.Uint32(data[4:]) {
		return nil, nil, errors.New("wrong checksum")
	}
	return frame, data[frameHead+size:], nil
}

// appendFrame appends an update as a frame.
func appendFrame(to []byte, changes []store.Change, index uint64) []byte {
	head := frameHeadOf(changes, index)
	to = append(to, head[:]...)
	for part := range frameParts(changes, index) {
		to = append(to, part...)
	}
	return to
}

// writeFrame writes an update as a frame, and returns its length. It holds nothing of
// it in memory: a content may be large, and is there already.
func writeFrame(to io.Writer, changes []store.Change, index uint64) (int64, error) {
	head := frameHeadOf(changes, index)
	size, err := to.Write(head[:])
	for part := range frameParts(changes, index) {
		if err != nil {
			break
		}
		var n int
		n, err = to.Write(part)
		size += n
	}
	return int64(size), err
}

// frameHeadOf returns what stands before a frame: its length and checksum.
func frameHeadOf(changes []store.Change, index uint64) (head [frameHead]byte) {
	size, sum := 0, crc32.NewIEEE()
	for part := range frameParts(changes, index) {
		size += len(part)
		_, _ = sum.Write(part) // cannot fail
	}
	binary.LittleEndian.PutUint32(head[:], uint32(size)) // a policy is far below 4 GiB
	binary.LittleEndian.PutUint32(head[4:], sum.Sum32())
	return head
}

// frameParts yields an update, part by part. A part is valid until the next one.
func frameParts(changes []store.Change, index uint64) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		part := binary.AppendUvarint(nil, index)
		part = binary.AppendUvarint(part, uint64(len(changes)))
		if !yield(part) {
			return
		}
		for i := range changes {
			c := &changes[i]
			part = append(part[:0], byte(boolInt(c.Deleted)|boolInt(c.Held)<<1|boolInt(c.Bad)<<2|boolInt(c.Former != nil)<<3))
			part = appendBytes(part, []byte(c.Kind))
			part = appendBytes(part, []byte(c.Name))
			part = binary.AppendUvarint(part, uint64(len(c.Value)))
			if !yield(part) || !yield(c.Value) {
				return
			}
			part = binary.AppendUvarint(part[:0], c.Index)
			part = binary.AppendUvarint(part, c.CreateIndex)
			part = appendBytes(part, []byte(c.Why))
			if c.Former != nil {
				part = appendBytes(part, c.Former.Value)
				part = binary.AppendUvarint(part, c.Former.Index)
				part = binary.AppendUvarint(part, c.Former.CreateIndex)
			}
			if !yield(part) {
				return
			}
		}
	}
}

func appendBytes(to, b []byte) []byte {
	return append(binary.AppendUvarint(to, uint64(len(b))), b...)
}

// decodeUpdate is the reverse of appendFrame, without the frame. In the first
// format a change ends with its indexes.
func decodeUpdate(frame []byte, first bool) (changes []store.Change, index uint64, err error) {
	r := frameReader{rest: frame}
	index = r.number()
	count := r.number()
	for range count {
		flags := r.byte()
		c := store.Change{Deleted: flags&1 != 0}
		c.Held = flags&2 != 0
		c.Kind, c.Name = string(r.bytes()), string(r.bytes())
		c.Value = bytes.Clone(r.bytes())
		c.Index, c.CreateIndex = r.number(), r.number()
		if !first {
			c.Bad, c.Why = flags&4 != 0, string(r.bytes())
		}
		if !first && flags&8 != 0 {
			c.Former = &store.Version{Value: bytes.Clone(r.bytes()), Index: r.number(), CreateIndex: r.number()}
		}
		if r.bad {
			return nil, 0, errors.New("cut off within")
		}
		changes = append(changes, c)
	}
	if r.bad || len(r.rest) > 0 {
		return nil, 0, errors.New("wrong length")
	}
	return changes, index, nil
}

// frameReader reads the parts of a frame; after a failure bad is set and
// everything is zero.
type frameReader struct {
	rest []byte
	bad  bool
}

func (r *frameReader) number() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *frameReader) byte() byte {
	if len(r.rest) == 0 {
		r.bad = true
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

// bytes returns a part of the frame, never nil unless bad.
func (r *frameReader) bytes() []byte {
	n := r.number()
	if r.bad || n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}
