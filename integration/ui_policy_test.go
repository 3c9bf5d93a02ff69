//go:build integration

package integration_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestOperatorsEditThePolicyInABrowser: U6, on a lictor without a token, whose pages
// are open to this machine.
func TestOperatorsEditThePolicyInABrowser(t *testing.T) {
	together(t)
	shop := startBackend(t, "shop")
	p := startLictor(t, lictorConfig{Rest: "policy {\n  store = \"memory\"\n}\n" + staticConfig("shop", "http://"+shop.Addr)})
	p.Ready(t)
	p.ask(t, "POST", "/consumers", "name=bob")
	p.ask(t, "POST", "/consumers/bob/key-auth", "key=a-key-of-bobs-own")
	p.ask(t, "PUT", "/blacklist/outside", `{"entries":["evil.example"],"direction":"egress"}`)
	b := newBrowser(t)
	site := "http://" + p.Admin + "/ui"

	wants(t, "policy", b.open(t, site+"/policy?q=evil"), "1 object with", "blacklist/outside", "in force")
	b.check(t, "policy")
	wants(t, "an object", b.send(t, "tbody a"), "in force", "evil.example")
	b.check(t, "object")
	b.send(t, "main p a + a")
	b.check(t, "edit")
	document := get(t, b, chromedp.Value("#document"))
	edited := strings.Replace(document, "evil.example", "worse.example", 1)
	b.do(t, chromedp.SetValue("#document", strings.Replace(edited, "egress", "nowhere", 1)))
	wants(t, "a mistake", b.send(t, "button[value=check]"), "direction")
	b.do(t, chromedp.SetValue("#document", edited))
	text := b.send(t, "button[value=check]")
	wants(t, "a check", text, `-     "evil.example"`, `+     "worse.example"`, "Write it")
	b.check(t, "checked")

	p.ask(t, "PATCH", "/blacklist/outside", `{"entries":["other.example"]}`)
	text = b.send(t, "button[value=write]")
	wants(t, "a conflict", text, "Somebody has changed the object", `-     "other.example"`, `+     "worse.example"`)
	b.check(t, "conflict")
	if stored := p.ask(t, "GET", "/blacklist/outside", "").text; !strings.Contains(stored, "other.example") {
		t.Errorf("the other's change is lost: %s", stored)
	}
	b.send(t, "button[value=check]")
	wants(t, "written", b.send(t, "button[value=write]"), "in force", "worse.example")
	if stored := p.ask(t, "GET", "/blacklist/outside", "").text; !strings.Contains(stored, "worse.example") {
		t.Errorf("it is not written: %s", stored)
	}

	wants(t, "live", b.open(t, site+"/live?q=refused"), "None.")
	b.check(t, "live")
	resp, err := http.Get("http://" + p.Gateway + "/nobody/is-refused?key=SECRET")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	eventually(t, soon, "the page shows it by itself", func() error {
		if text = b.text(t); !strings.Contains(text, "503 unknown_service") {
			return errors.New(text)
		}
		return nil
	})
	if strings.Contains(text, "SECRET") {
		t.Errorf("the query is shown: %s", text)
	}
	wants(t, "why", b.send(t, "#live tbody a"), "503 unknown_service", "/nobody/is-refused")

	wants(t, "consumers", b.open(t, site+"/consumers"), "bob", "valid, not used, made 20")
	b.check(t, "consumers")
	wants(t, "certificates", b.open(t, site+"/certificates"), "No listener has a certificate")
	b.check(t, "certificates")
	wants(t, "egress", b.open(t, site+"/egress"), "There is no egress", "worse.example", "denies")
	b.check(t, "egress")
	if said := b.console.String(); strings.Contains(said, "Security") || strings.Contains(said, "exception") {
		t.Errorf("the console says %s", said)
	}
}
