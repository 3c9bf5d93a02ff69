package consul

import "fmt"

// problems collects what is wrong with a service's metadata; such values are ignored.
type problems struct{ texts []string }

func (p *problems) add(id, key, value, want string) {
	p.say(fmt.Sprintf("%s: %s = %q: want %s", cut(id, maxNote), key, cut(value, maxNote), want))
}

// say adds a text, up to a bound.
func (p *problems) say(text string) {
	switch {
	case len(p.texts) < maxProblems:
		p.texts = append(p.texts, text)
	case len(p.texts) == maxProblems:
		p.texts = append(p.texts, "and more")
	}
}
