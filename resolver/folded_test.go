package resolver

import (
	"strings"
	"testing"
)

func TestFoldedCatalog(t *testing.T) { // E7
	c := NewFoldedCatalog(&Service{Name: "orders"}).With([]*Service{{Name: "shop-2"}}, nil)
	tests := []struct {
		name, lookup string
		want         string // "" = unknown
	}{
		{"as it is stored", "orders", "orders"},
		{"in upper case", "ORDERS", "orders"},
		{"mixed, after a change", "Shop-2", "shop-2"},
		{"another name", "order", ""},
		{"a name longer than any", strings.Repeat("o", 129), ""},
		{"only ASCII is folded", "ÖRDERS", ""},
		{"no name", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if s := c.Lookup(tt.lookup); s != nil {
				got = s.Name
			}
			if got != tt.want {
				t.Errorf("Lookup(%q) = %q, want %q", tt.lookup, got, tt.want)
			}
		})
	}
	if NewCatalog(&Service{Name: "orders"}).Lookup("Orders") != nil {
		t.Error("other catalogs compare with case")
	}
	if n := testing.AllocsPerRun(100, func() { c.Lookup("ORDERS") }); n != 0 {
		t.Errorf("Lookup allocates %v times, want 0", n)
	}
}
