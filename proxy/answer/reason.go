package answer

import (
	"errors"

	"lictor/policy"
	"lictor/proxy/http1"
	"lictor/proxy/http1/message"
)

// Reason says why a listener answered by itself. The set is closed (X5), so that
// a Reason may be a metric label. The reasons of the policy are [policy.Reason].
type Reason string

// The reasons of both listeners; those that one of them has alone stand there.
const (
	ReasonNone  Reason = ""
	BadRequest  Reason = "bad_request" // the head could not be read: 400, 408, 414, 431, 501, 505
	Unreachable Reason = "unreachable"
	BadGateway  Reason = "bad_gateway"
	Timeout     Reason = "timeout"
	TooLarge    Reason = "body_too_large"
	Loop        Reason = "loop"
	ClientLeft  Reason = "client_left" // nothing was answered; in the log only
)

// Refusal is an answer of lictor's own. Its zero value is none.
type Refusal struct {
	Status  int
	Reason  Reason
	Message string          // for the client
	Entry   string          // of a list, as far as the client may know it; "" is left out
	Page    *policy.Page    // in place of the body that has Message; nil: that body
	Rule    policy.Rule     // that refused, for the log
	Plugin  string          // that refused, for the log
	Fields  []message.Field // that the answer has besides

	Challenge  string // how to say who one is: of a 401 for WWW-Authenticate, of a 407 for Proxy-Authenticate
	Repeatable bool   // any request may be sent again, for no byte of it reached a backend (X4)
	Untyped    bool   // no Content-Type is sent
	Err        error  // what brought it about, for the log; never for the client
}

// Because returns r with what brought it about.
func (r Refusal) Because(err error) Refusal {
	r.Err = err
	return r
}

// Refusals that do not depend on the listener. Loop has the status of RFC 5842 7.2.
var (
	RefuseTooLarge = Refusal{Status: 413, Reason: TooLarge, Message: "Request body too large"}
	RefuseLoop     = Refusal{Status: 508, Reason: Loop, Message: "The request came back: what it is routed to leads to here again"}
	Left           = Refusal{Status: 499, Reason: ClientLeft} // nobody is there to be answered
)

// Malformed is the refusal of a request that cannot be read.
func Malformed(err *message.ParseError) Refusal {
	return Refusal{Status: err.Status, Reason: BadRequest, Message: err.Reason, Err: err}
}

// BadBody is the refusal of a request whose body could not be read; [Left] if
// that is for want of a client.
func BadBody(err error) Refusal {
	if bad, ok := errors.AsType[*message.ParseError](err); ok {
		return Malformed(bad)
	}
	switch {
	case errors.Is(err, http1.ErrBodyTooLarge):
		return RefuseTooLarge
	case errors.Is(err, http1.ErrClientGone):
		return Left
	}
	return Refusal{Status: 408, Reason: BadRequest, Message: "The request body took too long"}
}

// Verdict is the refusal that a verdict of the policy is.
func Verdict(v *policy.Verdict) Refusal {
	return Refusal{Status: v.Status, Reason: Reason(v.Reason), Message: v.Message, Rule: v.Rule, Plugin: v.Plugin, Challenge: v.Challenge, Page: v.Page}
}
