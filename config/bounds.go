package config

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Bounds of a configuration. HCL's parser and its evaluation call themselves for
// each step into an expression, and a stack that overflows ends the process,
// which no recover prevents: so a text is measured before it is parsed. Its
// lexer, which measures, keeps a stack of its own.
const (
	maxFile     = 1 << 20 // bytes of one file, configuration or file("...")
	maxText     = 4 << 20 // bytes of all files of a configuration
	maxFiles    = 1000    // of one directory
	maxDepth    = 1000    // steps into an expression
	maxParts    = 4096    // of one string or heredoc: the parser takes the square of them
	maxProblems = 100     // that are told
)

// bounded returns why a file is too much to be parsed, nil if it is not.
func bounded(f File) *Problem {
	tokens, _ := hclsyntax.LexConfig(f.Text, f.Name, hcl.InitialPos)
	m := measure{levels: []level{{lines: true}}}
	for _, t := range tokens {
		if what := m.take(t.Type); what != "" {
			return &Problem{At: t.Range, Text: what}
		}
	}
	return nil
}

// level is what one bracket, brace or template holds so far.
type level struct {
	steps int  // tokens since the last separator: an expression of so many goes no deeper
	parts int  // of a template
	lines bool // the end of a line is a separator
	text  bool // it is a template: what stands between its parts is no expression
}

// measure is how deep the expressions of a text may go, whatever it is that
// nests: brackets, templates, conditions, operators, blocks.
type measure struct {
	levels []level
	steps  int // of all levels
}

// take counts one more token. It returns what is too much now, "" if nothing is.
func (m *measure) take(t hclsyntax.TokenType) string {
	top := &m.levels[len(m.levels)-1]
	switch t {
	case hclsyntax.TokenComment:
		return ""
	case hclsyntax.TokenNewline:
		if top.lines {
			m.separate(top)
		}
		return ""
	case hclsyntax.TokenComma:
		m.separate(top)
		return ""
	case hclsyntax.TokenQuotedLit, hclsyntax.TokenStringLit:
		return m.part(top)
	case hclsyntax.TokenCParen, hclsyntax.TokenCBrack, hclsyntax.TokenCBrace, hclsyntax.TokenTemplateSeqEnd, hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc:
		m.close()
		return ""
	}
	if t == hclsyntax.TokenTemplateInterp {
		if what := m.part(top); what != "" {
			return what
		}
	} else { // of a template only %{ is a step: an if holds all up to its end
		top.steps++
		m.steps++
	}
	switch t {
	case hclsyntax.TokenOParen, hclsyntax.TokenOBrack, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
		m.open(level{})
	case hclsyntax.TokenOBrace:
		m.open(level{lines: true})
	case hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc:
		m.open(level{text: true})
	}
	if m.steps > maxDepth {
		return fmt.Sprintf("too deep: want at most %d operators, brackets and other steps into one expression", maxDepth)
	}
	return ""
}

func (m *measure) part(top *level) string {
	if top.parts++; top.parts > maxParts {
		return fmt.Sprintf("too many parts: want at most %d lines or parts in one string", maxParts)
	}
	return ""
}

// open begins a level, which is a step by itself.
func (m *measure) open(l level) {
	l.steps = 1
	m.steps++
	m.levels = append(m.levels, l)
}

// close ends a level. A bracket too many ends none: it is a mistake that the
// parser finds.
func (m *measure) close() {
	last := len(m.levels) - 1
	if last == 0 {
		return
	}
	m.steps -= m.levels[last].steps
	m.levels = m.levels[:last]
}

// separate begins the next element of a level.
func (m *measure) separate(top *level) {
	base := 1
	if len(m.levels) == 1 {
		base = 0
	}
	if top.text {
		return
	}
	m.steps -= top.steps - base
	top.steps = base
}
