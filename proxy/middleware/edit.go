package middleware

import (
	"slices"

	"lictor/internal/field"
)

// Field is one header field.
type Field struct{ Name, Value string }

// Edit changes a header: first Remove, then Set, then Add. A nil Edit changes nothing.
type Edit struct {
	Remove []string
	Set    []Field // in place of all fields of the name
	Add    []Field
}

// Empty reports whether e changes nothing.
func (e *Edit) Empty() bool { return e == nil || len(e.Remove)+len(e.Set)+len(e.Add) == 0 }

// then returns an edit that does e and then other.
func (e *Edit) then(other *Edit) *Edit {
	switch {
	case e.Empty():
		return other
	case other.Empty():
		return e
	}
	var o Overlay
	o.Apply(e)
	o.Apply(other)
	return &Edit{Remove: o.drop, Add: o.fields}
}

// Overlay is what several edits come to, in their order: fields to drop from a
// header, and fields to add behind it. The zero Overlay changes nothing.
type Overlay struct {
	drop   []string
	fields []Field
}

// Apply adds an edit.
func (o *Overlay) Apply(e *Edit) {
	if e.Empty() {
		return
	}
	for _, name := range e.Remove {
		o.remove(name)
	}
	for _, f := range e.Set {
		o.remove(f.Name)
		o.fields = append(o.fields, f)
	}
	o.fields = append(o.fields, e.Add...)
}

func (o *Overlay) remove(name string) {
	o.drop = append(o.drop, name)
	o.Forget(func(added string) bool { return field.Same(added, name) })
}

// Forget adds no field of a name that is somebody else's to say. What Fields returned
// before holds no more.
func (o *Overlay) Forget(theirs func(name string) bool) {
	o.fields = slices.DeleteFunc(o.fields, func(f Field) bool { return theirs(f.Name) })
}

// Drops reports whether fields of a name do not pass. A nil Overlay drops none.
func (o *Overlay) Drops(name string) bool {
	if o == nil {
		return false
	}
	for _, d := range o.drop {
		if field.Same(d, name) {
			return true
		}
	}
	return false
}

// Fields are those to add. A nil Overlay has none.
func (o *Overlay) Fields() []Field {
	if o == nil {
		return nil
	}
	return o.fields
}
