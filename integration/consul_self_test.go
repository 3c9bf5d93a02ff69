//go:build integration

package integration_test

import (
	"errors"
	"testing"
)

// TestConsulKeepsOrForgets shows that the helper itself does what the other
// tests lean on: -dev forgets over a restart, a persistent server does not.
func TestConsulKeepsOrForgets(t *testing.T) {
	together(t)
	tests := []struct {
		name  string
		opts  []consulOption
		keeps bool
	}{
		{"a dev agent forgets", nil, false},
		{"a persistent server keeps", []consulOption{persistent(t)}, true},
		{"an agent with ACLs works", []consulOption{persistent(t), withACL("11111111-2222-3333-4444-555555555555")}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := startConsul(t, tt.opts...)
			register(t, c, "shop", "shop-1", "127.0.0.1:9")
			c.Kill(t)
			c.Start(t)
			eventually(t, soon, "the catalog is as expected", func() error {
				services, _, err := c.Client.Catalog().Services(nil)
				if _, ok := services["shop"]; err == nil && ok != tt.keeps {
					err = errors.New("shop is there or not, against the expectation")
				}
				return err
			})
		})
	}
}
