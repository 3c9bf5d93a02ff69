package message

import (
	"sync/atomic"
	"time"
)

// AppendDate appends the Date field (RFC 9110 6.6.1), made once a second.
func AppendDate(dst []byte) []byte {
	now := time.Now()
	d := dates.Load()
	if d == nil || d.second != now.Unix() {
		d = &date{now.Unix(), now.UTC().AppendFormat(nil, "Date: Mon, 02 Jan 2006 15:04:05 GMT\r\n")}
		dates.Store(d)
	}
	return append(dst, d.line...)
}

type date struct {
	second int64
	line   []byte
}

var dates atomic.Pointer[date]
