// Package replay tries recorded decisions on another policy (R2): which of them would
// it close or open, and of which can nobody tell? It goes by the evaluator that
// serves, dry, and contacts nothing.
package replay

import (
	"encoding/hex"
	"errors"
	"strconv"
	"time"
)

// Record is a decision as the decision log tells it; docs/reference/log.md says what
// each field is. Its strings are parts of the line that it was parsed from.
type Record struct {
	Version  int
	Time     time.Time
	ID       string
	Listener string
	Sample   float64 // 0 = 1

	Method, Host, Path, Cut, Client    string
	Port                               int
	Country                            string
	KnowsCountry                       bool
	Consumer, Mark, Credential, KeySum string
	Token                              bool
	Names                              []string
	By, API, Service, Claim, Alias     string
	Claimed                            []string
	KeyNames                           []string
	Key                                string
	Plugins                            []Sum
	Body, Preflight, AnyCase           bool
	Headers                            []string
	Ran                                bool
	Matched, Routed, Addrs             []string
	Verdict, Reason, Rule, Entry       string
	Plugin, Policy                     string
	Status                             int
}

// Sum is the sum of the configuration of a plugin that had a say.
type Sum struct {
	Name string
	Sum  uint32
}

// reset forgets all but the memory of the lists.
func (r *Record) reset() {
	*r = Record{Names: r.Names[:0], KeyNames: r.KeyNames[:0], Plugins: r.Plugins[:0], Headers: r.Headers[:0], Claimed: r.Claimed[:0],
		Matched: r.Matched[:0], Routed: r.Routed[:0], Addrs: r.Addrs[:0]}
}

// Errors of Parse.
var (
	ErrGarbage = errors.New("replay: the line is no record") // torn, or another program's
	ErrVersion = errors.New("replay: the record is of another version")
)

// Version is the version of the records that are understood.
const Version = 1

// Parse reads a line without its newline. What it does not know it leaves out. It
// overwrites r, whose lists it uses again.
func Parse(line string, r *Record) error {
	r.reset()
	s := scanner{text: line}
	s.object(func(key string) { r.field(&s, key) })
	s.space()
	switch {
	case s.bad || s.at != len(line):
		return ErrGarbage
	case r.Version != Version && r.Version > 0:
		return ErrVersion
	case r.Version == 0 || r.Time.IsZero() || r.Verdict == "" || r.Listener != "gateway" && r.Listener != "egress":
		return ErrGarbage
	}
	return nil
}

// field reads the value of a key.
func (r *Record) field(s *scanner, key string) {
	switch key {
	case "v":
		r.Version = s.whole()
	case "time":
		r.Time = s.time()
	case "country":
		r.Country, r.KnowsCountry = s.string(), true
	case "port":
		r.Port = s.whole()
	case "status":
		r.Status = s.whole()
	case "sample":
		r.Sample = s.number()
	case "token":
		r.Token = s.truth()
	case "body":
		r.Body = s.truth()
	case "any_case":
		r.AnyCase = s.truth()
	case "preflight":
		r.Preflight = s.truth()
	case "ran":
		r.Ran = s.truth()
	case "plugins":
		s.object(func(name string) {
			var sum [4]byte
			if text := s.string(); len(text) == 8 && !s.bad {
				if _, err := hex.Decode(sum[:], []byte(text)); err == nil {
					r.Plugins = append(r.Plugins, Sum{name, uint32(sum[0])<<24 | uint32(sum[1])<<16 | uint32(sum[2])<<8 | uint32(sum[3])})
					return
				}
			}
			s.bad = true
		})
	default:
		if to := r.stringField(key); to != nil {
			*to = s.string()
		} else if to := r.listField(key); to != nil {
			*to = s.list(*to)
		} else {
			s.skip(0)
		}
	}
}

func (r *Record) stringField(key string) *string {
	switch key {
	case "id":
		return &r.ID
	case "listener":
		return &r.Listener
	case "method":
		return &r.Method
	case "host":
		return &r.Host
	case "path":
		return &r.Path
	case "cut":
		return &r.Cut
	case "client":
		return &r.Client
	case "consumer":
		return &r.Consumer
	case "mark":
		return &r.Mark
	case "credential":
		return &r.Credential
	case "key_sum":
		return &r.KeySum
	case "by":
		return &r.By
	case "api":
		return &r.API
	case "service":
		return &r.Service
	case "claim":
		return &r.Claim
	case "alias":
		return &r.Alias
	case "key":
		return &r.Key
	case "verdict":
		return &r.Verdict
	case "reason":
		return &r.Reason
	case "rule":
		return &r.Rule
	case "entry":
		return &r.Entry
	case "plugin":
		return &r.Plugin
	case "policy":
		return &r.Policy
	}
	return nil
}

func (r *Record) listField(key string) *[]string {
	switch key {
	case "names":
		return &r.Names
	case "claimed":
		return &r.Claimed
	case "key_names":
		return &r.KeyNames
	case "headers":
		return &r.Headers
	case "matched":
		return &r.Matched
	case "routed":
		return &r.Routed
	case "addrs":
		return &r.Addrs
	}
	return nil
}

// scanner reads JSON from a text, without copying. Once something is wrong all that
// follows is.
type scanner struct {
	text string
	at   int
	bad  bool
}

func (s *scanner) space() {
	for s.at < len(s.text) && (s.text[s.at] == ' ' || s.text[s.at] == '\t' || s.text[s.at] == '\r') {
		s.at++
	}
}

// next takes c, if it is what follows.
func (s *scanner) next(c byte) bool {
	s.space()
	if s.bad || s.at >= len(s.text) || s.text[s.at] != c {
		return false
	}
	s.at++
	return true
}

func (s *scanner) want(c byte) {
	if !s.next(c) {
		s.bad = true
	}
}

// object calls f with each key, to read its value.
func (s *scanner) object(f func(key string)) {
	s.want('{')
	if s.next('}') {
		return
	}
	for !s.bad {
		key := s.string()
		s.want(':')
		if s.bad {
			return
		}
		f(key)
		if s.next('}') {
			return
		}
		s.want(',')
	}
}

func (s *scanner) list(to []string) []string {
	s.want('[')
	if s.next(']') {
		return to
	}
	for !s.bad {
		to = append(to, s.string())
		if s.next(']') {
			return to
		}
		s.want(',')
	}
	return to
}

func (s *scanner) whole() int {
	n, err := strconv.Atoi(s.literal())
	if err != nil || n < 0 {
		s.bad = true
	}
	return n
}

func (s *scanner) number() float64 {
	n, err := strconv.ParseFloat(s.literal(), 64)
	if err != nil {
		s.bad = true
	}
	return n
}

func (s *scanner) truth() bool {
	switch s.literal() {
	case "true":
		return true
	case "false":
	default:
		s.bad = true
	}
	return false
}

// literal is a number, true, false or null.
func (s *scanner) literal() string {
	s.space()
	from := s.at
	for s.at < len(s.text) {
		c := s.text[s.at]
		if c|0x20 < 'a' || c|0x20 > 'z' {
			if (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' {
				break
			}
		}
		s.at++
	}
	if s.at == from {
		s.bad = true
	}
	return s.text[from:s.at]
}

// maxDepth bounds the nesting of what is skipped.
const maxDepth = 16

// skip reads a value of any kind.
func (s *scanner) skip(depth int) {
	s.space()
	switch {
	case s.bad || s.at >= len(s.text) || depth > maxDepth:
		s.bad = true
	case s.text[s.at] == '"':
		s.string()
	case s.text[s.at] == '{':
		s.object(func(string) { s.skip(depth + 1) })
	case s.text[s.at] == '[':
		s.at++
		if s.next(']') {
			return
		}
		for !s.bad {
			s.skip(depth + 1)
			if s.next(']') {
				return
			}
			s.want(',')
		}
	default:
		s.literal()
	}
}
