package egress

import (
	"lictor/policy"
	"lictor/proxy/answer"
)

// Reasons that only the egress has, or names more than once.
const (
	badTarget         answer.Reason = "bad_target"
	policyUnavailable               = answer.Reason(policy.ReasonPolicyUnavailable)
	clientNotAllowed  answer.Reason = "client_not_allowed"
	ownAddress        answer.Reason = "own_address"
	registeredService answer.Reason = "registered_service"
	privateAddress    answer.Reason = "private_address"
	dnsFailed         answer.Reason = "dns_failed"
	connectPort       answer.Reason = "connect_ports"
)

var (
	refuseUnavailable = answer.Refusal{Status: 503, Reason: policyUnavailable, Message: "The policy is not available"}
	refuseBlind       = answer.Refusal{Status: 503, Reason: policyUnavailable, Message: "It is not known where services are registered"}
	refuseClient      = answer.Refusal{Status: 403, Reason: clientNotAllowed, Message: "Clients at this address may not use this proxy (allow_clients)"}
	refuseOwn         = answer.Refusal{Status: 403, Reason: ownAddress, Message: "Denied"}
	refuseRegistered  = answer.Refusal{Status: 403, Reason: registeredService, Message: "Denied"}
	refusePrivate     = answer.Refusal{Status: 403, Reason: privateAddress, Message: "Denied"}
	refusePort        = answer.Refusal{Status: 403, Reason: connectPort, Message: "Denied", Entry: "connect_ports"}
	refuseDNSTimeout  = answer.Refusal{Status: 504, Reason: answer.Timeout, Message: "The name could not be looked up in time"}
	refuseUnreachable = answer.Refusal{Status: 503, Reason: answer.Unreachable, Message: "The target could not be reached", Repeatable: true}
	refuseTunnels     = answer.Refusal{Status: 503, Reason: answer.Unreachable, Message: "Too many tunnels", Repeatable: true}
	refuseBadGateway  = answer.Refusal{Status: 502, Reason: answer.BadGateway, Message: "Bad answer from the target"}
	refuseTimeout     = answer.Refusal{Status: 504, Reason: answer.Timeout, Message: "The target took too long"}
)

func refuseTarget(err error) answer.Refusal {
	return answer.Refusal{Status: 400, Reason: badTarget, Message: err.Error()}
}

func refuseName(name string) answer.Refusal {
	return answer.Refusal{Status: 502, Reason: dnsFailed, Message: `No IP addresses found for name "` + name + `"`}
}

// refuseVerdict is the refusal of a verdict. open says that the client may know
// which entry of a list denied.
func refuseVerdict(v *policy.Verdict, open bool) answer.Refusal {
	r := answer.Verdict(v)
	if open {
		r.Entry = v.Rule.Entry
	}
	return r
}

// isDenial reports whether a rule refused, as opposed to a failure.
func isDenial(r *answer.Refusal) bool { return r.Status == 403 || r.Status == 407 }
