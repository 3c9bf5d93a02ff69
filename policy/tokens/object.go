package tokens

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds how deep objects and lists may lie in one another.
const maxDepth = 16

// readObject reads a JSON object as the most careful reader does, so that nobody
// else reads another one: no member twice, nothing after it, UTF-8 throughout.
// Numbers stay as they were written.
func readObject(text []byte) (map[string]any, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("it is no UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := readValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("it is no JSON object")
	}
	return object, nil
}

var errJSON = errors.New("it is no JSON")

// errBroken is of a text with half a surrogate pair, which stands for no character:
// all such texts would be one here, and several elsewhere.
var errBroken = errors.New("a text in it has a character that there is not")

func readValue(d *json.Decoder, depth int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, errJSON
	}
	if text, ok := token.(string); ok && strings.ContainsRune(text, utf8.RuneError) {
		return nil, errBroken
	}
	delim, ok := token.(json.Delim)
	switch {
	case !ok:
		return token, nil
	case depth == maxDepth:
		return nil, fmt.Errorf("it is more than %d levels deep", maxDepth)
	case delim == '[':
		return readList(d, depth)
	}
	return readMembers(d, depth)
}

func readList(d *json.Decoder, depth int) (any, error) {
	list := []any{}
	for d.More() {
		v, err := readValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	if _, err := d.Token(); err != nil {
		return nil, errJSON
	}
	return list, nil
}

func readMembers(d *json.Decoder, depth int) (any, error) {
	members := map[string]any{}
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		switch {
		case err != nil || !ok:
			return nil, errJSON
		case strings.ContainsRune(name, utf8.RuneError):
			return nil, errBroken
		}
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("the member %.40q is there twice", name)
		}
		if members[name], err = readValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, errJSON
	}
	return members, nil
}
