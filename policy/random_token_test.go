//go:build !race

package policy_test

// tokenConfig is the configuration of a random plugin jwt.
func (w *world) tokenConfig() map[string]any {
	config := map[string]any{"secrets": []any{tokenSecret}, "hide_credentials": w.IntN(2) == 0}
	if w.IntN(4) > 0 {
		config["consumer_claim"], config["consumer_optional"] = "sub", w.IntN(2) == 0
	}
	if w.IntN(2) == 0 {
		config["groups_claim"] = "roles"
	}
	return config
}
