package proxy

// Reason says why the gateway answered by itself. The set is closed
// (requirements X5), so that a Reason may be a metric label.
type Reason string

const (
	ReasonNone     Reason = ""
	BadRequest     Reason = "bad_request" // the head could not be read: 400, 408, 414, 431, 501, 505
	BadPath        Reason = "bad_path"
	NoService      Reason = "no_service"
	UnknownService Reason = "unknown_service"
	NoHealthy      Reason = "no_healthy_instance"
	Unreachable    Reason = "unreachable"
	BadGateway     Reason = "bad_gateway"
	Timeout        Reason = "timeout"
	BodyTooLarge   Reason = "body_too_large"
	clientLeft     Reason = "client_left" // nothing was answered; in the log only
)

// refusal is an answer of the gateway itself.
type refusal struct {
	status  int
	reason  Reason
	message string
}

var (
	refuseBadPath     = refusal{400, BadPath, "Bad path"}
	refuseNoService   = refusal{404, NoService, "URL does not contain service route."}
	refuseUnknown     = refusal{503, UnknownService, "Unknown service"}
	refuseNoHealthy   = refusal{503, NoHealthy, "No healthy instance"}
	refuseUnreachable = refusal{503, Unreachable, "No instance could be reached"}
	refuseBadGateway  = refusal{502, BadGateway, "Bad answer from the service"}
	refuseTimeout     = refusal{504, Timeout, "The service took too long"}
	refuseTooLarge    = refusal{413, BodyTooLarge, "Request body too large"}
)

// retryAfter reports whether a client may repeat any request: no byte of it
// reached a backend (X4).
func (r refusal) retryAfter() bool {
	return r.reason == UnknownService || r.reason == NoHealthy || r.reason == Unreachable
}
