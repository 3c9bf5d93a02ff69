package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"lictor/internal/secret"
	"lictor/internal/size"
)

// value is what an option was given. It is known and not null as a whole, but
// parts of it may be null.
type value struct {
	v     cty.Value
	expr  hcl.Expression
	wrong func(at hcl.Range, format string, args ...any)
}

// setter checks a value and stores it, or reports what is wrong with it.
type setter func(value)

// part is a value or an element of one, with the closest place that is known.
type part struct {
	key  string // in a map
	v    cty.Value
	expr hcl.Expression // nil where only the whole, or not the key either, was written out
	at   hcl.Range
}

// name is the key of an entry as problems show it. One that comes from another file or
// the environment may be a secret, as in [literal].
func (p part) name() string {
	if p.expr == nil {
		return "a name"
	}
	return strconv.Quote(p.key)
}

func (v value) whole() part {
	return part{v: v.v, expr: v.expr, at: v.expr.Range()}
}

// text stores a string as it is.
func text(dst *string) setter { return parsed(dst, asItIs) }

func asItIs(s string) (string, error) { return s, nil }

// parsed stores what parse makes of a string.
func parsed[T any](dst *T, parse func(string) (T, error)) setter {
	return func(v value) {
		if got, ok := parseString(v, v.whole(), parse); ok {
			*dst = got
		}
	}
}

// hidden stores a secret that passes check. No problem repeats it.
func hidden(dst *secret.Text, check func(string) error) setter {
	return func(v value) {
		if v.v.Type() != cty.String {
			v.wrong(v.expr.Range(), "want a string, got %s", show(v.v))
			return
		}
		if err := check(v.v.AsString()); err != nil {
			v.wrong(v.expr.Range(), "%s", err)
			return
		}
		*dst = secret.New(v.v.AsString())
	}
}

// list stores what parse makes of each string in a list.
func list[T any](dst *[]T, parse func(string) (T, error)) setter {
	return listOf(dst, func(v value, p part) (T, bool) { return parseString(v, p, parse) })
}

// listOf stores what read makes of each element of a list.
func listOf[T any](dst *[]T, read func(value, part) (T, bool)) setter {
	return func(v value) {
		parts, ok := elements(v, v.whole())
		if !ok {
			return
		}
		all := make([]T, 0, len(parts))
		for _, p := range parts {
			if got, ok := read(v, p); ok {
				all = append(all, got)
			}
		}
		*dst = all
	}
}

// number stores a whole number between low and high.
func number(dst *int, low, high int) setter {
	return func(v value) {
		n := float(v.v)
		if whole := n == math.Trunc(n); !whole || n < float64(low) || n > float64(high) {
			v.wrong(v.expr.Range(), "want a whole number from %d to %d, got %s", low, high, show(v.v))
			return
		}
		*dst = int(n)
	}
}

// share stores a percentage above 0 and up to 100, which are all. One so small that its
// hundredth is 0 would be none, which says all as well.
func share(dst *float64) setter {
	return func(v value) {
		n := float(v.v)
		if !(n/100 > 0 && n <= 100) {
			v.wrong(v.expr.Range(), "want a number above 0 and up to 100, got %s", show(v.v))
			return
		}
		*dst = n
	}
}

// fraction stores a number from 0 to 1.
func fraction(dst *float64) setter {
	return func(v value) {
		n := float(v.v)
		if !(n >= 0 && n <= 1) {
			v.wrong(v.expr.Range(), "want a number from 0 to 1, got %s", show(v.v))
			return
		}
		*dst = n
	}
}

// float returns a number, or NaN if the value is none.
func float(v cty.Value) float64 {
	if v.IsNull() || v.Type() != cty.Number {
		return math.NaN()
	}
	n, _ := v.AsBigFloat().Float64()
	return n
}

// boolean stores true or false.
func boolean(dst *bool) setter {
	return func(v value) {
		if v.v.Type() != cty.Bool {
			v.wrong(v.expr.Range(), "want true or false, got %s", show(v.v))
			return
		}
		*dst = v.v.True()
	}
}

// withheld is an error about a string that must not be shown: people write
// passwords into addresses, before an @ and elsewhere.
type withheld struct{ error }

func parseString[T any](v value, p part, parse func(string) (T, error)) (T, bool) {
	var zero T
	if p.v.IsNull() || p.v.Type() != cty.String {
		v.wrong(p.at, "want a string, got %s", show(p.v))
		return zero, false
	}
	got, err := parse(p.v.AsString())
	if _, ok := errors.AsType[withheld](err); ok || err != nil && (strings.Contains(p.v.AsString(), "@") || !literal(p.expr)) {
		v.wrong(p.at, "%s", err)
		return zero, false
	}
	if err != nil {
		v.wrong(p.at, "%s, got %q", err, p.v.AsString())
		return zero, false
	}
	return got, true
}

// literal reports whether a value stands in the configuration itself. What comes
// from another file or the environment is not repeated: it may be a secret.
func literal(expr hcl.Expression) bool {
	if expr == nil {
		return false
	}
	_, diags := expr.Value(nil) // knows neither variables nor functions
	return !diags.HasErrors()
}

// portIsOne reports whether the port of a URL is one from 1 to 65535, or left out.
func portIsOne(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

// elements returns the elements of a list.
func elements(v value, p part) ([]part, bool) {
	t := p.v.Type()
	if p.v.IsNull() || !t.IsTupleType() && !t.IsListType() && !t.IsSetType() {
		v.wrong(p.at, "want a list, got %s", show(p.v))
		return nil, false
	}
	var written []hcl.Expression
	if p.expr != nil {
		written, _ = hcl.ExprList(p.expr)
	}
	var parts []part
	for i, el := range p.v.AsValueSlice() {
		element := part{v: el, at: p.at}
		if len(written) == p.v.LengthInt() {
			element.expr, element.at = written[i], written[i].Range()
		}
		parts = append(parts, element)
	}
	return parts, true
}

// entries returns the entries of a map, in the order of their keys.
func entries(v value) ([]part, bool) { return entriesOf(v, v.whole()) }

// entriesOf is entries of a part of v.
func entriesOf(v value, whole part) ([]part, bool) {
	if whole.v.IsNull() || !whole.v.Type().IsObjectType() && !whole.v.Type().IsMapType() {
		v.wrong(whole.at, "want a map, got %s", show(whole.v))
		return nil, false
	}
	written := make(map[string]hcl.Expression)
	var pairs []hcl.KeyValuePair
	if whole.expr != nil {
		pairs, _ = hcl.ExprMap(whole.expr)
	}
	for _, pair := range pairs {
		if key, diags := pair.Key.Value(nil); !diags.HasErrors() && key.Type() == cty.String && key.IsKnown() && !key.IsNull() {
			written[key.AsString()] = pair.Value
		}
	}
	all := whole.v.AsValueMap()
	var parts []part
	for _, key := range slices.Sorted(maps.Keys(all)) {
		entry := part{key: key, v: all[key], at: whole.at}
		if expr := written[key]; expr != nil {
			entry.expr, entry.at = expr, expr.Range()
		}
		parts = append(parts, entry)
	}
	return parts, true
}

// show describes a value of the wrong type. Strings are not shown: one may be a secret.
func show(v cty.Value) string {
	switch {
	case v.IsNull():
		return "null"
	case v.Type() == cty.Number:
		return fmt.Sprintf("the number %.10g", float(v)) // its own text of 1e99999999 takes minutes
	case v.Type() == cty.Bool:
		return strconv.FormatBool(v.True())
	case v.Type().IsObjectType() || v.Type().IsMapType():
		return "a map"
	case v.Type() == cty.String:
		return "a string"
	}
	return "a list"
}

// duration parses a time of at least low.
func duration(low time.Duration) func(string) (time.Duration, error) {
	return func(s string) (time.Duration, error) {
		t, err := time.ParseDuration(s)
		switch {
		case err != nil:
			return 0, errors.New(`want a duration such as "1.5s"`)
		case t < low:
			return 0, fmt.Errorf("want a duration of at least %s", low)
		}
		return t, nil
	}
}

// moment is the least time that a limit may be: one of 0 would refuse everything.
const moment = time.Millisecond

// bytes parses a number of bytes from low to high.
func bytes(low, high int64) func(string) (int64, error) {
	return func(s string) (int64, error) { return size.Parse(s, low, high) }
}

// orNone lets "" stand for the zero value of what parse returns.
func orNone[T any](parse func(string) (T, error)) func(string) (T, error) {
	return func(s string) (T, error) {
		if s == "" {
			var none T
			return none, nil
		}
		return parse(s)
	}
}

// oneOf parses one of a few words.
func oneOf[T ~string](words ...T) func(string) (T, error) {
	return func(s string) (T, error) {
		quoted := make([]string, len(words))
		for i, w := range words {
			if string(w) == s {
				return w, nil
			}
			quoted[i] = strconv.Quote(string(w))
		}
		return "", fmt.Errorf("want one of %s", strings.Join(quoted, ", "))
	}
}

// cidr parses a range of addresses, or one address. Bits past the mask are
// cleared, and a range of IPv4 written in IPv6 becomes one of IPv4.
func cidr(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, errors.New(`want a range of addresses such as "10.0.0.0/8"`)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// glob parses a pattern of service names.
func glob(s string) (string, error) {
	if _, err := path.Match(s, ""); err != nil || s == "" {
		return "", errors.New(`want a pattern such as "shop-*"`)
	}
	return s, nil
}
