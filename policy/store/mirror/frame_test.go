package mirror

import (
	"testing"

	"lictor/policy/store"
)

// encode is a kept policy of these objects and these changes after it.
func encode(objects, later []store.Change) []byte {
	return appendFrame(appendFrame([]byte(headOf("test")), objects, 1), later, 2)
}

// decode reads a kept policy, and returns its objects as it would be written again.
func decode(data []byte) (objects int, again []byte, err error) {
	content, err := decodeKept(data, headOf("test"), false)
	if content == nil {
		return 0, nil, err
	}
	return len(content.changes), appendFrame([]byte(headOf("test")), content.changes, content.index), err
}

// FuzzKept: a file is read or refused, and what is read is written again alike.
func FuzzKept(f *testing.F) {
	f.Add(encode(nil, nil))
	one := store.Object{Kind: "acls", Name: "a", Value: []byte("1"), Index: 12, CreateIndex: 300, Held: true}
	bad := one
	bad.Bad, bad.Former = true, &store.Version{Value: []byte("0"), Index: 3, CreateIndex: 2}
	f.Add(encode([]store.Change{{Object: bad}}, nil))
	f.Add(encode([]store.Change{{Object: one}}, []store.Change{{Object: one, Deleted: true}}))
	f.Add([]byte("lictor policy 2 \"test\"\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, again, err := decode(data)
		if again == nil {
			return
		}
		m, third, err2 := decode(again)
		if err2 != nil || m != n || len(third) != len(again) {
			t.Fatalf("%d objects (%v), written again %d (%v)", n, err, m, err2)
		}
	})
}
