package form

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// said is every text that a form gives for one field, in order.
type said []one

type one struct {
	text   string
	listed bool // as k[]=a or k[1]=a: an element, in which a comma is a comma
	at     int  // the 1 of k[1]; -1 if it was not given
}

// readForm reads an urlencoded body.
func readForm(body []byte) (Fields, error) {
	if bytes.Count(body, []byte("&")) >= maxPairs {
		return nil, errTooMany
	}
	given := collector{}
	for pair := range strings.SplitSeq(string(body), "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return nil, &Error{"", "Cannot parse form body"}
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return nil, wrong(name, "is not encoded as a form wants it")
		}
		if err := given.add(name, value); err != nil {
			return nil, err
		}
	}
	return given.fields()
}

// readMultipart reads a multipart body. The content of a file is the value of its
// field.
func readMultipart(body []byte, boundary string) (Fields, error) {
	if boundary == "" {
		return nil, &Error{"", "Cannot parse multipart body"}
	}
	given := collector{}
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for n := 0; ; n++ {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return given.fields()
		}
		if err != nil {
			return nil, &Error{"", "Cannot parse multipart body"}
		}
		if n == maxPairs {
			return nil, errTooMany
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, &Error{"", "Cannot parse multipart body"}
		}
		if err := given.add(part.FormName(), string(value)); err != nil {
			return nil, err
		}
	}
}

// collector gathers the values of a form by name, names in the order in which they
// come.
type collector struct {
	names []string
	said  map[string]said
}

func (c *collector) add(name, value string) error {
	if !utf8.ValidString(name) || !utf8.ValidString(value) {
		return wrong(strings.ToValidUTF8(name, "?"), "is no UTF-8 text")
	}
	base, o := name, one{text: value, at: -1}
	if open := strings.LastIndexByte(name, '['); open > 0 && strings.HasSuffix(name, "]") {
		index := name[open+1 : len(name)-1]
		at, err := strconv.Atoi(index)
		if index == "" || err == nil && at >= 0 {
			base, o.listed = name[:open], true
		}
		if o.listed && index != "" {
			o.at = at
		}
	}
	if c.said == nil {
		c.said = make(map[string]said)
	}
	if _, known := c.said[base]; !known {
		if len(c.names) == maxFields {
			return errTooMany
		}
		c.names = append(c.names, base)
	}
	c.said[base] = append(c.said[base], o)
	return nil
}

func (c *collector) fields() (Fields, error) {
	fields := Fields{}
	for _, name := range c.names {
		values := c.said[name]
		// k[2]=b&k[1]=a is in the order of the numbers; mixed spellings in that of the body.
		if !slices.ContainsFunc(values, func(o one) bool { return o.at < 0 }) {
			slices.SortStableFunc(values, func(a, b one) int { return a.at - b.at })
		}
		if err := fields.put(name, values); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

// single returns the one text that a scalar has.
func (s said) single(field string) (string, error) {
	switch {
	case len(s) > 1:
		return "", wrong(field, "is given twice")
	case s[0].listed:
		return "", wrong(field, "is a list, want one value")
	}
	return unquote(s[0].text), nil
}

// unquote takes the quotes off a text that is one JSON string, as the seed
// writes them: name="thefosk" (C32).
func unquote(text string) string {
	if len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"' {
		if v, ok := parseJSON(text).(string); ok {
			return v
		}
	}
	return text
}
