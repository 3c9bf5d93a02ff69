package admin

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"lictor/admin/edit"
)

// writeTime is how long a change may take.
const writeTime = 25 * time.Second

// Writing returns the context of a change that a request asks for: it does not
// end when the client leaves, but after 25 s. Its caller calls cancel.
func Writing(r *http.Request) (ctx context.Context, cancel context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), writeTime)
}

// Change runs a change of the policy for a request, as [edit.Policy.Do] does, and
// returns its error. It blocks until the change is written and in force on this
// node, 25 s at most; if it is not in force by then, the answer says so.
func Change(w http.ResponseWriter, r *http.Request, p *edit.Policy, change func(*edit.Txn) error) error {
	ctx, cancel := Writing(r)
	defer cancel()
	result, err := p.Do(ctx, change)
	if result.Unseen {
		WarnUnseen(w)
	}
	return err
}

// WarnUnseen adds to an answer that what was written is not in force on this node yet.
func WarnUnseen(w http.ResponseWriter) {
	w.Header().Set("Warning", `199 lictor "written, but not yet in force on this node"`)
}

// ETag returns the ETag of an object; "" of nil, which is an object that does
// not exist.
func ETag(o *edit.Object) string {
	if o == nil {
		return ""
	}
	return strconv.Quote(strconv.FormatUint(o.Index, 10))
}

// Precondition applies If-Match and If-None-Match (RFC 9110, 13.1) to the object
// that a request would change, nil if it does not exist. Its error is a [Refusal].
func Precondition(r *http.Request, o *edit.Object) error {
	match, none := r.Header.Values("If-Match"), r.Header.Values("If-None-Match")
	switch {
	case len(match) > 0 && !lists(match, ETag(o), false):
	case len(none) > 0 && lists(none, ETag(o), false):
	default:
		return nil
	}
	return &Refusal{Status: http.StatusPreconditionFailed, Reason: "precondition_failed", Message: "The object is not as the precondition wants it"}
}

// NotModified answers a GET by 304 if the client has the object already
// (If-None-Match; RFC 9110, 13.1.2, where weak tags count), and reports whether
// it did.
func NotModified(w http.ResponseWriter, r *http.Request, o *edit.Object) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	if !lists(r.Header.Values("If-None-Match"), ETag(o), true) {
		return false
	}
	w.Header().Set("ETag", ETag(o))
	w.WriteHeader(http.StatusNotModified)
	return true
}

// lists reports whether a list of tags has the one. A weak tag may be it only if
// weak says so.
func lists(values []string, etag string, weak bool) bool {
	if etag == "" {
		return false
	}
	for _, value := range values {
		for tag := range strings.SplitSeq(value, ",") {
			if tag = strings.TrimSpace(tag); weak {
				tag = strings.TrimPrefix(tag, "W/")
			}
			if tag == "*" || tag == etag {
				return true
			}
		}
	}
	return false
}
