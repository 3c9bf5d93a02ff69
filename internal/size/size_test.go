package size

import "testing"

func TestParse(t *testing.T) {
	tests := []struct {
		in   string
		want int64 // -1 = refused
	}{
		{"512", 512}, {"1B", 1}, {"1MB", 1e6}, {"8MiB", 8 << 20}, {"2GiB", 2 << 30}, {"3KB", 3000},
		{"", -1}, {"KiB", -1}, {"1kb", -1}, {"1.5MiB", -1}, {"-1", -1}, {"1 MiB", -1}, {"+1", -1},
		{"1MiBB", -1}, {"9223372036854775807GiB", -1}, {"99999999999999999999", -1}, {"0", -1},
	}
	for _, tt := range tests {
		got, err := Parse(tt.in, 1, 1<<40)
		if err != nil {
			got = -1
		}
		if got != tt.want {
			t.Errorf("Parse(%q): got %d, want %d", tt.in, got, tt.want)
		}
	}
}
