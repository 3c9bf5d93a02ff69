package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"lictor/admin"
	"lictor/admin/openapi"
	"lictor/app/supervisor"
	"lictor/internal/lines"
	"lictor/policy/live"
)

// Bounds on the audit.
const (
	auditBytes = 4 << 20         // that may wait to be written
	auditFlush = 2 * time.Second // how long the end waits for what is left

	changesPage = 100  // changes in an answer, unless it is asked for more
	maxChanges  = 1000 // and at most
)

// auditor returns what each change of the policy is told to: the file for it, or the
// log (R6).
func (p *Lictor) auditor() (func(*live.Audited), error) {
	path := p.cfg.Admin.AuditLog
	if path == "" {
		log := p.log.Named("audit")
		return func(e *live.Audited) {
			log.Info("policy audit", "by", e.By, "from", e.From, "key", e.Key, "verb", e.Verb, "index", e.Index, "before", e.Before, "after", e.After,
				"outcome", e.Outcome, "fields", e.Fields)
		}, nil
	}
	out, err := openAudit(path)
	if err != nil {
		return nil, err
	}
	p.audit = lines.New(out, auditBytes, 0)
	p.services = append(p.services, supervisor.Service{Name: "audit", Grace: auditFlush + time.Second, Run: func(ctx context.Context) error {
		<-ctx.Done()
		return p.audit.Flush(auditFlush)
	}})
	return func(e *live.Audited) {
		var line bytes.Buffer
		enc := json.NewEncoder(&line)
		enc.SetEscapeHTML(false) // people read it, and > stands in every difference
		if enc.Encode(e) == nil {
			_, _ = p.audit.Write(line.Bytes()) // what cannot be written is counted
		}
	}, nil
}

func openAudit(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY|syscall.O_NONBLOCK, 0o600) // a pipe that nobody reads is an error
	if err != nil {
		return nil, fmt.Errorf("admin: audit_log: %w", err)
	}
	return f, nil
}

// reopenAudit opens the file anew, after it was moved away. If that fails the old one
// stays.
func (p *Lictor) reopenAudit() error {
	if p.audit == nil {
		return nil
	}
	out, err := openAudit(p.cfg.Admin.AuditLog)
	if err != nil {
		return err
	}
	p.audit.Replace(out, time.Second)
	return nil
}

// auditProblems tells of lines that are lost.
func (p *Lictor) auditProblems() []string {
	if p.audit == nil || p.audit.Dropped() == 0 {
		return nil
	}
	return []string{fmt.Sprintf("admin: audit_log: %d lines were lost, since they could not be written in time", p.audit.Dropped())}
}

// changesOfPolicy is the answer of /policy/changes.
type changesOfPolicy struct {
	Changes []live.Audited `json:"changes"`        // the newest first
	Next    uint64         `json:"next,omitempty"` // what before has to be for those before them; left out if there are none
}

// changesRoute tells of the changes of the policy of late.
func (p *Lictor) changesRoute() admin.Route {
	return admin.Route{Method: "GET", Path: "/policy/changes", May: admin.Read, Handler: admin.Handle(p.changes), Doc: &openapi.Operation{
		Tag:     "Documents",
		Summary: "Changes of the policy of late and writes that were refused, as the audit has them: the last 1000 since the start",
		Query: []openapi.Parameter{
			{Name: "limit", Schema: openapi.Text("how many, 1 to 1000; 100 if it is not given")},
			{Name: "before", Schema: openapi.Text("only those before this seq: `next` of the answer before")},
		},
		Answers: []openapi.Answer{{Status: 200, About: "the newest first", Body: openapi.Of(changesOfPolicy{})}}, Refuses: []int{400},
	}}
}

func (p *Lictor) changes(w http.ResponseWriter, r *http.Request) error {
	query, err := admin.Query(r, func(name string) bool { return name == "limit" || name == "before" })
	if err != nil {
		return err
	}
	limit, before := changesPage, uint64(0)
	if text := query.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxChanges {
			return admin.Invalid("limit", fmt.Sprintf("limit: want 1 to %d", maxChanges))
		}
	}
	if text := query.Get("before"); text != "" {
		if before, err = strconv.ParseUint(text, 10, 64); err != nil || before == 0 {
			return admin.Invalid("before", "before: want a seq")
		}
	}
	list, more := p.policy.Changes(limit, before)
	answer := changesOfPolicy{Changes: append([]live.Audited{}, list...)}
	if more {
		answer.Next = list[len(list)-1].Seq
	}
	admin.WriteJSON(w, http.StatusOK, answer)
	return nil
}
