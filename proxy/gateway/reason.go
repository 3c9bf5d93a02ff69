package gateway

import (
	"lictor/proxy/answer"
	"lictor/proxy/upstream"
)

// Reasons that only the gateway has, beside those of package upstream.
const (
	NoService  answer.Reason = "no_service"
	Middleware answer.Reason = "middleware" // what a middleware blocked (D19)
)

var (
	refuseBadPath   = answer.Refusal{Status: 400, Reason: upstream.BadPath, Message: "Bad path"}
	refuseOddPath   = answer.Refusal{Status: 400, Reason: upstream.BadPath, Message: "The path is too long for one that can be read in several ways"}
	refuseBadHost   = answer.Refusal{Status: 400, Reason: answer.BadRequest, Message: "Bad host"}
	refuseNoService = answer.Refusal{Status: 404, Reason: NoService, Message: upstream.NoServiceMessage}
)
