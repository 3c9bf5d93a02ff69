package consul

import (
	"errors"
	"net/http"
)

// Trouble is what keeps a client from a full answer, in words for people.
type Trouble string

// What the outcome of a query may be. Denied and Filtered do not pass by
// themselves: an operator must act.
const (
	None     Trouble = ""
	Away     Trouble = "consul does not answer"
	Denied   Trouble = "consul refuses to answer"
	Filtered Trouble = "consul hides a part of its answer because of its ACLs"
)

// ErrFiltered is what [Client.Get] returns for a [Query.Whole] of which Consul's
// ACLs hid a part.
var ErrFiltered = errors.New(string(Filtered))

// TroubleOf reads the outcome of a query.
func TroubleOf(m Meta, err error) Trouble {
	status, answered := errors.AsType[*StatusError](err)
	switch {
	case errors.Is(err, ErrFiltered), err == nil && m.Filtered:
		return Filtered
	case answered && status.Code == http.StatusForbidden:
		return Denied
	case err != nil:
		return Away
	}
	return None
}

// WentBack reports whether Consul lost its history between two answers about the
// same thing, or about all of it: an index grows as long as the servers keep what
// they know. They were restored from a backup, or begun anew, and a loss that
// comes with it is not one that anybody meant.
func WentBack(known, now uint64) bool { return now < known }
