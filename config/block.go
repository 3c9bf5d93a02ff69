package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// anyLabel stands in blocks for a label that is the operator's to choose.
const anyLabel = "*"

// blocks are the blocks that a file may hold, each at most once but for those in
// repeatable. A kind with labels has one entry for each label.
var blocks = []struct {
	kind, label string
	decode      func(*decoder, *hcl.Block)
}{
	{"gateway", "", (*decoder).gateway},
	{"listener", anyLabel, (*decoder).listener},
	{"egress", "", (*decoder).egress},
	{"admin", "", (*decoder).admin},
	{"consul", "", (*decoder).consul},
	{"policy", "", (*decoder).policy},
	{"feed", anyLabel, (*decoder).feed},
	{"acl", "", (*decoder).acl},
	{"geoip", "", (*decoder).geoIP},
	{"resolver", "consul", (*decoder).resolverConsul},
	{"resolver", "static", (*decoder).resolverStatic},
	{"resolver", "eureka", (*decoder).resolverEureka},
	{"dispatch", "http", (*decoder).dispatchHTTP},
	{"dispatch", "rabbitmq", (*decoder).dispatchRabbitMQ},
	{"middleware", anyLabel, (*decoder).middleware},
	{"access_log", "", (*decoder).accessLog},
	{"decision_log", "", (*decoder).decisionLog},
	{"metrics", "", (*decoder).metrics},
	{"telemetry", "", (*decoder).telemetry},
}

// options are the arguments that a body may hold, by name.
type options map[string]setter

// nested are the blocks that a block may hold, each at most once but for those in
// repeatable and labelled.
type nested map[string]func(*hcl.Block)

// repeatable are the blocks of which there may be several.
var repeatable = map[string]bool{"certificate": true, `resolver "consul"`: true}

// labelled are the blocks in other blocks that have a label of the operator's choice:
// there may be one for each label.
var labelled = map[string]bool{"access": true}

// places are the options that a body does hold, as they stand there.
type places map[string]hcl.Expression

// of returns the place of the option called name, or of the whole block if it was left out.
func (p places) of(name string, b *hcl.Block) hcl.Range {
	if expr, ok := p[name]; ok {
		return expr.Range()
	}
	return b.DefRange
}

// shown is the text of an option as problems show it: what comes from another file or
// the environment is not repeated.
func (p places) shown(name, text string) string {
	if expr, ok := p[name]; ok && !literal(expr) {
		return "that one"
	}
	return text
}

// file decodes all files, merged into one body.
func (d *decoder) file(body hcl.Body) {
	schema := &hcl.BodySchema{}
	for _, known := range blocks {
		header := hcl.BlockHeaderSchema{Type: known.kind}
		if known.label != "" {
			header.LabelNames = []string{"kind"}
		}
		schema.Blocks = append(schema.Blocks, header)
	}
	content := d.content(body, schema, d.global())
	seen := make(map[string]hcl.Range)
	for _, b := range content.Blocks {
		name := title(b)
		if first, dup := seen[name]; dup && !repeatable[name] {
			d.wrong(b.DefRange, "%s: already written at %s", name, first)
		} else {
			seen[name] = b.DefRange
		}
		d.block(b) // one too many may hold mistakes of its own
	}
}

// block decodes b by its entry in blocks.
func (d *decoder) block(b *hcl.Block) {
	var labels []string
	for _, known := range blocks {
		if known.kind != b.Type {
			continue
		}
		if known.label == "" || known.label == b.Labels[0] || known.label == anyLabel {
			known.decode(d, b)
			return
		}
		labels = append(labels, strconv.Quote(known.label))
	}
	d.wrong(b.LabelRanges[0], "%s: unknown kind, want %s", title(b), strings.Join(labels, " or "))
}

// body decodes what stands between the braces of b, and returns where.
func (d *decoder) body(b *hcl.Block, opts options, inner nested) places {
	outside := d.within
	d.within += title(b) + ": "
	defer func() { d.within = outside }()
	schema := &hcl.BodySchema{}
	for _, kind := range slices.Sorted(maps.Keys(inner)) {
		header, name := hcl.BlockHeaderSchema{Type: kind}, kind
		if labelled[kind] {
			header.LabelNames, name = []string{"name"}, kind+" "+strconv.Quote(anyLabel)
		}
		schema.Blocks = append(schema.Blocks, header)
		d.names = append(d.names, d.within+name)
	}
	content := d.content(b.Body, schema, opts)
	seen := make(map[string]hcl.Range)
	for _, in := range content.Blocks {
		name := title(in)
		if first, dup := seen[name]; dup && !repeatable[name] {
			d.wrong(in.DefRange, "%s%s: already written at %s", d.within, name, first)
		} else {
			seen[name] = in.DefRange
		}
		inner[in.Type](in)
	}
	where := make(places)
	for name, attr := range content.Attributes {
		where[name] = attr.Expr
	}
	return where
}

// content reads body and sets its options.
func (d *decoder) content(body hcl.Body, schema *hcl.BodySchema, opts options) *hcl.BodyContent {
	for _, name := range slices.Sorted(maps.Keys(opts)) {
		schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: name})
		d.names = append(d.names, d.within+name)
	}
	content, diags := body.Content(schema)
	d.diagnose(diags)
	for name, attr := range content.Attributes {
		v, diags := attr.Expr.Value(d.ctx)
		d.diagnose(diags)
		// A null is an option left out; an unknown value was diagnosed already.
		if diags.HasErrors() || v.IsNull() || !v.IsWhollyKnown() {
			continue
		}
		opts[name](value{v: v, expr: attr.Expr, wrong: func(at hcl.Range, format string, args ...any) {
			d.wrong(at, "%s%s: "+format, append([]any{d.within, name}, args...)...)
		}})
	}
	return content
}

// title is how problems call a block: gateway, resolver "static".
func title(b *hcl.Block) string {
	name := b.Type
	for _, label := range b.Labels {
		name += " " + strconv.Quote(label)
	}
	return name
}
