package ui

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"lictor/admin"
	"lictor/admin/api"
	"lictor/policy"
	"lictor/policy/replay"
)

// maxDocument bounds the form of a document.
const maxDocument = 4 << 20

// editPage is the form of an object of the policy.
type editPage struct {
	Key, Link string
	Index     uint64 // of the object as the visitor saw it; 0 = there was none
	Document  string

	Wrong    string // why it is not written
	Conflict bool   // somebody wrote it meanwhile
	Checked  string // what was checked and may be written as it is; "" = nothing
	Deleting bool   // it is asked whether to delete it
	Warnings []string
	Diff     []diffLine
	Replay   *replay.Report // what the change would do to the traffic of the last hour; nil = nobody can tell
	Untried  string         // why
}

// create leads to the form of an object that may not exist.
func (u *UI) create(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	key := query.Get("kind") + "/" + strings.TrimSpace(query.Get("name"))
	if _, ok := policy.ParseKey("policy/" + key); !ok {
		return admin.Invalid("name", "An object needs a kind and a name")
	}
	return seeOther(w, objectPath(key)+"/edit")
}

// edit shows the form of an object, checks what was sent, shows what would change,
// and writes what was checked.
func (u *UI) edit(w http.ResponseWriter, r *http.Request) error {
	key := r.PathValue("kind") + "/" + r.PathValue("name")
	if _, ok := policy.ParseKey("policy/" + key); !ok {
		return admin.NotFound()
	}
	now, err := u.cfg.Get(r.Context(), key)
	if err != nil {
		return err
	}
	data := &editPage{Key: key, Link: objectPath(key)}
	if r.Method != http.MethodPost {
		if now != nil {
			data.Index, data.Document = now.Index, laidOut(shownDocument(now))
			if !utf8.Valid(now.Value) {
				return admin.Invalid("", "The document is no text; replace it by lictor policy apply, or delete it there")
			}
		}
		return u.showEdit(w, r, http.StatusOK, data)
	}
	data.Document = strings.ReplaceAll(r.PostForm.Get("document"), "\r\n", "\n")
	if data.Index, err = strconv.ParseUint(r.PostForm.Get("index"), 10, 64); err != nil {
		return admin.Invalid("index", "index is no number")
	}
	data.Deleting = r.PostForm.Get("action") == "delete"
	if r.PostForm.Get("checked") == data.sum() && r.PostForm.Get("action") != "check" {
		return u.write(w, r, data)
	}
	return u.check(w, r, data, now)
}

// sum stands for what is checked, so that nothing else is written.
func (p *editPage) sum() string {
	text := "put " + p.Document
	if p.Deleting {
		text = "delete"
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// transaction is what the form asks for.
func (p *editPage) transaction() *api.Transaction {
	op := api.Operation{Op: "put", Key: p.Key, Value: []byte(p.Document), Index: p.Index, Absent: p.Index == 0}
	if p.Deleting {
		op.Op, op.Value = "delete", nil
	}
	return &api.Transaction{Operations: []api.Operation{op}}
}

// check shows what is wrong, or what would change.
func (u *UI) check(w http.ResponseWriter, r *http.Request, data *editPage, now *api.Object) error {
	var err error
	data.Warnings, err = u.cfg.Check(data.transaction())
	if refusal, ok := errors.AsType[*admin.Refusal](err); ok {
		data.Wrong = refusal.Message
		return u.showEdit(w, r, refusal.Status, data)
	}
	if err != nil {
		return err
	}
	data.compare(now)
	if !data.Conflict {
		data.Checked = data.sum()
		u.try(r, data)
	}
	return u.showEdit(w, r, http.StatusOK, data)
}

// try shows what the change would do to the traffic of the last hour, where that is
// recorded. That it cannot be tried keeps nobody from writing it.
func (u *UI) try(r *http.Request, data *editPage) {
	if u.cfg.Replay == nil {
		return
	}
	var err error
	if data.Replay, err = u.cfg.Replay(r.Context(), data.transaction()); err != nil {
		data.Untried = err.Error()
	}
}

// compare shows what would change of the object as it is now, and goes on from it.
func (p *editPage) compare(now *api.Object) {
	before, index := "", uint64(0)
	if now != nil {
		before, index = shownDocument(now), now.Index
	}
	p.Conflict = index != p.Index
	p.Index = index
	after := ""
	if !p.Deleting {
		after = shownDocument(&api.Object{Key: p.Key, Value: []byte(p.Document)})
	}
	p.Diff = diff(before, after)
	if p.Diff == nil && now != nil && string(now.Value) != p.Document {
		p.Warnings = append(p.Warnings, "A secret, or the layout of the document, changes.")
	}
}

// write does what was checked, unless somebody was quicker.
func (u *UI) write(w http.ResponseWriter, r *http.Request, data *editPage) error {
	_, err := u.cfg.Write(w, r, data.transaction())
	refusal, ok := errors.AsType[*admin.Refusal](err)
	switch {
	case err == nil && data.Deleting:
		return seeOther(w, "/ui/policy")
	case err == nil:
		return seeOther(w, data.Link)
	case !ok || refusal.Status != http.StatusPreconditionFailed && refusal.Status != http.StatusConflict:
		return err
	}
	now, err := u.cfg.Get(r.Context(), data.Key)
	if err != nil {
		return err
	}
	data.compare(now)
	data.Conflict = true
	return u.showEdit(w, r, refusal.Status, data)
}

func (u *UI) showEdit(w http.ResponseWriter, r *http.Request, status int, data *editPage) error {
	return u.show(w, r, status, "edit", "/ui/policy", "Edit "+data.Key, data)
}
