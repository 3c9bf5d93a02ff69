package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"lictor/policy"
)

// value is a node of a document, whatever it was written in.
type value struct {
	kind   kind
	line   int
	text   string // of a string
	number any    // int64, or float64 if it is not whole
	truth  bool
	list   []value
	fields []field // of an object, in the order written
}

type field struct {
	name  string
	line  int
	value value
}

type kind uint8

const (
	kindNull kind = iota
	kindString
	kindNumber
	kindBool
	kindList
	kindObject
)

var kindNames = [...]string{"null", "a string", "a number", "a boolean", "a list", "an object"}

func (k kind) String() string { return kindNames[k] }

// field returns a field of an object, nil if there is none.
func (v *value) field(name string) *field {
	if v == nil {
		return nil
	}
	for i := range v.fields {
		if v.fields[i].name == name {
			return &v.fields[i]
		}
	}
	return nil
}

// plain returns the value as encoding/json would, for free-form configuration.
func (v *value) plain() any {
	switch v.kind {
	case kindString:
		return v.text
	case kindNumber:
		return v.number
	case kindBool:
		return v.truth
	case kindList:
		list := make([]any, len(v.list))
		for i := range v.list {
			list[i] = v.list[i].plain()
		}
		return list
	case kindObject:
		m := make(map[string]any, len(v.fields))
		for i := range v.fields {
			m[v.fields[i].name] = v.fields[i].value.plain()
		}
		return m
	}
	return nil
}

// Bounds of a document, which is read by every lictor. The schema needs three levels,
// a dozen fields, and names of some twenty letters.
const (
	maxDepth  = 32
	maxFields = 1000 // of all objects in a document together
	maxName   = 256  // bytes in the name of a field
)

// budget counts what was read of a document against its bounds.
type budget struct{ fields int }

// spend counts a field, and returns an error if it is one too many or its name is
// too long.
func (b *budget) spend(name string) error {
	switch b.fields++; {
	case b.fields > maxFields:
		return fmt.Errorf("more than %d fields", maxFields)
	case len(name) > maxName:
		return fmt.Errorf("the name of a field has more than %d bytes", maxName)
	}
	return nil
}

// names are the names that an object has so far.
type names map[string]bool

// enter adds a field to an object. If its name is given twice it removes both values:
// nobody knows which of them was meant.
func (n names) enter(v *value, f field) error {
	if n[f.name] {
		v.fields = slices.DeleteFunc(v.fields, func(o field) bool { return o.name == f.name })
		return fmt.Errorf("%.100s is given twice", f.name)
	}
	n[f.name] = true
	v.fields = append(v.fields, f)
	return nil
}

// setNumber reads a number: an int64, or else a float64.
func (v *value) setNumber(text string) error {
	v.kind = kindNumber
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		v.number = n
		return nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return fmt.Errorf("%.40s is no usable number", text)
	}
	if v.number = n; n == math.Trunc(n) && math.Abs(n) < 1<<53 {
		v.number = int64(n) // 10.0 and 1e1 are whole numbers
	}
	return nil
}

// jsonReader reads JSON into a tree, minding lines and names given twice, which
// encoding/json does not.
type jsonReader struct {
	data []byte
	dec  *json.Decoder
	line int // of the offset counted so far
	seen int
	budget
}

// parseJSON reads one JSON value, or what comes before the fault in it.
func parseJSON(data []byte) (*value, policy.Problems) {
	r := &jsonReader{data: data, dec: json.NewDecoder(bytes.NewReader(data)), line: 1}
	r.dec.UseNumber()
	v, err := r.value(0)
	if err == nil {
		if _, more := r.dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows the JSON value")
		}
	}
	if err != nil {
		text := err.Error()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			text = "the JSON value ends too early"
		}
		return &v, policy.Problems{{Line: r.here(), Text: text}}
	}
	return &v, nil
}

// here is the line that the decoder has come to.
func (r *jsonReader) here() int {
	to := int(min(r.dec.InputOffset(), int64(len(r.data))))
	r.line += bytes.Count(r.data[r.seen:to], []byte("\n"))
	r.seen = to
	return r.line
}

func (r *jsonReader) value(depth int) (value, error) {
	if depth > maxDepth {
		return value{}, errors.New("nested too deep")
	}
	t, err := r.dec.Token()
	if err != nil {
		return value{}, err
	}
	v := value{line: r.here()}
	switch t := t.(type) {
	case string:
		v.kind, v.text = kindString, t
	case bool:
		v.kind, v.truth = kindBool, t
	case json.Number:
		return v, v.setNumber(t.String())
	case json.Delim:
		return v, r.children(&v, t, depth)
	}
	return v, nil
}

// children reads what is inside a bracket that was just opened.
func (r *jsonReader) children(v *value, open json.Delim, depth int) error {
	v.kind = kindList
	if open == '{' {
		v.kind = kindObject
	}
	names := names{}
	for r.dec.More() {
		var f field
		if v.kind == kindObject {
			t, err := r.dec.Token()
			if err != nil {
				return err
			}
			f.name, f.line = t.(string), r.here()
			if err := r.spend(f.name); err != nil {
				return err
			}
		}
		var err error
		if f.value, err = r.value(depth + 1); err != nil {
			return err
		}
		if v.kind == kindList {
			v.list = append(v.list, f.value)
		} else if err := names.enter(v, f); err != nil {
			return err
		}
	}
	_, err := r.dec.Token()
	return err
}
