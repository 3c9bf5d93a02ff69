package consul

import (
	"bytes"
	"errors"
	"fmt"
)

// parts reads JSON that comes in pieces and hands on its parts one by one: the
// elements of a list, or the names in an object. What is held of an answer is
// one part, however long it is. Parts are found in all that is valid, and it is
// found out if the end is missing. The zero value reads a list.
type parts struct {
	names bool                    // the answer is an object, whose names are wanted
	apart bool                    // one part says nothing of another, so that one which is too long is left out
	each  func(part []byte) error // must not keep it
	left  int                     // parts that were left out; of names each that is too long

	begun, ended   bool // the outermost bracket was seen, and its end
	depth          int
	quoted, escape bool   // in a string; behind a backslash
	inside         bool   // in a part; of an object: it is a name
	over           bool   // in one that is too long, which is left out
	due            bool   // of an object: the next string is a name
	from           int    // where the part begins in the present piece
	held           []byte // what came of the part in former pieces
}

// maxPart bounds one part; a longer name is left out, a longer element an error unless
// all stand apart: who can register something must not hide what others did.
const maxPart = maxEntry

var (
	errCut     = errors.New("consul's answer is cut short")
	errNoList  = errors.New("consul's answer is no JSON list")
	errNoNames = errors.New("the list of services is no JSON object")
)

// feed reads the next piece.
func (p *parts) feed(piece []byte) error {
	p.from = 0
	for i := 0; i < len(piece) && !p.ended; i++ {
		b := piece[i]
		var err error
		switch {
		case p.escape:
			p.escape = false
		case p.quoted && b == '\\':
			p.escape = true
		case b == '"':
			err = p.quote(piece, i)
		case p.quoted:
		case !p.begun:
			err = p.begin(b, i)
		default:
			err = p.mark(piece, i)
		}
		if err != nil {
			return err
		}
	}
	if !p.inside || p.over {
		return nil
	}
	p.held = append(p.held, piece[p.from:]...)
	switch {
	case len(p.held) <= maxPart:
		return nil
	case p.names:
		p.inside = false // no service has such a name
		p.left++
	case p.apart:
		p.over = true
		p.left++
	default:
		return fmt.Errorf("consul tells of something in more than %d bytes", maxPart)
	}
	p.held = p.held[:0]
	return nil
}

// begin reads what comes before the outermost bracket, and that.
func (p *parts) begin(b byte, at int) error {
	switch {
	case b == ' ' || b == '\t' || b == '\n' || b == '\r':
		return nil
	case p.names && b != '{':
		return errNoNames
	case !p.names && b != '[':
		return errNoList
	}
	p.begun, p.depth, p.due, p.inside, p.from = true, 1, true, !p.names, at+1
	return nil
}

// quote begins or ends a string.
func (p *parts) quote(piece []byte, at int) error {
	switch p.quoted = !p.quoted; {
	case !p.begun:
		return p.begin('"', at)
	case !p.names || p.depth != 1:
	case p.quoted && p.due:
		p.inside, p.from = true, at
	case !p.quoted && p.inside:
		return p.hand(piece[p.from : at+1])
	}
	return nil
}

// mark reads a byte that may be one of JSON's marks.
func (p *parts) mark(piece []byte, at int) error {
	switch piece[at] {
	case '{', '[':
		p.depth++
	case '}', ']':
		p.depth--
	case ':':
		p.due = false
		return nil
	case ',':
		if p.depth != 1 {
			return nil
		}
		p.due = true
	default:
		return nil
	}
	p.ended = p.depth == 0
	if p.names || !p.ended && piece[at] != ',' {
		return nil
	}
	var err error
	if !p.over {
		err = p.hand(piece[p.from:at])
	}
	p.inside, p.over, p.from = !p.ended, false, at+1
	return err
}

// hand hands on a part that ends with rest.
func (p *parts) hand(rest []byte) error {
	part := rest
	if len(p.held) > 0 {
		p.held = append(p.held, rest...)
		part = p.held
	}
	p.held, p.inside = p.held[:0], false
	if part = bytes.TrimSpace(part); len(part) == 0 {
		return nil
	}
	return p.each(part)
}

// end is called after the last piece.
func (p *parts) end() error {
	if !p.ended {
		return errCut
	}
	return nil
}
