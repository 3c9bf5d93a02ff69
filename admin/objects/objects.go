// Package objects serves the documents of the policy, byte for byte as they stand in
// the store, and transactions on them. "lictor policy" uses it.
package objects

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"lictor/admin"
	"lictor/admin/api"
	"lictor/admin/edit"
	"lictor/admin/openapi"
	"lictor/policy"
	"lictor/policy/document"
	"lictor/policy/store"
)

// maxBody bounds the body of a transaction.
const maxBody = 10 << 20

// Documents are the objects of the policy as they stand in a store. [New] makes
// them. Any goroutine may call their methods.
type Documents struct {
	store  store.Store
	policy *edit.Policy
	notes  func(policy.Key, policy.Object) policy.Problems

	// BindConsumers is what the configuration says (C6), which is told with the
	// documents: what they mean depends on it. It is set before they are served.
	BindConsumers bool

	decisions Decisions
	replaying sync.Mutex // one replay at a time
}

// New returns the documents in s, which must be the store of p. notes returns what
// in an object has no effect, for warnings; nil = there are none. An error is a nil s
// or p.
func New(s store.Store, p *edit.Policy, notes func(policy.Key, policy.Object) policy.Problems) (*Documents, error) {
	if s == nil || p == nil {
		return nil, errors.New("objects: a store and a policy are required")
	}
	return &Documents{store: s, policy: p, notes: notes}, nil
}

// Routes returns the routes of the documents.
func (a *Documents) Routes() []admin.Route {
	return []admin.Route{
		{Method: "GET", Path: "/policy/objects", May: admin.Write, // a document may hold a secret of jwt
			Handler: admin.Handle(a.list), Doc: &openapi.Operation{
				Tag: "Documents", Summary: "The policy as it stands in the store; values in base64",
				Query: []openapi.Parameter{
					{Name: "held", Schema: openapi.Text("only those that are held: in force although the store lost them in a way that is not believed")},
					{Name: "fresh", Schema: openapi.Text("look at the store anew first")},
				},
				Answers: []openapi.Answer{{Status: 200, About: "all documents, by key", Body: openapi.Of(api.List{})}}, Refuses: []int{400, 503},
			}},
		{Method: "POST", Path: "/policy/objects", May: admin.Write, MaxBody: maxBody, Handler: admin.Handle(a.write), Doc: &openapi.Operation{
			Tag:     "Documents",
			Summary: "A transaction on documents, done whole or not at all: at most 64 operations put, delete or verify, each if the object is at `index` or `absent`",
			Body:    openapi.Of(api.Transaction{}), Answers: []openapi.Answer{{Status: 200, About: "it is done", Body: openapi.Of(api.Done{})}},
			Refuses: []int{400, 409, 412, 413, 415, 503},
		}},
		a.replayRoute(),
	}
}

// freshTime bounds how long the store may be read anew for a request.
const freshTime = 10 * time.Second

func (a *Documents) list(w http.ResponseWriter, r *http.Request) error {
	query, err := admin.Query(r, func(name string) bool { return name == "held" || name == "fresh" })
	if err != nil {
		return err
	}
	if query.Has("fresh") {
		ctx, cancel := context.WithTimeout(r.Context(), freshTime)
		defer cancel()
		if err := a.store.Refresh(ctx); err != nil {
			return err
		}
	}
	out, err := a.List(r.Context())
	if err != nil {
		return err
	}
	if query.Has("held") {
		out.Objects = slices.DeleteFunc(out.Objects, func(o api.Object) bool { return !o.Held })
	}
	admin.WriteJSON(w, http.StatusOK, out)
	return nil
}

// List returns all documents, by key, as this node last saw them. An error is one of
// the store.
func (a *Documents) List(ctx context.Context) (*api.List, error) {
	why := map[string]string{}
	for _, o := range a.store.Held() {
		why[o.Key()] = o.Why
	}
	out := &api.List{Objects: []api.Object{}, BindConsumers: a.BindConsumers}
	for _, kind := range policy.Kinds {
		all, err := a.policy.List(ctx, kind)
		if err != nil {
			return nil, err
		}
		for _, o := range all {
			shown := shownOf(o)
			shown.Why, shown.Held = why[shown.Key] // "", false if it is not held
			out.Objects = append(out.Objects, shown)
		}
	}
	slices.SortFunc(out.Objects, func(a, b api.Object) int { return cmp.Compare(a.Key, b.Key) })
	return out, nil
}

// Get returns a document by its kind and name as it is in the store now, for which it
// waits; nil if there is none.
func (a *Documents) Get(ctx context.Context, key string) (*api.Object, error) {
	k, ok := policy.ParseKey("policy/" + key)
	if !ok {
		return nil, nil
	}
	o, err := a.policy.Get(ctx, k)
	if o == nil || err != nil {
		return nil, err
	}
	shown := shownOf(o)
	shown.Held = o.Held
	return &shown, nil
}

func shownOf(o *edit.Object) api.Object {
	shown := api.Object{Key: string(o.Key.Kind) + "/" + o.Key.Name, Value: o.Value, Index: o.Index, Created: o.Created}
	if o.Problems != nil {
		shown.Error = o.Problems.Error()
	}
	return shown
}

func (a *Documents) write(w http.ResponseWriter, r *http.Request) error {
	t, err := transaction(r)
	if err != nil {
		return err
	}
	done, err := a.Write(w, r, t)
	if err == nil {
		admin.WriteJSON(w, http.StatusOK, done)
	}
	return err
}

// Check returns what is wrong with a transaction, and else its warnings. Nothing is
// written.
func (a *Documents) Check(t *api.Transaction) (warnings []string, err error) {
	ops, err := operations(t)
	if err != nil {
		return nil, err
	}
	return a.warnings(ops), nil
}

// Write does a transaction that a request asks for, whole or not at all, and waits
// until it is in force, 25 s at most; else the answer says so. Its errors are
// [admin.Refusal]s and those of the store.
func (a *Documents) Write(w http.ResponseWriter, r *http.Request, t *api.Transaction) (*api.Done, error) {
	ops, err := operations(t)
	if err != nil {
		return nil, err
	}
	ctx, cancel := admin.Writing(r)
	defer cancel()
	index, err := a.store.Write(ctx, ops)
	if conflict, ok := errors.AsType[*store.ConflictError](err); ok {
		if conflict.Op.Check.Absent {
			return nil, admin.Taken("", conflict.Error())
		}
		return nil, &admin.Refusal{Status: http.StatusPreconditionFailed, Reason: "precondition_failed", Message: conflict.Error()}
	}
	if errors.Is(err, store.ErrNotSeen) {
		admin.WarnUnseen(w)
		err = nil
	}
	if err != nil {
		return nil, err
	}
	return &api.Done{Index: index, Warnings: a.warnings(ops)}, nil
}

// warnings returns those about the documents that were put.
func (a *Documents) warnings(ops []store.Op) (texts []string) {
	if a.notes == nil {
		return nil
	}
	for _, op := range ops {
		key := policy.Key{Kind: policy.Kind(op.Kind), Name: op.Name}
		if op.Verb != store.Put || !key.Kind.Valid() {
			continue
		}
		if content, err := document.Parse(key, op.Value); err == nil {
			for _, text := range admin.Warnings(a.notes(key, content)) {
				texts = append(texts, op.Kind+"/"+op.Name+": "+text)
			}
		}
	}
	return texts
}

// transaction reads the body of a request.
func transaction(r *http.Request) (*api.Transaction, error) {
	body, err := admin.ReadJSON(r)
	if err != nil {
		return nil, err
	}
	return decode(body)
}

func decode(body []byte) (*api.Transaction, error) {
	t := &api.Transaction{}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(t); err != nil {
		return nil, admin.Invalid("", "Cannot parse JSON body: "+err.Error())
	}
	return t, nil
}

// operations reads the steps of a transaction and checks every document that it puts.
func operations(t *api.Transaction) ([]store.Op, error) {
	wrong := &admin.Refusal{Status: http.StatusBadRequest, Reason: "invalid", Fields: map[string]string{}}
	ops := make([]store.Op, len(t.Operations))
	for i := range t.Operations {
		var err error
		if ops[i], err = operation(&t.Operations[i]); err != nil {
			field := "operations[" + strconv.Itoa(i) + "]"
			wrong.Fields[field] = err.Error()
			if wrong.Message == "" {
				wrong.Message = field + ": " + err.Error()
			}
		}
	}
	if len(wrong.Fields) > 0 {
		return nil, wrong
	}
	return ops, nil
}

// operation reads an operation of a transaction, and checks the document it puts.
func operation(o *api.Operation) (store.Op, error) {
	key, ok := policy.ParseKey("policy/" + o.Key)
	if !ok {
		return store.Op{}, fmt.Errorf("key is %q, want kind/name with one of the kinds %v", o.Key, policy.Kinds)
	}
	op := store.Op{Kind: string(key.Kind), Name: key.Name, Check: store.Check{Absent: o.Absent, Index: o.Index}}
	switch o.Op {
	case "put":
		op.Verb, op.Value = store.Put, append([]byte{}, o.Value...)
		if problems := document.Check(key, op.Value); problems != nil {
			return op, fmt.Errorf("%s: %w", o.Key, problems)
		}
	case "delete":
		op.Verb = store.Delete
	case "verify":
		op.Verb = store.Verify
	default:
		return op, fmt.Errorf("op is %q, want put, delete or verify", o.Op)
	}
	if o.Op != "put" && o.Value != nil {
		return op, errors.New("value is only for put")
	}
	return op, nil
}
