// Package cases reads what a policy is expected to decide, written beside it, and
// holds the policy to it.
package cases

import (
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"lictor/internal/uri"
	"lictor/policy"
)

// Case is a request, and what is to become of it (R4).
type Case struct {
	Name  string
	Place string // file:line

	Method      string
	Host        string
	Port        uint16
	Path        uri.Path
	Header      Header
	Consumer    string   // who asks, by id or name, without any credential; "" = as Header and Certificate say
	Certificate []string // names of the client's certificate
	From        netip.Addr
	Country     string    // of From; "" = the policy asks nobody
	Length      int64     // bytes of the body; 0 = none, or not told
	At          time.Time // zero: when the case is tried

	Want string // Pass, or a reason of a refusal
}

// Pass is the Want of a request that is let through.
const Pass = "pass"

// NoService is the Want of a request that names no service: it is refused before
// any rule is asked.
const NoService = "no_service"

// reasons are what Want may be.
var reasons = []string{
	Pass, NoService, string(policy.ReasonPolicyUnavailable), string(policy.ReasonBlacklist), string(policy.ReasonWhitelist),
	string(policy.ReasonNoCredentials), string(policy.ReasonBadCredentials), string(policy.ReasonACL), string(policy.ReasonBoundConsumer),
	string(policy.ReasonBadPath), string(policy.ReasonBodyTooLarge), string(policy.ReasonTerminated),
}

// Header is the header fields of a case. It implements [policy.Fields].
type Header map[string]string

// Field implements [policy.Fields].
func (h Header) Field(name string) (value string, count int) {
	for n, v := range h {
		if strings.EqualFold(n, name) {
			value, count = v, count+1
		}
	}
	return value, count
}

var fileSchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "case", LabelNames: []string{"name"}}}}

var caseSchema = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{
	{Name: "request", Required: true}, {Name: "want", Required: true}, {Name: "host"}, {Name: "headers"}, {Name: "consumer"},
	{Name: "certificate"}, {Name: "from"}, {Name: "country"}, {Name: "length"}, {Name: "at"},
}}

// Parse reads the cases of a file. The error tells all mistakes, each with its
// place: it is a [hcl.Diagnostics].
func Parse(name string, text []byte) ([]Case, error) {
	file, diags := hclsyntax.ParseConfig(text, name, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, diags
	}
	content, diags := file.Body.Content(fileSchema)
	var all []Case
	seen := make(map[string]hcl.Range)
	for _, b := range content.Blocks {
		c, wrong := parseCase(b)
		diags = append(diags, wrong...)
		if first, twice := seen[c.Name]; twice {
			diags = append(diags, mistake(b.DefRange, "there is a case %q already, at line %d", c.Name, first.Start.Line))
		}
		seen[c.Name] = b.DefRange
		all = append(all, c)
	}
	if diags.HasErrors() {
		return nil, diags
	}
	return all, nil
}

func mistake(at hcl.Range, format string, args ...any) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Wrong case", Detail: fmt.Sprintf(format, args...), Subject: &at}
}

// reader reads the arguments of one case.
type reader struct {
	attributes hcl.Attributes
	diags      hcl.Diagnostics
}

func parseCase(b *hcl.Block) (Case, hcl.Diagnostics) {
	content, diags := b.Body.Content(caseSchema)
	r := &reader{attributes: content.Attributes, diags: diags}
	c := Case{Name: b.Labels[0], Place: fmt.Sprintf("%s:%d", b.DefRange.Filename, b.DefRange.Start.Line)}
	r.request(&c)
	if host := r.text("host"); host != "" {
		r.host(&c, "host", host)
	}
	c.Consumer, c.Country = r.text("consumer"), r.text("country")
	r.list("certificate", &c.Certificate)
	r.header(&c)
	c.From = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if from := r.filled("from"); from != "" {
		var err error
		if c.From, err = netip.ParseAddr(from); err != nil {
			r.wrong("from", "is %q, want an IP address", from)
		}
	}
	if at := r.filled("at"); at != "" {
		var err error
		if c.At, err = time.Parse(time.RFC3339, at); err != nil {
			r.wrong("at", `is %q, want a time such as "2026-12-01T08:00:00Z"`, at)
		}
	}
	if c.Want = r.filled("want"); c.Want != "" && !slices.Contains(reasons, c.Want) {
		r.wrong("want", "is %q, want one of %s", c.Want, strings.Join(reasons, ", "))
	}
	return c, r.diags
}

// wrong notes a mistake at an argument.
func (r *reader) wrong(name, format string, args ...any) {
	r.diags = append(r.diags, mistake(r.attributes[name].Expr.Range(), name+": "+format, args...))
}

// value returns an argument as a type, null if it was not given or is wrong.
func (r *reader) value(name string, kind cty.Type) cty.Value {
	a := r.attributes[name]
	if a == nil {
		return cty.NullVal(kind)
	}
	v, diags := a.Expr.Value(nil)
	if r.diags = append(r.diags, diags...); diags.HasErrors() {
		return cty.NullVal(kind)
	}
	v, err := convert.Convert(v, kind)
	if err != nil || v.IsNull() || !v.IsWhollyKnown() {
		r.wrong(name, "want %s", kind.FriendlyName())
		return cty.NullVal(kind)
	}
	return v
}

func (r *reader) text(name string) string {
	if v := r.value(name, cty.String); !v.IsNull() {
		return v.AsString()
	}
	return ""
}

// filled is text, of an argument that says nothing when it is empty.
func (r *reader) filled(name string) string {
	v := r.value(name, cty.String)
	if v.IsNull() {
		return ""
	}
	if v.AsString() == "" {
		r.wrong(name, "is empty")
	}
	return v.AsString()
}

func (r *reader) list(name string, to *[]string) {
	if v := r.value(name, cty.List(cty.String)); !v.IsNull() {
		for _, e := range v.AsValueSlice() {
			if e.IsNull() {
				r.wrong(name, "holds null, want strings")
				return
			}
			*to = append(*to, e.AsString())
		}
	}
}

func (r *reader) header(c *Case) {
	v := r.value("headers", cty.Map(cty.String))
	if v.IsNull() {
		return
	}
	c.Header = make(Header)
	for name, value := range v.AsValueMap() {
		if value.IsNull() {
			r.wrong("headers", "%s is null, want a string", name)
			return
		}
		c.Header[name] = value.AsString()
	}
}

// request reads "GET /shop/export" or "GET https://shop.example.org/export".
func (r *reader) request(c *Case) {
	if v := r.value("length", cty.Number); !v.IsNull() {
		var exact big.Accuracy
		if c.Length, exact = v.AsBigFloat().Int64(); exact != 0 || c.Length < 0 {
			r.wrong("length", "want a number of bytes")
		}
	}
	text := r.filled("request")
	if text == "" {
		return
	}
	method, target, ok := strings.Cut(text, " ")
	if !ok || method == "" || method != strings.ToUpper(method) {
		r.wrong("request", `is %q, want a method and a path or URL, such as "GET /shop/cart"`, text)
		return
	}
	c.Method, c.Port = method, 80
	if scheme, rest, ok := strings.Cut(target, "://"); ok && !strings.HasPrefix(target, "/") {
		switch scheme {
		case "http":
		case "https":
			c.Port = 443
		default:
			r.wrong("request", "is for %s, want http or https", scheme)
			return
		}
		i := strings.IndexAny(rest+"/", "/?")
		r.host(c, "request", rest[:i])
		if target = rest[i:]; !strings.HasPrefix(target, "/") {
			target = "/" + target
		}
	}
	target, _, _ = strings.Cut(target, "#")
	var err error
	if c.Path, _, err = uri.ParsePath(target, nil); err != nil {
		r.wrong("request", "%v", err)
	}
}

func (r *reader) host(c *Case, name, text string) {
	host, port, _, err := uri.Host(text, nil)
	if err != nil {
		r.wrong(name, "is %q: %v", text, err)
		return
	}
	if c.Host = host; port != 0 {
		c.Port = port
	}
}
