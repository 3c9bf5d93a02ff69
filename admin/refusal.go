package admin

import (
	"errors"
	"net/http"
	"strings"

	"lictor/admin/api"
	"lictor/admin/edit"
	"lictor/policy"
	"lictor/policy/store"
)

// Refusal is an answer that refuses a request (X5), as an error for [Handle].
type Refusal struct {
	Status  int               // of HTTP
	Reason  string            // for programs; one of the closed set of X5
	Message string            // for people
	Fields  map[string]string // what is wrong, by field; nil = it is not about fields
}

// Error implements error: it is the message.
func (r *Refusal) Error() string { return r.Message }

// Invalid refuses a request with 400 because of one field, whose name the message
// may begin with. field is "" if it is about the request as a whole.
func Invalid(field, message string) *Refusal {
	r := &Refusal{Status: http.StatusBadRequest, Reason: "invalid", Message: message}
	if field != "" {
		r.Fields = map[string]string{field: strings.TrimPrefix(message, field+" ")}
	}
	return r
}

// NotFound refuses a request with 404, for its object does not exist (C33).
func NotFound() *Refusal {
	return &Refusal{Status: http.StatusNotFound, Reason: "not_found", Message: "Not found"}
}

// Taken refuses a request with 409, for what it would make exists. field is the one
// that names it; "" if none does.
func Taken(field, message string) *Refusal {
	r := &Refusal{Status: http.StatusConflict, Reason: "already_exists", Message: message}
	if field != "" {
		r.Fields = map[string]string{field: "already exists"}
	}
	return r
}

// Handle makes a handler of a function that answers, or returns an error instead. A
// [Refusal] and [policy.Problems] are answered as what they are, an error of the
// store with 503, or 413 if the change is too large for it.
func Handle(serve func(w http.ResponseWriter, r *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := serve(w, r); err != nil {
			refuse(w, err)
		}
	}
}

// refuse answers with an error.
func refuse(w http.ResponseWriter, err error) {
	answer := RefusalOf(err)
	if answer.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	WriteJSON(w, answer.Status, api.Error{
		Message: answer.Message, Reason: answer.Reason, Fields: answer.Fields, RequestID: w.Header().Get(requestIDHeader),
	})
}

// RefusalOf returns the refusal that an error is answered with. It is the only
// place that knows which belongs to which.
func RefusalOf(err error) *Refusal {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r
	}
	if p, ok := errors.AsType[policy.Problems](err); ok {
		return invalidObject(p)
	}
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return &Refusal{Status: http.StatusRequestEntityTooLarge, Reason: "body_too_large", Message: "The body is too large"}
	}
	unavailable := &Refusal{Status: http.StatusServiceUnavailable, Reason: "store_unavailable"}
	switch {
	case errors.Is(err, store.ErrTooLarge):
		return &Refusal{Status: http.StatusRequestEntityTooLarge, Reason: "body_too_large", Message: "The change is too large for the policy store: " + err.Error()}
	case errors.Is(err, store.ErrInvalid):
		return Invalid("", err.Error())
	case errors.Is(err, store.ErrUnknown):
		unavailable.Message = "The policy store did not answer, it is not known whether the change was made: "
	case errors.Is(err, edit.ErrPart):
		unavailable.Message = "The policy store is unavailable; a part of the change was made, send the request again for the rest: "
	default: // the store, or the time that it takes
		unavailable.Message = "The policy store is unavailable, nothing was changed: "
	}
	unavailable.Message += err.Error()
	return unavailable
}

// invalidObject tells what is wrong with an object, by field.
func invalidObject(problems policy.Problems) *Refusal {
	r := &Refusal{Status: http.StatusBadRequest, Reason: "invalid"}
	texts := make([]string, len(problems))
	for i, p := range problems {
		texts[i] = p.Text
		if p.Field == "" {
			continue
		}
		if r.Fields == nil {
			r.Fields = make(map[string]string)
		}
		r.Fields[p.Field] = p.Text
		// A text that is no sentence by itself speaks of its field.
		if first := p.Text[:1]; first == strings.ToLower(first) && first != `"` {
			texts[i] = p.Field + " " + p.Text
		}
	}
	r.Message = strings.Join(texts, "; ")
	return r
}
