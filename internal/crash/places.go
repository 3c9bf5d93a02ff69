package crash

// places are where panics are contained. Each is counted from the start, as 0: a
// series that begins with its first panic shows no increase to an alert.
var places = []string{
	"acme", "acme lock", "admin request", "bus connection", "bus exchange", "bus lane", "bus link", "bus message", "bus probe",
	"bus publisher", "bus replies", "bus reply", "certificates", "consul answer", "consul dial", "dns question", "egress request",
	"egress upkeep", "eureka answer", "feed", "forward-auth", "gateway listener", "gateway request", "gateway upkeep", "geoip", "http1 connection",
	"http2 connection", "http2 stream", "instance ages", "instance check", "jwks", "jwks answer", "policy", "policy document", "redirect", "request",
	"review of what takes long", "shutdown", "site check", "telemetry", "totals", "tunnel", "ui", "upkeep", "upload",
	"upstream connection", "upstream request", "upstream upkeep", "watch of a client",
}

func none() map[string]uint64 {
	counts := make(map[string]uint64, len(places))
	for _, where := range places {
		counts[where] = 0
	}
	return counts
}
