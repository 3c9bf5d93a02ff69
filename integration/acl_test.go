//go:build integration

package integration_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

const rootToken = "5f0bd2c8-5a1c-4d0a-8d0a-0b6a1f9f3a02"

// rights are the rules of deploy/consul-policy.hcl, for a gateway and what else it
// is to do: each line that begins with # and a rule replaces the one about the
// same resource, or is one more.
func rights(t *testing.T, with ...string) []string {
	t.Helper()
	resource := func(rule string) string {
		return strings.TrimSpace(strings.FieldsFunc(rule, func(r rune) bool { return r == '{' || r == '=' })[0])
	}
	var rules []string
	section := ""
	for line := range strings.Lines(deployFile(t, "consul-policy.hcl")) {
		line = strings.TrimSpace(line)
		rule, more := strings.CutPrefix(line, "#")
		title, isTitle := strings.CutPrefix(line, "# with ")
		switch {
		case isTitle:
			section = title
		case line == "" || strings.HasPrefix(rule, " ") || rule == "":
		case !more:
			rules = append(rules, rule)
		case slices.ContainsFunc(with, func(use string) bool { return strings.HasPrefix(section, use) }):
			rules = slices.DeleteFunc(rules, func(other string) bool { return resource(other) == resource(rule) })
			rules = append(rules, rule)
		}
	}
	return rules
}

// bearer has a token of a policy that tests change.
type bearer struct {
	agent  *consulAgent
	policy string // ID
	name   string
	secret string
}

func newBearer(t *testing.T, agent *consulAgent, name string, rules []string) *bearer {
	t.Helper()
	policy, _, err := agent.Client.ACL().PolicyCreate(&api.ACLPolicy{Name: name, Rules: strings.Join(rules, "\n")}, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(rules, "\n"))
	}
	b := &bearer{agent: agent, policy: policy.ID, name: name}
	b.secret = b.newToken(t).SecretID
	return b
}

func (b *bearer) newToken(t *testing.T) *api.ACLToken {
	t.Helper()
	token, _, err := b.agent.Client.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{ID: b.policy}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (b *bearer) may(t *testing.T, rules []string) {
	t.Helper()
	_, _, err := b.agent.Client.ACL().PolicyUpdate(&api.ACLPolicy{ID: b.policy, Name: b.name, Rules: strings.Join(rules, "\n")}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// TestTheRightsAreJustEnough: K5. With the rights of deploy/consul-policy.hcl all
// is well; with one of them less the status and the log say so, and nothing that
// was served is lost.
func TestTheRightsAreJustEnough(t *testing.T) {
	mostlyWaiting(t)
	for _, use := range []struct {
		name string
		with []string
		rest string // of the configuration
		do   string // what is done beside serving
	}{
		{"gateway alone", nil, "", ""},
		{"with the admin API", []string{"the admin API"}, "", "write"},
		{"with the egress", []string{"the egress"}, "egress {\n  address = %q\n}\n", ""},
		{"with a peer", []string{"a peer"}, "resolver \"consul\" {\n  peer = \"east\"\n}\n", ""},
	} {
		t.Run(use.name, func(t *testing.T) {
			beside(t)
			agent := startConsul(t, withACL(rootToken), withPeering())
			if use.name == "with a peer" {
				peered(t, agent, startConsul(t, withPeering()))
			}
			b := startBackend(t, "one")
			register(t, agent, "shop", "shop-1", b.Addr)
			kvPut(t, agent, "lictor/policy/acls/a", `{"api": "nosuch", "consumers": ["nobody"]}`)
			all := rights(t, use.with...)
			who := newBearer(t, agent, "lictor", all)
			rest := use.rest
			if strings.Contains(rest, "%q") {
				rest = fmt.Sprintf(rest, fmt.Sprintf("127.0.0.1:%d", freePort(t)))
			}
			l := startLictor(t, lictorConfig{DataDir: t.TempDir(), Rest: consulConfig(&consulAgent{Addr: agent.Addr, Token: who.secret}, "") + rest})
			l.Ready(t)
			serves := func() error {
				if code, body := fetch(t, "http://"+l.Gateway+"/shop/"); code != http.StatusOK {
					return fmt.Errorf("%d %s", code, body)
				}
				return nil
			}
			act := func() {
				if use.do == "write" {
					send(t, http.MethodPut, "http://"+l.Admin+"/groups/g", `{}`)
				}
			}
			// A query that waits has the rights of when it began: something changes now
			// and then.
			changes, changed := 0, time.Now()
			wake := func() {
				if time.Since(changed) < time.Second/2 {
					return
				}
				changes, changed = changes+1, time.Now()
				register(t, agent, "shop", "shop-1", b.Addr, withTags(fmt.Sprint("wakes-", changes)))
				kvPut(t, agent, "lictor/policy/acls/a", fmt.Sprintf(`{"api": "nosuch", "consumers": ["nobody-%d"]}`, changes))
			}
			well := func() error {
				wake()
				act()
				var told []string
				for _, problem := range l.Status(t).Problems {
					if !strings.Contains(problem, "nosuch") && !strings.Contains(problem, "nobody") {
						told = append(told, problem)
					}
				}
				if len(told) > 0 {
					return errors.New(strings.Join(told, "\n"))
				}
				return serves()
			}
			eventually(t, 2*soon, "all is well", well)
			for i, missing := range all {
				before := len(l.Log())
				who.may(t, slices.Delete(slices.Clone(all), i, i+1))
				eventually(t, 5*soon, "a lack of "+missing+" is told", func() error {
					if err := serves(); err != nil {
						t.Fatalf("without %s: %v", missing, err)
					}
					if well() == nil {
						return errors.New("the status says that all is well")
					}
					if log := l.Log()[before:]; !strings.Contains(log, "[ERROR]") && !strings.Contains(log, "[WARN]") {
						return errors.New("the log says nothing")
					}
					return nil
				})
				who.may(t, all)
				eventually(t, 5*soon, "all is well again with "+missing, well)
			}
		})
	}
}

// send sends a body to the admin API.
func send(t *testing.T, method, url, body string) int {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// TestATokenThatIsReplacedCostsNothing: K5. While requests and changes go on the
// token is replaced again and again, in its file and by SIGHUP, and the former one
// is deleted.
func TestATokenThatIsReplacedCostsNothing(t *testing.T) {
	together(t)
	for _, tt := range []struct {
		name string
		file bool
	}{{"in token_file", true}, {"by SIGHUP", false}} {
		t.Run(tt.name, func(t *testing.T) {
			agent := startConsul(t, withACL(rootToken))
			who := newBearer(t, agent, "lictor", rights(t, "the admin API"))
			b := startBackend(t, "one")
			register(t, agent, "shop", "shop-1", b.Addr)
			file := filepath.Join(t.TempDir(), "token")
			config := func(secret string) lictorConfig {
				if !tt.file {
					return lictorConfig{Rest: consulConfig(&consulAgent{Addr: agent.Addr, Token: secret}, "")}
				}
				if err := errors.Join(os.WriteFile(file+".new", []byte(secret+"\n"), 0o600), os.Rename(file+".new", file)); err != nil {
					t.Fatal(err)
				}
				return lictorConfig{Rest: fmt.Sprintf("consul {\n  address = %q\n  token_file = %q\n}\nresolver \"consul\" {\n}\n", agent.Addr, file)}
			}
			token := who.newToken(t)
			l := startLictor(t, config(token.SecretID))
			l.Ready(t)
			load := startTraffic(t, l.Gateway, "/shop/")
			load.answeredSoon(t, soon, "one")
			for i := range 3 {
				next := who.newToken(t)
				cfg := config(next.SecretID)
				if !tt.file {
					l.Configure(t, cfg)
					l.Signal(t, syscall.SIGHUP)
					eventually(t, soon, "it is reloaded", func() error {
						if l.Status(t).Generation != uint64(i+2) {
							return errors.New("not yet")
						}
						return nil
					})
				}
				if _, err := agent.Client.ACL().TokenDelete(token.AccessorID, nil); err != nil {
					t.Fatal(err)
				}
				token = next
				name := fmt.Sprint("new-", i)
				register(t, agent, name, name, b.Addr)
				eventually(t, soon, "a new service is served", func() error {
					if code, body := fetch(t, "http://"+l.Gateway+"/"+name+"/"); code != http.StatusOK {
						return fmt.Errorf("%d %s", code, body)
					}
					return nil
				})
				if code := send(t, http.MethodPut, "http://"+l.Admin+"/groups/"+name, `{}`); code != http.StatusCreated {
					t.Errorf("a change of the policy: %d", code)
				}
			}
			load.lost(t)
			if strings.Contains(l.Log(), "[ERROR]") || strings.Contains(l.Log(), "refuses") {
				t.Errorf("the log tells of trouble:\n%s", l.Log())
			}
			if problems := l.Status(t).Problems; len(problems) > 0 {
				t.Errorf("the status tells of trouble: %q", problems)
			}
		})
	}
}
