package config

import (
	"errors"
	"strconv"
	"strings"
)

// errHSTS is what a value of hsts should have been.
var errHSTS = errors.New(`want years or days such as "1y" or "90d", with "includeSubDomains" and "preload" behind it as in "1y; includeSubDomains"`)

const (
	secondsOfDay = 24 * 60 * 60
	mostDays     = 10 * 365
	preloadDays  = 365 // that lists of browsers ask for
)

// hsts parses how long browsers shall come by https alone, and returns the value
// of the field that tells them (RFC 6797 6.1). "0d" has them forget it.
func hsts(s string) (string, error) {
	age, rest, further := strings.Cut(s, ";")
	days, err := daysOf(strings.TrimSpace(age))
	if err != nil {
		return "", err
	}
	value := "max-age=" + strconv.Itoa(days*secondsOfDay)
	var subdomains, preload bool
	for word := range strings.SplitSeq(rest, ";") {
		switch word = strings.TrimSpace(word); {
		case !further: // the one word that there is, is empty
		case strings.EqualFold(word, "includeSubDomains") && !subdomains:
			subdomains = true
			value += "; includeSubDomains"
		case strings.EqualFold(word, "preload") && !preload:
			preload = true
			value += "; preload"
		default:
			return "", errHSTS
		}
	}
	if preload && (!subdomains || days < preloadDays) {
		return "", errors.New(`want "1y; includeSubDomains; preload": preload needs both`)
	}
	return value, nil
}

func daysOf(s string) (int, error) {
	number, years := strings.CutSuffix(s, "y")
	if !years {
		var ok bool
		if number, ok = strings.CutSuffix(s, "d"); !ok {
			return 0, errHSTS
		}
	}
	n, err := strconv.ParseUint(number, 10, 16)
	days := int(n)
	if years {
		days *= 365
	}
	if err != nil || days > mostDays {
		return 0, errHSTS
	}
	return days, nil
}
