package gateway

import (
	"strings"
	"unsafe"

	"lictor/internal/field"
	"lictor/policy"
	"lictor/proxy/http1/message"
)

// appendCORS appends to a head, as far as it is written, what the plugin cors tells
// browsers (P1): on the answers of services and on lictor's own, for a browser
// hides a refusal, too, from a page that may not read it.
func (d *decision) appendCORS(head []byte) []byte {
	x := &d.verdict.CORS
	if x.Rules == nil {
		return head
	}
	if x.Rules.Varies() && !varies(head, "Origin") {
		head = append(head, "Vary: Origin\r\n"...)
	}
	switch x.Access {
	case policy.AccessAny:
		head = append(head, "Access-Control-Allow-Origin: *\r\n"...)
	case policy.AccessNamed:
		origin, _ := d.in.Field("Origin")
		head = message.AppendField(head, "Access-Control-Allow-Origin", origin)
		if x.Rules.Credentials {
			head = append(head, "Access-Control-Allow-Credentials: true\r\n"...)
		}
	default:
		return head
	}
	switch {
	case d.verdict.Action == policy.Answer:
		return d.appendPreflight(head, x.Rules)
	case x.Preflight: // no page reads its answer
		return head
	}
	return appendGiven(head, "Access-Control-Expose-Headers", x.Rules.Exposed)
}

// appendPreflight appends what only the answer to a preflight tells.
func (d *decision) appendPreflight(head []byte, rules *policy.CORS) []byte {
	head = appendGiven(head, "Access-Control-Allow-Methods", rules.Methods)
	headers := rules.Headers
	if headers == "" {
		head = append(head, "Vary: Access-Control-Request-Headers\r\n"...)
		if asked, n := d.in.Field("Access-Control-Request-Headers"); n == 1 && isNameList(asked) {
			headers = asked
		}
	}
	head = appendGiven(head, "Access-Control-Allow-Headers", headers)
	head = appendGiven(head, "Access-Control-Max-Age", rules.MaxAge)
	if asked, _ := d.in.Field("Access-Control-Request-Private-Network"); rules.PrivateNetwork && asked == "true" {
		head = append(head, "Access-Control-Allow-Private-Network: true\r\n"...)
	}
	return head
}

func appendGiven(head []byte, name, value string) []byte {
	if value == "" {
		return head
	}
	return message.AppendField(head, name, value)
}

// isNameList reports whether a value is a list of names of fields, as a preflight
// sends it: nothing else is sent back.
func isNameList(value string) bool {
	for name := range strings.SplitSeq(value, ",") {
		if !message.ValidFieldName(strings.Trim(name, " \t")) {
			return false
		}
	}
	return true
}

// replaces reports whether a field of a service's answer is the plugin's to send.
// What is told of a preflight that went on is the service's.
func (d *decision) replaces(name string) bool {
	const prefix = "Access-Control-"
	x := &d.verdict.CORS
	if x.Rules == nil || !field.HasPrefix(name, prefix) {
		return false
	}
	if x.Preflight {
		for _, own := range [...]string{"Allow-Methods", "Allow-Headers", "Max-Age", "Allow-Private-Network"} {
			if field.Same(name[len(prefix):], own) {
				return false
			}
		}
	}
	return true
}

// varies reports whether a head has a Vary that names a field, or "*", which
// stands for all.
func varies(head []byte, name string) bool {
	for line := range strings.Lines(unsafe.String(unsafe.SliceData(head), len(head))) {
		if len(line) < 5 || !message.EqualFold(line[:5], "Vary:") {
			continue
		}
		for member := range strings.SplitSeq(line[5:], ",") {
			if member = strings.Trim(member, " \t\r\n"); member == "*" || message.EqualFold(member, name) {
				return true
			}
		}
	}
	return false
}

// early finds the rules for the answer to a request that was refused before it
// had an API: those that hold for whatever is asked.
func (d *decision) early() {
	in, q := d.in, &d.request
	q.Method, q.Host, q.Port, q.Path, q.Names = in.req.Method, "", 0, nil, nil
	q.Client, q.Fields, q.Locator, q.Now = in.client, in, d.gw.locator, in.began
	d.gw.policy.Set().CrossOrigin(q, &d.verdict)
}
