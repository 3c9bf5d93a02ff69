package impact

import (
	"testing"

	"lictor/policy"
)

// Of each type of plugin somebody who changes one is told what else changes.
func TestEveryPluginSaysWhatItChangesElsewhere(t *testing.T) { // R3
	for _, p := range policy.PluginTables() {
		if elsewhere[p.Plugin] == "" {
			t.Errorf("elsewhere does not say what a change of %s changes", p.Plugin)
		}
	}
}
