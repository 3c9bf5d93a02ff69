package ui

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"lictor/admin/api"
)

// nowPage is what the first page shows.
type nowPage struct {
	Health  string // one sentence
	Well    bool
	Status  *api.Status
	Trouble []trouble // the first of them
	More    int       // troubles that are not shown
	Charts  []*chart
	Agree   string  // whether the policies of all lictors do
	Uptime  float64 // seconds
}

// trouble is something that an operator should look at.
type trouble struct {
	Text   string
	Advice string
	Link   string // to what it is about; "" = to nothing
}

// maxTroubles bounds what the first page shows of them.
const maxTroubles = 50

func (u *UI) now(w http.ResponseWriter, r *http.Request) error {
	st := u.cfg.Status()
	steps := u.history.steps()
	data := nowPage{Status: st, Uptime: float64(st.UptimeSeconds), Trouble: troubles(st, u.cfg.Prefix)}
	data.Health, data.Well = health(st, len(data.Trouble))
	if n := len(data.Trouble); n > maxTroubles {
		data.Trouble, data.More = data.Trouble[:maxTroubles], n-maxTroubles
	}
	data.Charts = []*chart{
		newChart("Requests by status class", steps, answered, []string{"2xx", "3xx", "4xx", "5xx", "1xx", "none"}),
		newChart("Refusals by reason", steps, refusals, nil),
	}
	data.Agree = agreement(st.Lictors)
	return u.show(w, r, http.StatusOK, "now", "/ui", "Now", data)
}

// agreement says in a sentence whether the lictors decide alike.
func agreement(all *api.LictorsStatus) string {
	if all == nil {
		return ""
	}
	differ, silent := 0, 0
	for i := range all.Live {
		switch l := &all.Live[i]; {
		case l.Differs != nil:
			differ++
		case l.Policy == "":
			silent++
		}
	}
	switch {
	case differ > 0:
		return count(differ, "lictor") + " with another policy than this one."
	case silent > 0:
		return "Those that tell have the same policy."
	case len(all.Live) > 1:
		return "All have the same policy."
	}
	return ""
}

// health says in a sentence how things are.
func health(st *api.Status, troubles int) (text string, well bool) {
	usable, instances := 0, 0
	for i := range st.Services {
		for _, one := range st.Services[i].Instances {
			instances++
			if serves(&one) {
				usable++
			}
		}
	}
	switch {
	case !st.Ready:
		return "Not ready: " + strings.Join(st.NotReady, "; ") + ".", false
	case troubles > 0:
		return fmt.Sprintf("Serving, and %s to look at.", count(troubles, "thing")), false
	}
	return fmt.Sprintf("All is well: %s, %d of %s usable.", count(len(st.Services), "service"), usable, count(instances, "instance")), true
}

// serves reports whether new requests go to an instance.
func serves(i *api.InstanceStatus) bool {
	return i.Weight > 0 && (i.State == "passing" || i.State == "warning" || i.State == "last_resort")
}

// troubles are the services that nobody serves, and what the status tells.
func troubles(st *api.Status, prefix string) (all []trouble) {
	for i := range st.Services {
		s := &st.Services[i]
		if s.Loaded && !s.Usable && len(s.Instances) > 0 {
			all = append(all, trouble{
				Text:   fmt.Sprintf("service %s: none of its %s can serve, requests get 503", s.Name, count(len(s.Instances), "instance")),
				Advice: "Its page says what each check found.", Link: serviceLink(s.Name),
			})
		}
	}
	for _, text := range st.Problems {
		t := trouble{Text: text}
		t.Advice, t.Link = advise(text, prefix)
		all = append(all, t)
	}
	return all
}

// advise says what to do about a problem, and where it is told of.
func advise(problem, prefix string) (advice, link string) {
	where, rest, _ := strings.Cut(problem, ": ")
	kind, name, _ := strings.Cut(where, " ")
	switch {
	case kind == "service" && name != "":
		return "Look at the metadata and checks that the service is registered with.", serviceLink(name)
	case kind == "resolver":
		return "See whether the registry can be reached from here, and whether its token still has the rights; what was known serves on.", ""
	case strings.Contains(problem, "kept in memory"):
		return "Set policy { store }, so that the policy outlives the process.", ""
	case where == "policy":
		key, _, _ := strings.Cut(rest, ": ")
		key, _, _ = strings.Cut(key, " ")
		return "Repair the object or delete it; until then what it guards may be closed.", objectLink(key, prefix)
	case where == "lictors":
		return "See on its own page Now how fresh its policy is, and whether it rejects an object: until then the same request may get two answers.", "/ui#others"
	case where == "consul":
		return "See whether Consul answers, and compare the rights of the token with docs/consul.md.", ""
	case kind == "dispatch":
		return "See whether the broker answers, and whether its user may do what docs/bus.md names.", ""
	case strings.Contains(problem, "needs a restart"):
		return "Restart lictor when it suits; the options named keep their former values until then.", ""
	case strings.Contains(problem, "was not reloaded"):
		return "Mend the configuration (lictor validate names all mistakes) and send SIGHUP again.", ""
	}
	return "", ""
}

func serviceLink(name string) string { return "/ui/services/" + url.PathEscape(name) }
