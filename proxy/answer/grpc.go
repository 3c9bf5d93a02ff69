package answer

import (
	"strings"

	"lictor/proxy/http1/message"
)

// Codes of gRPC for answers of lictor's own.
const (
	grpcDeadlineExceeded  = "4"
	grpcPermissionDenied  = "7"
	grpcResourceExhausted = "8"
	grpcUnimplemented     = "12"
	grpcInternal          = "13"
	grpcUnavailable       = "14"
	grpcUnauthenticated   = "16"
)

// grpcCode is what a gRPC client is told in place of a status of HTTP: what
// gRPC's own mapping says, but that too much is RESOURCE_EXHAUSTED and too late
// DEADLINE_EXCEEDED, for which it has no status.
func grpcCode(status int) string {
	switch status {
	case 401, 302, 303, 307: // an authority redirects to where one logs in
		return grpcUnauthenticated
	case 403, 451:
		return grpcPermissionDenied
	case 404, 405, 501:
		return grpcUnimplemented
	case 413, 414, 429, 431:
		return grpcResourceExhausted
	case 408, 504:
		return grpcDeadlineExceeded
	case 502, 503:
		return grpcUnavailable
	}
	return grpcInternal
}

// GRPCType is the content type to answer a gRPC request with, "" if it is none:
// that of the request, without parameters, so that gRPC-Web gets its own.
func GRPCType(req *message.RequestHead) string {
	for i := range req.Fields {
		if f := &req.Fields[i]; f.ID == message.FieldContentType {
			return grpcMedia(f.Value)
		}
	}
	return ""
}

func grpcMedia(value string) string {
	const grpc = "application/grpc"
	if len(value) < len(grpc) || !message.EqualFold(value[:len(grpc)], grpc) {
		return ""
	}
	media, _, _ := strings.Cut(value, ";")
	media = strings.TrimRight(media, " \t")
	if len(media) > len(grpc) && media[len(grpc)] != '+' && media[len(grpc)] != '-' || !message.ValidFieldName(strings.Replace(media, "/", "-", 1)) {
		return ""
	}
	return media
}

// appendGRPC appends the fields by which a gRPC client knows that its call ended
// before it began: a head that is trailers, too ("Trailers-Only").
func appendGRPC(dst []byte, media string, r *Refusal) []byte {
	dst = message.AppendField(dst, "Content-Type", media)
	dst = message.AppendField(dst, "grpc-status", grpcCode(r.Status))
	dst = append(dst, "grpc-message: "...)
	dst = appendPercent(dst, r.Message)
	return append(dst, "\r\nContent-Length: 0\r\n"...)
}

// appendPercent appends a message with all but printable ASCII escaped, and the
// escape character itself.
func appendPercent(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '%' {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}
