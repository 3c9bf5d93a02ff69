package egress

import (
	"lictor/policy"
	"lictor/proxy/gateway"
)

// Reason says why the egress answered by itself. The set is closed
// (X5), so that a Reason may be a metric label.
type Reason = gateway.Reason

const (
	reasonNone        Reason = ""
	badTarget         Reason = "bad_target"
	badRequest        Reason = "bad_request" // a head that could not be read: 408, 431, 501, 505
	policyUnavailable Reason = "policy_unavailable"
	clientNotAllowed  Reason = "client_not_allowed"
	ownAddress        Reason = "own_address"
	blacklisted       Reason = "blacklist"
	registeredService Reason = "registered_service"
	privateAddress    Reason = "private_address"
	notWhitelisted    Reason = "whitelist"
	dnsFailed         Reason = "dns_failed"
	unreachable       Reason = "unreachable"
	badGateway        Reason = "bad_gateway"
	timedOut          Reason = "timeout"
	connectPort       Reason = "connect_ports"
	looped            Reason = gateway.Loop
	clientLeft        Reason = "client_left" // nothing was answered; in the log only
)

// refusal is an answer of the egress itself. Its zero value is none.
type refusal struct {
	status  int
	reason  Reason
	message string
	entry   string      // of a list, as far as the client may know it
	rule    policy.Rule // that refused, for the log

	challenge string // value of Proxy-Authenticate on a 407
}

var (
	refuseUnavailable = refusal{status: 503, reason: policyUnavailable, message: "The policy is not available"}
	refuseBlind       = refusal{status: 503, reason: policyUnavailable, message: "It is not known where services are registered"}
	refuseClient      = refusal{status: 403, reason: clientNotAllowed, message: "Clients at this address may not use this proxy (allow_clients)"}
	refuseOwn         = refusal{status: 403, reason: ownAddress, message: "Denied"}
	refuseRegistered  = refusal{status: 403, reason: registeredService, message: "Denied"}
	refusePrivate     = refusal{status: 403, reason: privateAddress, message: "Denied"}
	refusePort        = refusal{status: 403, reason: connectPort, message: "Denied", entry: "connect_ports"}
	refuseDNSTimeout  = refusal{status: 504, reason: timedOut, message: "The name could not be looked up in time"}
	refuseUnreachable = refusal{status: 503, reason: unreachable, message: "The target could not be reached"}
	refuseTunnels     = refusal{status: 503, reason: unreachable, message: "Too many tunnels"}
	refuseBadGateway  = refusal{status: 502, reason: badGateway, message: "Bad answer from the target"}
	refuseLoop        = refusal{status: gateway.LoopStatus, reason: looped, message: gateway.LoopMessage}
	refuseTimeout     = refusal{status: 504, reason: timedOut, message: "The target took too long"}
)

func refuseTarget(err error) refusal {
	return refusal{status: 400, reason: badTarget, message: err.Error()}
}

func refuseName(name string) refusal {
	return refusal{status: 502, reason: dnsFailed, message: `No IP addresses found for name "` + name + `"`}
}

// refuseVerdict is a verdict's refusal. open says whether the client may know
// the entry.
func refuseVerdict(v *policy.Verdict, open bool) refusal {
	r := refusal{status: v.Status, reason: Reason(v.Reason), message: v.Message, rule: v.Rule, challenge: v.Challenge}
	if open {
		r.entry = v.Rule.Entry
	}
	return r
}

// denies reports whether it is a rule that refused, as opposed to a failure.
func (r *refusal) denies() bool { return r.status == 403 || r.status == 407 }
