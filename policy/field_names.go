package policy

import (
	"reflect"
	"strings"
)

// FieldNames returns the names of the fields that documents of a kind have.
func FieldNames(kind Kind) (names []string) {
	o := New(kind)
	if o == nil {
		return nil
	}
	t := reflect.TypeOf(o).Elem()
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return names
}
