package gateway

import "lictor/proxy/answer"

// Reasons that only the gateway has.
const (
	BadPath        answer.Reason = "bad_path"
	NoService      answer.Reason = "no_service"
	UnknownService answer.Reason = "unknown_service"
	NoHealthy      answer.Reason = "no_healthy_instance"
	Overloaded     answer.Reason = "overloaded" // a bound of lictor's own was met; nothing was sent on
	Middleware     answer.Reason = "middleware" // what a middleware blocked (D19)
	BusReplyLost   answer.Reason = "reply_lost"
	BusNoUpgrade   answer.Reason = "upgrade_not_supported"
)

var (
	refuseBadPath     = answer.Refusal{Status: 400, Reason: BadPath, Message: "Bad path"}
	refuseOddPath     = answer.Refusal{Status: 400, Reason: BadPath, Message: "The path is too long for one that can be read in several ways"}
	refuseClimbing    = answer.Refusal{Status: 400, Reason: BadPath, Message: "The path can be read as one that leads above the service's root"}
	refuseBadHost     = answer.Refusal{Status: 400, Reason: answer.BadRequest, Message: "Bad host"}
	refuseNoService   = answer.Refusal{Status: 404, Reason: NoService, Message: "URL does not contain service route."}
	refuseUnknown     = answer.Refusal{Status: 503, Reason: UnknownService, Message: "Unknown service", Repeatable: true}
	refuseNoHealthy   = answer.Refusal{Status: 503, Reason: NoHealthy, Message: "No healthy instance", Repeatable: true}
	refuseUnreachable = answer.Refusal{Status: 503, Reason: answer.Unreachable, Message: "No instance could be reached", Repeatable: true}
	refuseBadGateway  = answer.Refusal{Status: 502, Reason: answer.BadGateway, Message: "Bad answer from the service"}
	refuseTimeout     = answer.Refusal{Status: 504, Reason: answer.Timeout, Message: "The service took too long"}
	refuseOverloaded  = answer.Refusal{Status: 503, Reason: Overloaded, Message: "The service has as many connections as it may", Repeatable: true}
	refuseUpgrade     = answer.Refusal{Status: 501, Reason: BusNoUpgrade, Message: "An upgrade cannot be carried over the bus"}
	refuseBusFull     = answer.Refusal{Status: 503, Reason: Overloaded, Message: "Too much is on its way over the bus", Repeatable: true}
	refuseReplyFull   = answer.Refusal{Status: 502, Reason: BusReplyLost, Message: "There is no room for the reply"}
)
