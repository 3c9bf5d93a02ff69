//go:build integration

package integration_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

var updateUI = flag.Bool("update", false, "write the pictures of the pages into docs")

// browser is a Chromium with one page, that notes what its console says.
type browser struct {
	ctx     context.Context
	console lockedBuffer
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("chromium"), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(time.Minute), chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-quic", true))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Minute) // it is ended by a clean-up
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	b := &browser{}
	b.ctx, _ = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(b.ctx); err != nil {
			t.Errorf("chromium does not end: %v", err)
		}
	})
	b.do(t, chromedp.Navigate("about:blank"))
	if _, err := chromedp.Call(b.ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}); err != nil {
		t.Fatal(err)
	}
	messages := chromedp.Console(b.ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return // the browser ended
			}
			fmt.Fprintln(&b.console, m.Type, m.Text)
		}
	}()
	return b
}

func (b *browser) do(t *testing.T, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		t.Fatalf("%v; the console says: %s", err, b.console.String())
	}
}

// get runs an action that has a result.
func get[T any](t *testing.T, b *browser, action chromedp.Action[T]) T {
	t.Helper()
	result, err := chromedp.Run(b.ctx, action)
	if err != nil {
		t.Fatalf("%v; the console says: %s", err, b.console.String())
	}
	return result
}

// open shows a page and returns its text.
func (b *browser) open(t *testing.T, url string) string {
	t.Helper()
	b.do(t, chromedp.Navigate(url))
	return b.text(t)
}

// send presses a button or follows a link, and returns the text of the page that
// comes.
func (b *browser) send(t *testing.T, selector string) string {
	t.Helper()
	if _, err := chromedp.RunResponse(b.ctx, chromedp.Click(selector)); err != nil {
		t.Fatalf("%s: %v", selector, err)
	}
	return b.text(t)
}

func (b *browser) text(t *testing.T) string {
	t.Helper()
	return get(t, b, chromedp.Text("main"))
}

// accessible is what everybody needs of a page, in the words of the guidelines
// (WCAG 2.2). It returns what is missing.
const accessible = `(() => {
  const wrong = [];
  const all = selector => [...document.querySelectorAll(selector)];
  if (!document.documentElement.lang) wrong.push("the page has no language");
  if (!document.title) wrong.push("the page has no title");
  if (all("h1").length !== 1) wrong.push(all("h1").length + " h1");
  for (const landmark of ["header", "main"]) if (all(landmark).length !== 1) wrong.push(all(landmark).length + " " + landmark);
  if (document.documentElement.scrollWidth > innerWidth) wrong.push("the page is wider than the window: " + document.documentElement.scrollWidth);
  let level = 1;
  for (const h of all("h1,h2,h3,h4")) {
    const next = Number(h.tagName[1]);
    if (next > level + 1) wrong.push("a level of headings is left out at " + h.textContent);
    level = next;
  }
  const ids = all("[id]").map(e => e.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push("the id " + id + " stands twice");
  for (const e of all("input:not([type=hidden]),textarea,select")) if (!e.labels.length || !e.labels[0].textContent.trim()) wrong.push("no label: " + e.outerHTML);
  for (const e of all("button,a[href]")) if (!e.textContent.trim()) wrong.push("no text: " + e.outerHTML);
  for (const e of all("[aria-labelledby]")) if (!document.getElementById(e.getAttribute("aria-labelledby"))) wrong.push("labelled by nothing: " + e.tagName);
  for (const e of all("nav,[role=region]")) if (!e.getAttribute("aria-label") && !e.getAttribute("aria-labelledby")) wrong.push("no name: " + e.outerHTML.slice(0, 80));
  for (const e of all("svg")) if (!e.getAttribute("aria-hidden") && !e.getAttribute("aria-label")) wrong.push("an svg without a name");
  for (const e of all("th")) if (!e.scope) wrong.push("a th without scope: " + e.textContent);
  for (const e of all("a[href],button,input:not([type=hidden]),textarea,select,[tabindex='0']")) {
    if (!e.checkVisibility()) continue;
    e.focus({focusVisible: true});
    const style = getComputedStyle(e);
    if (document.activeElement !== e || style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) wrong.push("the focus is not seen at " + e.outerHTML.slice(0, 80));
  }
  const parts = color => color.match(/[\d.]+/g).map(Number);
  const luminance = color => {
    const [r, g, b] = parts(color).map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = e => {
    for (; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor, alpha = parts(color)[3];
      if (alpha === undefined || alpha === 1) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !e.checkVisibility() || e.closest("script")) continue;
    const [a, b] = [luminance(getComputedStyle(e).color), luminance(behind(e))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) wrong.push("contrast " + contrast.toFixed(2) + " of " + walker.currentNode.textContent.trim().slice(0, 40));
  }
  document.activeElement?.blur();
  return wrong;
})()`

// check holds the page that is shown against the guidelines, wide and narrow, light
// and dark.
func (b *browser) check(t *testing.T, name string) {
	t.Helper()
	for _, width := range []int64{1200, 360} {
		for _, scheme := range []string{"light", "dark"} {
			b.look(t, width, scheme)
			wrong := get(t, b, chromedp.Evaluate[[]string](accessible))
			for _, text := range wrong {
				t.Errorf("%s, %s, %d px wide: %s", name, scheme, width, text)
			}
		}
	}
	b.look(t, 1000, "light")
}

// look sets the width of the window, and whether it is light or dark.
func (b *browser) look(t *testing.T, width int64, scheme string) {
	t.Helper()
	b.do(t, chromedp.EmulateViewport(width, 800))
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, media); err != nil {
		t.Fatal(err)
	}
}

// picture writes what is shown into docs, if that is asked for.
func (b *browser) picture(t *testing.T, name string) {
	t.Helper()
	png := get(t, b, chromedp.FullScreenshot(100))
	if len(png) > 112<<10 { // it differs by some KiB with the addresses and ids that are shown
		t.Errorf("the picture %s has %d bytes", name, len(png))
	}
	if *updateUI {
		if err := os.WriteFile("../docs/"+name, png, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// wants fails the test where a text is missing.
func wants(t *testing.T, where, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%s: %q is missing in\n%s", where, word, text)
		}
	}
}

// TestOperatorsSeeItInABrowser: U1 to U5, with Chromium.
func TestOperatorsSeeItInABrowser(t *testing.T) {
	together(t)
	shop := startBackend(t, "shop")
	p := startLictor(t, lictorConfig{
		Admin: "  token = \"a-token-of-operators\"",
		Rest:  "policy {\n  store = \"memory\"\n}\n" + staticConfig("shop", "http://"+shop.Addr),
	})
	p.Ready(t)
	for _, path := range []string{"/shop/", "/nobody/"} {
		resp, err := http.Get("http://" + p.Gateway + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	b := newBrowser(t)
	site := "http://" + p.Admin + "/ui"

	text := b.open(t, site+"/services?q=shop")
	wants(t, "a stranger", text, "Admin token")
	b.check(t, "sign in")
	b.do(t, chromedp.SetValue("#token", "not-the-token"))
	wants(t, "a wrong token", b.send(t, "main button"), "The admin token is wrong.")
	b.do(t, chromedp.SetValue("#token", "a-token-of-operators"))
	wants(t, "signed in", b.send(t, "main button"), "Services", "shop", "1 of 1")
	b.check(t, "services")
	wants(t, "a service", b.send(t, "tbody a"), "As resolver static knows it", shop.Addr, "passing")
	b.check(t, "service")

	b.open(t, site)
	eventually(t, time.Minute, "the chart has the refusal", func() error {
		if text := b.open(t, site); !strings.Contains(text, "unknown_service: 1") {
			return fmt.Errorf("the page says %s", text)
		}
		return nil
	})
	wants(t, "now", b.text(t), "All is well: 1 service, 1 of 1 instance", "The last 15 minutes", "resolver static", "live")
	b.check(t, "now")
	b.picture(t, "ui-now.png")

	b.open(t, site+"/explain")
	b.do(t, chromedp.SetValue("#url", "curl -H 'apikey: SECRET' 'http://a.example/shop/x?SECRET'"))
	text = b.send(t, "main button.main")
	wants(t, "explain", text, "Allowed", "API shop, by segment", "it is the next", "lictor explain -H 'apikey: ...' http://a.example/shop/x")
	page := get(t, b, chromedp.OuterHTML("html"))
	if strings.Contains(page, "SECRET") {
		t.Error("the page shows a secret")
	}
	b.check(t, "explain")
	b.picture(t, "ui-explain.png")
	wants(t, "a link that is passed on", b.send(t, "#share + p a"), "Allowed", "API shop, by segment")

	wants(t, "signed out", b.send(t, "header button"), "Admin token")
	wants(t, "afterwards", b.open(t, site), "Admin token")
	if said := b.console.String(); strings.Contains(said, "Security") || strings.Contains(said, "exception") {
		t.Errorf("the console says %s", said)
	}
}
