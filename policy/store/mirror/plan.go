package mirror

import (
	"errors"

	"lictor/policy/store"
)

// Plan checks ops against what get returns, and makes changes of them, all at
// index. It fails with a *store.ConflictError.
func Plan(ops []store.Op, index uint64, get func(kind, name string) (store.Object, error)) ([]store.Change, error) {
	var changes []store.Change
	for _, op := range ops {
		old, err := get(op.Kind, op.Name)
		exists := err == nil
		if op.Check.Absent && exists || op.Check.Index != 0 && (!exists || old.Index != op.Check.Index) {
			return nil, &store.ConflictError{Op: op}
		}
		if op.Kind == "" {
			continue // the cleared mark is no object
		}
		change := store.Change{Object: store.Object{Kind: op.Kind, Name: op.Name, Index: index}}
		switch {
		case op.Verb == store.Put:
			change.Value = append([]byte{}, op.Value...)
			change.CreateIndex = index
			if exists {
				change.CreateIndex = old.CreateIndex
			}
		case op.Verb == store.Delete && exists:
			change.Deleted = true
		default:
			continue
		}
		changes = append(changes, change)
	}
	return changes, nil
}

// AsAsked makes a conflict speak of the op as it was asked for.
func AsAsked(err error, asked []store.Op) error {
	conflict, ok := errors.AsType[*store.ConflictError](err)
	if !ok {
		return err
	}
	for _, op := range asked {
		if op.Kind == conflict.Op.Kind && op.Name == conflict.Op.Name {
			return &store.ConflictError{Op: op}
		}
	}
	return err
}
