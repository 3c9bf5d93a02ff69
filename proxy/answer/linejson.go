package answer

import (
	"cmp"

	"lictor/internal/trace"
	"lictor/proxy/http1/message"
)

// appendJSON appends the line as a JSON object without its first brace. What is
// not known is left out.
func (l *Line) appendJSON(dst []byte) []byte {
	dst = append(dst, `"time": "`...)
	dst = append(appendTime(dst, l.Began), '"')
	dst = appendKnown(dst, `, "listener": `, l.Listener)
	dst = append(dst, `, "request_id": "`...)
	dst = append(dst, l.ID...)
	dst = append(dst, '"')
	if l.Trace != (trace.ID{}) {
		dst = append(l.Trace.Append(append(dst, `, "trace_id": "`...)), '"')
	}
	dst = append(dst, `, "client": "`...)
	dst = append(l.Client.AppendTo(dst), '"')
	dst = appendKnown(dst, `, "consumer": `, l.Consumer)
	dst = appendKnown(dst, `, "credential": `, l.Credential)
	dst = l.appendRequest(dst)
	dst = appendNumber(dst, `, "status": `, int64(l.Status))
	dst = appendKnown(dst, `, "reason": `, string(l.Reason))
	dst = l.Ruling.append(dst)
	dst = l.appendUpstream(dst)
	dst = appendNumber(dst, `, "bytes_in": `, l.In)
	dst = appendNumber(dst, `, "bytes_out": `, l.Out)
	dst = appendNumber(dst, `, "took_us": `, l.Took.Microseconds())
	if l.Err != nil {
		dst = appendText(dst, `, "error": `, l.Err.Error())
	}
	return append(dst, '}')
}

// appendRequest appends what the client asked for.
func (l *Line) appendRequest(dst []byte) []byte {
	dst = appendText(dst, `, "method": `, l.Method)
	dst = appendText(dst, `, "host": `, l.Host)
	if l.Egress {
		dst = appendNumber(dst, `, "port": `, int64(l.Port))
	}
	dst = appendText(dst, `, "path": `, l.Path)
	if l.Version != "" {
		dst = append(dst, `, "protocol": "HTTP/`...)
		dst = append(append(dst, l.Version...), '"')
	}
	return appendKnown(dst, `, "user_agent": `, l.Agent)
}

// append appends what the policy decided.
func (r *Ruling) append(dst []byte) []byte {
	dst = appendKnown(dst, `, "plugin": `, r.Plugin)
	dst = appendKnown(dst, `, "would": `, string(r.Would))
	dst = appendKnown(dst, `, "mode": `, string(r.Mode))
	dst = appendKnown(dst, `, "rule": `, r.Rule.Key)
	dst = appendKnown(dst, `, "entry": `, r.Rule.Entry)
	return appendKnown(dst, `, "policy": `, r.Policy)
}

// appendUpstream appends where the request went, or would have gone.
func (l *Line) appendUpstream(dst []byte) []byte {
	if !l.Egress {
		dst = appendText(dst, `, "service": `, clip(l.Service, maxName))
		dst = appendKnown(dst, `, "api": `, l.API)
	}
	dst = appendKnown(dst, `, "instance": `, l.Instance)
	dst = appendKnown(dst, `, "upstream": `, l.Upstream)
	if l.UpstreamStatus > 0 {
		dst = appendNumber(dst, `, "upstream_status": `, int64(l.UpstreamStatus))
	}
	if l.Answered > 0 {
		dst = appendNumber(dst, `, "upstream_us": `, l.Answered.Microseconds())
	}
	if !l.Egress {
		if dst = appendNumber(dst, `, "tries": `, int64(l.Tries)); l.Tries > 1 {
			dst = appendNumber(dst, `, "retries": `, int64(l.Tries-1))
		}
		return dst
	}
	if l.Upstream != "" {
		dst = appendNumber(dst, `, "connect_us": `, l.Connect.Microseconds())
	}
	return appendNumber(dst, `, "lookup_us": `, l.Lookup.Microseconds())
}

// Read takes from the fields of a request what they say of where it comes from. The
// first of several counts. The strings are parts of the request.
func (l *Line) Read(fields []message.Field) {
	for i := range fields {
		switch f := &fields[i]; f.ID {
		case message.FieldReferer:
			l.Referer = cmp.Or(l.Referer, f.Value)
		case message.FieldUserAgent:
			l.Agent = cmp.Or(l.Agent, f.Value)
		}
	}
}
