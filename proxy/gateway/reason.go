package gateway

// Reason says why the gateway answered by itself. The set is closed
// (X5), so that a Reason may be a metric label.
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
	Overloaded     Reason = "overloaded" // a bound of lictor's own was met; nothing was sent on
	Loop           Reason = "loop"
	clientLeft     Reason = "client_left" // nothing was answered; in the log only
)

// refusal is an answer of the gateway itself.
type refusal struct {
	status  int
	reason  Reason
	message string

	challenge  string // value of WWW-Authenticate
	bus        bool   // repeatable says whether a client may repeat the request
	repeatable bool
}

var (
	refuseBadPath     = refusal{status: 400, reason: BadPath, message: "Bad path"}
	refuseOddPath     = refusal{status: 400, reason: BadPath, message: "The path is too long for one that can be read in several ways"}
	refuseClimbing    = refusal{status: 400, reason: BadPath, message: "The path can be read as one that leads above the service's root"}
	refuseBadHost     = refusal{status: 400, reason: BadRequest, message: "Bad host"}
	refuseNoService   = refusal{status: 404, reason: NoService, message: "URL does not contain service route."}
	refuseUnknown     = refusal{status: 503, reason: UnknownService, message: "Unknown service"}
	refuseNoHealthy   = refusal{status: 503, reason: NoHealthy, message: "No healthy instance"}
	refuseUnreachable = refusal{status: 503, reason: Unreachable, message: "No instance could be reached"}
	refuseBadGateway  = refusal{status: 502, reason: BadGateway, message: "Bad answer from the service"}
	refuseTimeout     = refusal{status: 504, reason: Timeout, message: "The service took too long"}
	refuseOverloaded  = refusal{status: 503, reason: Overloaded, message: "The service has as many connections as it may"}
	refuseLoop        = refusal{status: LoopStatus, reason: Loop, message: LoopMessage}
	refuseTooLarge    = refusal{status: 413, reason: BodyTooLarge, message: "Request body too large"}
)

// retryAfter reports whether a client may repeat any request: no byte of it
// reached a backend (X4).
func (r refusal) retryAfter() bool {
	if r.bus {
		return r.repeatable
	}
	return r.reason == UnknownService || r.reason == NoHealthy || r.reason == Unreachable || r.reason == Overloaded
}
