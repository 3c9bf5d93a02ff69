package config

import (
	"strings"
	"testing"
)

// A share of nobody is written as no middleware: of 0 the chain takes it for all.
func TestAPercentageIsNeverTakenForAll(t *testing.T) { // D19
	clean(t)
	for percent, ok := range map[string]bool{"1e-323": false, "1e-400": false, "0": false, "1e-300": true, "99.9": true, "100": true, "101": false} {
		cfg, err := Parse(OS(), File{Name: "a.hcl", Text: []byte("middleware \"m\" {\n match {\n percent = " + percent + "\n }\n record = true\n}")})
		switch {
		case (err == nil) != ok, err != nil && !strings.Contains(err.Error(), "percent: want a number above 0"):
			t.Errorf("percent = %s: %v, want it taken: %v", percent, err, ok)
		case ok && percent != "100" && (cfg.Middleware[0].Match.Share <= 0 || cfg.Middleware[0].Match.Share >= 1):
			t.Errorf("percent = %s is a share of %v", percent, cfg.Middleware[0].Match.Share)
		}
	}
}
