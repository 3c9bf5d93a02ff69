package rabbitmq

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"lictor/proxy/http1/message"
)

// Limits of AMQP 0-9-1. A name or value past them would make the library end
// the connection, so nothing that comes from a client may get there unchecked.
const (
	maxShortString = 255
	maxHeaderTable = 64 << 10 // half of RabbitMQ's usual frame, in which all of it must fit
	otherFields    = 1 << 10  // of the header frame: properties and the names X-WASP-*
)

const prefixWASP = "X-Wasp-" // as textproto spells it

// copies are copies of strings, which lie one behind the other.
type copies struct{ text strings.Builder }

func (p *copies) copy(s string) string {
	at := p.text.Len()
	p.text.WriteString(s)
	return p.text.String()[at:]
}

// newCall translates r for the bus (D12, D13). It copies every string of r.
func newCall(r *Request, now time.Time) (*call, *Error) {
	key := routingKey(r.Path)
	if len(key) > maxShortString {
		return nil, &Error{Status: 414, Reason: "routing_key_too_long", Err: fmt.Errorf("the routing key has %d bytes, AMQP allows %d", len(key), maxShortString)}
	}
	if len(r.Exchange) > maxShortString {
		return nil, &Error{Status: 503, Reason: "unknown_service", RetryAfter: true, Err: fmt.Errorf("an exchange name of %d bytes cannot exist", len(r.Exchange))}
	}
	var own copies
	own.text.Grow(r.text())
	headers, size := headerTable(r.Fields, &own)
	headers["X-WASP-METHOD"] = own.copy(r.Method)
	headers["X-WASP-PATH"] = own.copy(r.Path)
	headers["X-WASP-QS"] = own.copy(r.Query)
	if size += len(r.Method) + len(r.Path) + len(r.Query); size > maxHeaderTable {
		return nil, tooLarge(fmt.Errorf("the header has %d bytes, at most %d are carried", size, maxHeaderTable))
	}
	c := &call{id: newID(), exchange: own.copy(r.Exchange), key: key, size: size + otherFields, done: make(chan outcome, 1)}
	c.msg = amqp.Publishing{
		Headers:         headers,
		ContentType:     property(headers, "Content-Type"),
		ContentEncoding: property(headers, "Content-Encoding"),
		DeliveryMode:    amqp.Transient,
		CorrelationId:   c.id,
		Timestamp:       now,
		AppId:           "lictor",
		Body:            r.Body,
	}
	return c, nil
}

// text is how many bytes the strings of r have.
func (r *Request) text() int {
	n := len(r.Exchange) + len(r.Method) + len(r.Path) + len(r.Query)
	for i := range r.Fields {
		n += len(r.Fields[i].Name) + len(r.Fields[i].Value)
	}
	return n
}

// routingKey makes the routing key of a remote path: one leading and one
// trailing slash dropped, dots for the others, every segment decoded once.
func routingKey(path string) string {
	path = strings.TrimPrefix(path, "/")
	path = strings.TrimSuffix(path, "/")
	key := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '/':
			key = append(key, '.')
		case c == '%' && i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2]):
			v, _ := strconv.ParseUint(path[i+1:i+3], 16, 8) // two hexadecimal digits
			key = append(key, byte(v))
			i += 2
		default:
			key = append(key, c)
		}
	}
	return string(key)
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// headerTable makes the AMQP headers of HTTP fields, copied to own, and says how many
// bytes they take. The canonical spelling of the names is also what keeps a client
// away from the headers RabbitMQ acts on: CC, BCC and all in lower case.
func headerTable(fields []Field, own *copies) (amqp.Table, int) {
	named := connectionNames(fields)
	headers := make(amqp.Table, len(fields)+3)
	size := 0
	for _, f := range fields {
		name := textproto.CanonicalMIMEHeaderKey(f.Name)
		if len(name) > maxShortString || !message.ValidFieldName(name) || strings.HasPrefix(name, prefixWASP) || endsHere(name, named) {
			continue
		}
		size += len(name) + len(f.Value) + 6
		if first, ok := headers[name].(string); ok {
			separator := ", "
			if name == "Cookie" {
				separator = "; "
			}
			headers[name] = first + separator + f.Value
			continue
		}
		headers[own.copy(name)] = own.copy(f.Value)
	}
	return headers, size
}

// property returns the header as a message property, "" if it does not fit.
func property(headers amqp.Table, name string) string {
	if v, _ := headers[name].(string); len(v) <= maxShortString {
		return v
	}
	return ""
}

// decodeReply makes the answer of a message (D14).
func decodeReply(d *amqp.Delivery) (*Reply, error) {
	status, ok := replyStatus(d.Headers)
	if !ok {
		return nil, &Error{Status: 502, Reason: "bad_gateway", Err: fmt.Errorf("the worker's X-WASP-STATUS is %v, want 200..599", d.Headers["X-WASP-STATUS"])}
	}
	all := make([]Field, 0, len(d.Headers)+2)
	for name, value := range d.Headers {
		all = appendFields(all, name, value)
	}
	named := connectionNames(all)
	fields := all[:0]
	for _, f := range all {
		name := textproto.CanonicalMIMEHeaderKey(f.Name)
		switch {
		case endsHere(name, named), strings.HasPrefix(name, prefixWASP), name == "Content-Length",
			name == "Content-Type" && d.ContentType != "", name == "Content-Encoding" && d.ContentEncoding != "":
		default:
			fields = append(fields, f)
		}
	}
	if d.ContentType != "" {
		fields = appendFields(fields, "Content-Type", d.ContentType)
	}
	if d.ContentEncoding != "" {
		fields = appendFields(fields, "Content-Encoding", d.ContentEncoding)
	}
	slices.SortStableFunc(fields, func(a, b Field) int { return cmp.Compare(a.Name, b.Name) })
	return &Reply{Status: status, Fields: fields, Body: d.Body}, nil
}

// replyStatus reads X-WASP-STATUS, whose name may be spelt in any case.
func replyStatus(headers amqp.Table) (int, bool) {
	value, ok := headers["X-WASP-STATUS"]
	if !ok {
		for name, v := range headers {
			if strings.EqualFold(name, "X-WASP-STATUS") {
				value, ok = v, true
			}
		}
	}
	if !ok {
		return 200, true
	}
	text, _ := fieldText(value)
	if len(text) != 3 || text[0] < '2' || text[0] > '5' {
		return 0, false
	}
	status, err := strconv.ParseUint(text, 10, 16)
	return int(status), err == nil
}

// appendFields adds the field called name, one for each element if value is an
// array. What cannot be an HTTP field is left out: a worker must not be able
// to break the answer's framing.
func appendFields(fields []Field, name string, value any) []Field {
	if list, ok := value.([]any); ok {
		for _, v := range list {
			if text, ok := fieldText(v); ok && message.ValidFieldName(name) && message.ValidFieldValue(text) {
				fields = append(fields, Field{name, text})
			}
		}
		return fields
	}
	if text, ok := fieldText(value); ok && message.ValidFieldName(name) && message.ValidFieldValue(text) {
		fields = append(fields, Field{name, text})
	}
	return fields
}

// fieldText spells one AMQP value; tables and the like have no spelling.
func fieldText(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	case bool, byte, int8, int16, uint16, int32, uint32, int, int64, float32, float64:
		return fmt.Sprint(v), true
	case time.Time:
		return v.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"), true
	}
	return "", false
}

// endsHere reports whether the field called name is not passed on; named are the
// names that the message's Connection fields list. A message has no trailers.
func endsHere(name string, named []string) bool {
	id := message.IDOf(name)
	return id.HopByHop() || id == message.FieldTrailer || message.Listed(named, name)
}

func connectionNames(fields []Field) []string {
	var names []string
	for _, f := range fields {
		if strings.EqualFold(f.Name, "Connection") {
			for name := range strings.SplitSeq(f.Value, ",") {
				names = append(names, strings.TrimSpace(name))
			}
		}
	}
	return names
}

// newID returns a random UUID (version 4): who can publish to the reply queue
// must not be able to guess the id of somebody else's request. Unlike the
// library's own it allocates nothing but the text.
func newID() string {
	var u uuid.UUID
	_, _ = rand.Read(u[:]) // never fails, see its documentation
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u.String()
}
