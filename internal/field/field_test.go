package field

import "testing"

func TestSame(t *testing.T) {
	tests := []struct {
		name, a, b string
		want       bool
	}{
		{"equal", "X-Tenant", "X-Tenant", true},
		{"case does not count", "X-Tenant", "x-tENANT", true},
		{"an underscore is a dash", "X-Tenant", "X_Tenant", true},
		{"so is a dot, and any other mark", "X-Tenant-Id", "X.Tenant~Id", true},
		{"a letter is no mark", "X-Tenant", "XaTenant", false},
		{"nor is a digit", "X-Tenant", "X1Tenant", false},
		{"one that goes on", "X-Tenant", "X-Tenants", false},
		{"letters differ", "X-Tenant", "X-Tenanz", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if Same(tt.a, tt.b) != tt.want || Same(tt.b, tt.a) != tt.want {
				t.Errorf("Same(%q, %q) is not %v", tt.a, tt.b, tt.want)
			}
		})
	}
	if !HasPrefix("x_ratelimit_limit", "X-RateLimit-") || HasPrefix("X-Rate", "X-RateLimit-") {
		t.Error("HasPrefix does not go by Same")
	}
}
