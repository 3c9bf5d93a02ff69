package policy

// requestTermination is the plugin request-termination (P5): lictor answers, and
// the service is not asked. It is how an API is closed for a while.
type requestTermination struct{}

// termination is its configuration.
type termination struct {
	status  int
	message string
	page    *Page // nil: the body says the message (X5)
}

// Page is a body that an operator wrote for an answer. It is immutable.
type Page struct {
	ContentType string
	Body        string
}

// maxPage bounds the body of a page: it is in memory once for each plugin, and
// is sent with every request that it answers.
const maxPage = 64 << 10

func (requestTermination) name() string         { return "request-termination" }
func (requestTermination) compare(a, b any) int { return 0 }

func (requestTermination) settings() []Field {
	return []Field{
		{Name: "status_code", Type: TypeWhole, Least: 200, Most: 599, Default: "503", Example: "503", Doc: "status of the answer"},
		{Name: "message", Default: "Service unavailable", Example: "Back at noon", Doc: "what the JSON body says, and clients of gRPC are told"},
		{Name: "body", Example: "<h1>Back at noon</h1>", Doc: "in place of the JSON body, at most 64 KiB"},
		{Name: "content_type", Default: "application/json; charset=utf-8", Example: "text/html; charset=utf-8", Doc: "of body"},
	}
}

func (p requestTermination) compile(config map[string]any, wrong wrongFunc) any {
	given := readSettings(p.settings(), config, wrong)
	c := &termination{status: 503, message: "Service unavailable"}
	if status := given.whole("status_code"); status != 0 {
		c.status = int(status)
	}
	if message := given.text("message"); message != "" {
		c.message = message
	}
	body, contentType := given.text("body"), given.text("content_type")
	switch {
	case len(body) > maxPage:
		wrong("config.body", "has %d bytes, want at most %d", len(body), maxPage)
	case body == "" && contentType != "":
		wrong("config.content_type", "is that of config.body, which is missing")
	case !isFieldValue(contentType):
		wrong("config.content_type", "is no value of a header")
	}
	if body == "" {
		return c
	}
	if contentType == "" {
		contentType = "application/json; charset=utf-8"
	}
	c.page = &Page{ContentType: contentType, Body: body}
	return c
}

// isFieldValue reports whether s can be the value of a header as it is (RFC 9110
// 5.5).
func isFieldValue(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

func (requestTermination) run(d *decision, won, report *livePlugin) bool {
	if report != nil {
		d.wouldDeny("request-termination", ReasonTerminated, report.rule())
	}
	if won == nil {
		return true
	}
	c := won.config.(*termination)
	d.verdict.Page = c.page
	return d.deny("request-termination", refusal{Reason: ReasonTerminated, Status: c.status, Message: c.message, Rule: won.rule()})
}
