package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Question is what is asked about at /explain.
type Question struct {
	Method  string  `json:"method,omitempty"` // "" = GET
	URL     string  `json:"url"`              // a path, or absolute: then its authority is the Host
	Headers Headers `json:"headers,omitempty"`
	From    string  `json:"from,omitempty"`   // the address that the request comes from; "" = 127.0.0.1
	Egress  bool    `json:"egress,omitempty"` // ask the forward proxy instead of the gateway
}

// Headers are header fields, by name: a string, or a list of them.
type Headers map[string][]string

// UnmarshalJSON implements [json.Unmarshaler].
func (h *Headers) UnmarshalJSON(data []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return errors.New("headers: want an object of strings or lists")
	}
	*h = make(Headers, len(raw))
	for name, value := range raw {
		var one string
		var many []string
		if json.Unmarshal(value, &one) == nil {
			many = []string{one}
		} else if json.Unmarshal(value, &many) != nil {
			return fmt.Errorf("headers: %s: want a string or a list of strings", name)
		}
		(*h)[name] = many
	}
	return nil
}

// Pairs returns the fields as names and values, sorted by name.
func (h Headers) Pairs() (pairs [][2]string) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			pairs = append(pairs, [2]string{name, value})
		}
	}
	return pairs
}
