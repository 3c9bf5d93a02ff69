//go:build !race

package policy_test

import (
	"testing"

	"lictor/policy"
)

// The naive evaluator is held against plugins of each type.
func TestWorldsHaveEveryPlugin(t *testing.T) {
	drawn := make(map[string]bool)
	for seed := range uint64(200) {
		for _, p := range newWorld(seed).n.plugins {
			drawn[p.Name] = true
		}
	}
	for _, p := range policy.PluginTables() {
		if !drawn[p.Plugin] {
			t.Errorf("no world has a plugin %s: addRules draws it, naive_decide_test.go decides by it", p.Plugin)
		}
	}
}
