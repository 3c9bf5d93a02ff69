package answer

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/template/parse"
	"unicode/utf8"
)

// ErrorPage is the body that refusals have for clients that prefer HTML. It is
// immutable.
type ErrorPage struct{ t *template.Template }

// Bounds of a page. Each refusal is made into one in memory.
const (
	maxTemplate = 64 << 10  // bytes of the template
	maxPage     = 256 << 10 // bytes of what becomes of it
)

// told are the values that a template may use. They are all that it gets: it has no
// way to a field of the request, to a key, or to what brought the refusal about.
type told struct {
	Status     int    // 404
	StatusText string // "Not Found"
	Reason     string // "no_service" (X5)
	Message    string // clipped
	RequestID  string
}

var (
	values    = []string{"Status", "StatusText", "Reason", "Message", "RequestID"}
	functions = []string{"and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge"}
)

// ParseErrorPage reads a template for html/template, which escapes every value for
// where it stands, and tries it with each status. name is what errors call it.
//
// Of the language there are values, comments, if and comparisons. Without loops,
// definitions and variables each refusal costs in proportion to the template, and
// can neither run for ever nor build a text that doubles with each step.
func ParseErrorPage(name, text string) (*ErrorPage, error) {
	switch {
	case len(text) > maxTemplate:
		return nil, fmt.Errorf("%s: has %d bytes, want at most %d", name, len(text), maxTemplate)
	case !utf8.ValidString(text):
		return nil, fmt.Errorf("%s: want UTF-8", name)
	case strings.TrimSpace(text) == "":
		return nil, fmt.Errorf("%s: is empty", name)
	}
	t, err := template.New(name).Parse(text)
	if err != nil {
		return nil, err
	}
	if t.Tree == nil || len(t.Templates()) > 1 {
		return nil, fmt.Errorf("%s: want no define and no block", name)
	}
	if err := (&checker{t.Tree}).list(t.Tree.Root); err != nil {
		return nil, errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	p := &ErrorPage{t}
	return p, p.try()
}

// try makes the page of each status, with a message as long as one can be.
func (p *ErrorPage) try() error {
	long := strings.Repeat(`"`, maxText)
	for status := 200; status < 600; status++ {
		body, err := p.render(&Refusal{Status: status, Reason: BadRequest, Message: long}, strings.Repeat("0", 128))
		switch {
		case err != nil:
			return err
		case len(bytes.TrimSpace(body)) == 0:
			return fmt.Errorf("%s: the page of status %d is empty", p.t.Name(), status)
		}
	}
	return nil
}

// render returns the body for r. There is none with an error.
func (p *ErrorPage) render(r *Refusal, id string) ([]byte, error) {
	var out page
	err := p.t.Execute(&out, told{r.Status, http.StatusText(r.Status), string(r.Reason), Clip(r.Message), id})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// page is what is written of one so far.
type page []byte

var errLongPage = fmt.Errorf("the page would have more than %d bytes", maxPage)

// Write implements [io.Writer], up to a bound.
func (p *page) Write(b []byte) (int, error) {
	if len(*p)+len(b) > maxPage {
		return 0, errLongPage
	}
	*p = append(*p, b...)
	return len(b), nil
}

var _ io.Writer = (*page)(nil)

// checker looks for what a template may not have.
type checker struct{ tree *parse.Tree }

func (c *checker) wrong(n parse.Node, want string) error {
	at, what := c.tree.ErrorContext(n)
	return fmt.Errorf("template: %s: %s: want %s", at, what, want)
}

func (c *checker) list(l *parse.ListNode) error {
	if l == nil { // no else
		return nil
	}
	var errs []error
	for _, n := range l.Nodes {
		switch n := n.(type) {
		case *parse.TextNode, *parse.CommentNode:
		case *parse.ActionNode:
			errs = append(errs, c.pipe(n.Pipe))
		case *parse.IfNode:
			errs = append(errs, c.pipe(n.Pipe), c.list(n.List), c.list(n.ElseList))
		default:
			errs = append(errs, c.wrong(n, "values, if and else alone"))
		}
	}
	return errors.Join(errs...)
}

func (c *checker) pipe(p *parse.PipeNode) error {
	if len(p.Decl) > 0 {
		return c.wrong(p, "no variables")
	}
	var errs []error
	for _, command := range p.Cmds {
		for _, n := range command.Args {
			errs = append(errs, c.operand(n))
		}
	}
	return errors.Join(errs...)
}

func (c *checker) operand(n parse.Node) error {
	switch n := n.(type) {
	case *parse.FieldNode:
		if len(n.Ident) != 1 || !slices.Contains(values, n.Ident[0]) {
			return c.wrong(n, "."+strings.Join(values, ", ."))
		}
		return nil
	case *parse.IdentifierNode:
		if !slices.Contains(functions, n.Ident) {
			return c.wrong(n, strings.Join(functions, ", "))
		}
		return nil
	case *parse.PipeNode:
		return c.pipe(n)
	case *parse.StringNode, *parse.NumberNode, *parse.BoolNode:
		return nil
	}
	return c.wrong(n, "."+strings.Join(values, ", ."))
}
