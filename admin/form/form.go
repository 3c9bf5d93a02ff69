// Package form reads the bodies of the policy API in every spelling of C32:
// urlencoded and multipart forms, and JSON.
//
// A body becomes a [Fields]: names to values, nested where a name has dots. The
// values of a form have no type until somebody asks for one: [List] makes a list of
// "a,b", [Text] leaves it as it is. The errors of this package are [Error]s, or
// [ErrMediaType], or [ErrJSON].
package form

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"
)

// Fields are the fields of a body by name. A value is nil, a bool, a string, a
// json.Number, []any or Fields, if the body was JSON, or of a private type, if it was
// a form. [Text], [Truth], [Whole], [List] and [Object] read either.
type Fields map[string]any

// Limits of a body besides its size, which bound what it costs to read one.
const (
	maxPairs  = 100_000 // of a form: a list may have one for each entry
	maxFields = 1_000   // different ones, wherever they are nested
	maxDepth  = 32      // of JSON, and of dots in a name
)

var errTooMany = &Error{"", "There are too many fields, want at most 1000"}

// ErrMediaType is the error of a body that is of none of the three types.
var ErrMediaType = errors.New("want application/json, application/x-www-form-urlencoded or multipart/form-data")

// ErrJSON is the error of a body that should be a JSON object and is none.
var ErrJSON = errors.New("cannot parse JSON body")

// Error says what is wrong with a field, or with the body.
type Error struct {
	Field string // with dots where it is nested; "" = the body as a whole
	Text  string // what is wrong, as it goes on after the field: "is given twice"
}

// Error implements error.
func (e *Error) Error() string { return strings.TrimSpace(e.Field + " " + e.Text) }

// Read reads the body of r, which may be empty. An error may also be one of reading.
func Read(r *http.Request) (Fields, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	kind := r.Header.Get("Content-Type")
	if len(body) == 0 && kind == "" {
		return Fields{}, nil
	}
	return Decode(kind, body)
}

// Decode reads a body of the type contentType. It does not keep body.
func Decode(contentType string, body []byte) (Fields, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, ErrMediaType
	}
	var fields Fields
	switch kind {
	case "application/json":
		fields, err = readJSON(body)
	case "application/x-www-form-urlencoded":
		fields, err = readForm(body)
	case "multipart/form-data":
		fields, err = readMultipart(body, params["boundary"])
	default:
		return nil, ErrMediaType
	}
	return fields, err
}

// put enters a value under a name, in which dots nest.
func (f Fields) put(name string, value any) error {
	at, path := f, strings.Split(name, ".")
	if len(path) > maxDepth {
		return &Error{name, "is nested too deep"}
	}
	for i, step := range path[:len(path)-1] {
		inner, ok := at[step].(Fields)
		if !ok {
			if _, taken := at[step]; taken {
				return &Error{strings.Join(path[:i+1], "."), "is given twice"}
			}
			inner = Fields{}
			at[step] = inner
		}
		at = inner
	}
	last := path[len(path)-1]
	old, taken := at[last]
	if !taken {
		at[last] = value
		return nil
	}
	// {"config": {"second": 1}, "config.minute": 2} gives config two fields.
	into, ok := old.(Fields)
	from, also := value.(Fields)
	if !ok || !also {
		return &Error{name, "is given twice"}
	}
	for k, v := range from {
		if _, twice := into[k]; twice {
			return &Error{name + "." + k, "is given twice"}
		}
		into[k] = v
	}
	return nil
}

// readJSON reads a JSON object, and refuses names given twice, which would mean
// one thing to us and another to somebody else.
func readJSON(body []byte) (Fields, error) {
	if !utf8.Valid(body) {
		return nil, ErrJSON
	}
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))) // editors write it
	dec.UseNumber()
	value, err := (&jsonReader{Decoder: dec}).value(0)
	if err != nil {
		if _, ok := errors.AsType[*Error](err); ok {
			return nil, err
		}
		return nil, ErrJSON
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, ErrJSON
	}
	raw, ok := value.(Fields)
	if !ok {
		return nil, ErrJSON
	}
	return raw, nil
}

// jsonReader counts the fields that it reads.
type jsonReader struct {
	*json.Decoder
	fields int
}

// value reads one value. The names of every object are split at their dots.
func (dec *jsonReader) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("nested too deep")
	}
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			v, err := dec.value(depth + 1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = dec.Token()
		return list, err
	case json.Delim('{'):
		fields := Fields{}
		for dec.More() {
			name, err := dec.Token()
			if err != nil {
				return nil, err
			}
			if dec.fields++; dec.fields > maxFields {
				return nil, errTooMany
			}
			v, err := dec.value(depth + 1)
			if err != nil {
				return nil, err
			}
			if err := fields.put(name.(string), v); err != nil {
				return nil, err
			}
		}
		_, err = dec.Token()
		return fields, err
	}
	return token, nil
}

// Unknown is the error of a field that does not exist (C32).
func Unknown(field string) error { return &Error{field, "is an unknown field"} }

func wrong(field, format string, args ...any) error {
	return &Error{field, fmt.Sprintf(format, args...)}
}
