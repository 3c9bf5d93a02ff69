// Package size reads numbers of bytes as people write them.
package size

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

var units = map[string]int64{
	"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
}

// Parse reads a number of bytes from low to high, such as "512", "32KiB" or
// "8MB". The error says what was wanted, and does not repeat s.
func Parse(s string, low, high int64) (int64, error) {
	digits := strings.TrimRight(s, "BKMGi")
	unit, ok := units[s[len(digits):]]
	n, err := strconv.ParseUint(digits, 10, 63)
	if !ok || err != nil {
		return 0, errors.New(`want a size such as "512", "32KiB" or "8MiB"`)
	}
	if int64(n) > math.MaxInt64/unit || int64(n)*unit < low || int64(n)*unit > high {
		return 0, fmt.Errorf("want a size from %d to %d bytes", low, high)
	}
	return int64(n) * unit, nil
}
