package replay

import (
	"errors"
	"fmt"

	"lictor/policy"
	"lictor/policy/document"
)

// Document is an object of a policy as it is written.
type Document struct {
	Key     policy.Key
	Value   []byte
	Created uint64 // the store's; of two the older wins ties
}

// FromDocuments returns the policy that documents make, as a lictor would read them. The
// error tells of each that cannot be read, and which. panicked is told of contained
// panics, as [policy.Options] says.
func FromDocuments(docs []Document, panicked func(any)) (*Policy, error) {
	objects, changes, err := read(docs)
	if err != nil {
		return nil, err
	}
	return New(objects, func(bind bool) (*policy.Set, error) {
		set, rejections := policy.NewBuilder(policy.Options{BindConsumers: bind, Panicked: panicked}).Apply(0, changes)
		var wrong []error
		for _, r := range rejections {
			wrong = append(wrong, fmt.Errorf("%s/%s: %w", r.Key.Kind, r.Key.Name, r.Problems))
		}
		return set, errors.Join(wrong...)
	})
}

// InForce returns the policy that is in force as set, of which docs are the documents.
// What of them cannot be read is left to set. prefix is that of the keys of its rules.
func InForce(set *policy.Set, prefix string, docs []Document) (*Policy, error) {
	var objects []Object
	for _, d := range docs {
		if o, _, err := read([]Document{d}); err == nil {
			objects = append(objects, o...)
		} else {
			objects = append(objects, Object{Key: d.Key, Text: string(d.Value)})
		}
	}
	p, err := New(objects, func(bool) (*policy.Set, error) { return set, nil })
	if err == nil {
		p.prefix = prefix
	}
	return p, err
}

func read(docs []Document) (objects []Object, changes []policy.Change, err error) {
	var wrong []error
	for i := range docs {
		d := &docs[i]
		content, err := document.Parse(d.Key, d.Value)
		var text []byte
		if err == nil {
			text, err = document.JSON(content)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s/%s: %w", d.Key.Kind, d.Key.Name, err))
			continue
		}
		objects = append(objects, Object{Key: d.Key, Object: content, Text: string(text)})
		changes = append(changes, document.Change(d.Key, uint64(i+1), max(d.Created, 1), d.Value))
	}
	return objects, changes, errors.Join(wrong...)
}
