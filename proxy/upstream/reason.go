package upstream

import "lictor/proxy/answer"

// Reasons for which a request is not sent, or not answered, beside those that
// all listeners have.
const (
	UnknownService answer.Reason = "unknown_service"
	NoHealthy      answer.Reason = "no_healthy_instance"
	Overloaded     answer.Reason = "overloaded" // a bound of lictor's own was met; nothing was sent on
	BusReplyLost   answer.Reason = "reply_lost"
	BusNoUpgrade   answer.Reason = "upgrade_not_supported"
	BadPath        answer.Reason = "bad_path"
	Intention      answer.Reason = "intention" // Consul's mesh forbids the call
)

// NoServiceMessage is what a client is told whose path names no service.
const NoServiceMessage = "URL does not contain service route."

// RefuseUnknown is the refusal of a request for a service that nobody knows.
var RefuseUnknown = answer.Refusal{Status: 503, Reason: UnknownService, Message: "Unknown service", Repeatable: true}

var (
	refuseClimbing    = answer.Refusal{Status: 400, Reason: BadPath, Message: "The path can be read as one that leads above the service's root"}
	refuseNoHealthy   = answer.Refusal{Status: 503, Reason: NoHealthy, Message: "No healthy instance", Repeatable: true}
	refuseUnreachable = answer.Refusal{Status: 503, Reason: answer.Unreachable, Message: "No instance could be reached", Repeatable: true}
	refuseBadGateway  = answer.Refusal{Status: 502, Reason: answer.BadGateway, Message: "Bad answer from the service"}
	refuseTimeout     = answer.Refusal{Status: 504, Reason: answer.Timeout, Message: "The service took too long"}
	refuseOverloaded  = answer.Refusal{Status: 503, Reason: Overloaded, Message: "The service has as many connections or requests as it may", Repeatable: true}
	refuseIntention   = answer.Refusal{Status: 403, Reason: Intention, Message: "The service mesh does not let lictor call the service"}
	refuseUpgrade     = answer.Refusal{Status: 501, Reason: BusNoUpgrade, Message: "An upgrade cannot be carried over the bus"}
	refuseBusFull     = answer.Refusal{Status: 503, Reason: Overloaded, Message: "Too much is on its way over the bus", Repeatable: true}
	refuseReplyFull   = answer.Refusal{Status: 502, Reason: BusReplyLost, Message: "There is no room for the reply"}

	// refuseForbidden is the refusal of a request without a permit. It is a fault
	// of lictor's own if it is ever seen.
	refuseForbidden = answer.Refusal{Status: 403, Reason: "policy_unavailable", Message: "Denied"}
)
