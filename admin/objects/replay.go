package objects

import (
	"context"
	"io"
	"net/http"
	"time"

	"lictor/admin"
	"lictor/admin/api"
	"lictor/admin/openapi"
	"lictor/internal/crash"
	"lictor/policy"
	"lictor/policy/replay"
	"lictor/policy/store"
)

// Decisions are those that were recorded, for a replay.
type Decisions struct {
	Open   func(since time.Time) (io.ReadCloser, error) // the log; nil: there is none
	Set    func() *policy.Set                           // the policy in force
	Prefix string                                       // of the keys of its rules
}

// Bounds of a replay.
const (
	replayLast = time.Hour        // of decisions
	replayTime = 20 * time.Second // that it may take; then it tells of a part
)

// UseDecisions lets changes be tried on recorded decisions. It is to be called before
// the routes serve.
func (a *Documents) UseDecisions(d Decisions) { a.decisions = d }

func (a *Documents) replayRoute() admin.Route {
	return admin.Route{Method: "POST", Path: "/policy/replay", May: admin.Write, MaxBody: maxBody, Handler: admin.Handle(a.replay), Doc: &openapi.Operation{
		Tag: "Documents",
		Summary: "What a transaction would open or close: it is tried on the decisions of the last hour (`decision_log`), and nothing is written. " +
			"One at a time, for 20 s at most; then `partial` is true. `index` and `absent` are not looked at",
		Body: openapi.Of(api.Transaction{}), Answers: []openapi.Answer{{Status: 200, About: "which decisions would be others", Body: openapi.Of(replay.Report{})}},
		Refuses: []int{400, 409, 413, 415, 503},
	}}
}

func (a *Documents) replay(w http.ResponseWriter, r *http.Request) error {
	t, err := transaction(r)
	if err != nil {
		return err
	}
	report, err := a.Replay(r.Context(), t)
	if err == nil {
		admin.WriteJSON(w, http.StatusOK, report)
	}
	return err
}

// Replays reports whether decisions are recorded.
func (a *Documents) Replays() bool { return a.decisions.Open != nil }

// Replay tries a transaction on the decisions of the last hour. Nothing is written.
// It blocks for 20 s at most. Its errors are [admin.Refusal]s and those of the store.
func (a *Documents) Replay(ctx context.Context, t *api.Transaction) (*replay.Report, error) {
	if !a.Replays() {
		return nil, admin.Invalid("", "No decisions are recorded: the configuration has no decision_log { path }")
	}
	ops, err := operations(t)
	if err != nil {
		return nil, err
	}
	if !a.replaying.TryLock() {
		return nil, &admin.Refusal{Status: http.StatusConflict, Reason: "in_use", Message: "Another replay is under way"}
	}
	defer a.replaying.Unlock()
	options, err := a.policies(ctx, ops)
	if err != nil {
		return nil, err
	}
	options.Since = time.Now().Add(-replayLast)
	options.Workers = 1 // the others are for the traffic
	log, err := a.decisions.Open(options.Since)
	if err != nil {
		return nil, &admin.Refusal{Status: http.StatusServiceUnavailable, Reason: "store_unavailable", Message: "The decision log cannot be read: " + err.Error()}
	}
	defer log.Close()
	ctx, cancel := context.WithTimeout(ctx, replayTime)
	defer cancel()
	return replay.Run(ctx, log, options)
}

// policies are that in force, and what the operations make of its documents.
func (a *Documents) policies(ctx context.Context, ops []store.Op) (*replay.Options, error) {
	set := a.decisions.Set()
	if set == nil {
		return nil, &admin.Refusal{Status: http.StatusServiceUnavailable, Reason: "store_unavailable", Message: "No policy is loaded"}
	}
	var before, after []replay.Document
	changes := make(map[policy.Key]*store.Op)
	for i := range ops {
		if ops[i].Verb != store.Verify {
			changes[policy.Key{Kind: policy.Kind(ops[i].Kind), Name: ops[i].Name}] = &ops[i]
		}
	}
	for _, kind := range policy.Kinds {
		all, err := a.policy.List(ctx, kind)
		if err != nil {
			return nil, err
		}
		for _, o := range all {
			d := replay.Document{Key: o.Key, Value: o.Value, Created: o.Created}
			before = append(before, d)
			op, changed := changes[o.Key]
			delete(changes, o.Key)
			if changed && op.Verb == store.Delete {
				continue
			}
			if changed {
				d.Value = op.Value
			}
			after = append(after, d)
		}
	}
	for key, op := range changes {
		if op.Verb == store.Put {
			after = append(after, replay.Document{Key: key, Value: op.Value, Created: 1 << 62})
		}
	}
	former, err := replay.InForce(set, a.decisions.Prefix, before)
	if err != nil {
		return nil, err
	}
	next, err := replay.FromDocuments(after, func(value any) { crash.Tell("policy", value) })
	if err != nil {
		return nil, admin.Invalid("", "The policy would not be whole, so it cannot be tried: "+err.Error())
	}
	return &replay.Options{Next: next, Former: former}, nil
}
