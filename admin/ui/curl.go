package ui

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"lictor/admin/api"
)

// parseCurl reads a command line of curl, as people have it in a shell and browsers
// copy it, and returns the request that it would make, as far as a decision looks
// at it.
func parseCurl(text string) (*api.Question, error) {
	words, err := shellWords(text)
	if err != nil {
		return nil, err
	}
	c := curl{q: &api.Question{Headers: api.Headers{}}}
	for c.rest = words[min(1, len(words)):]; len(c.rest) > 0; {
		word := c.rest[0]
		c.rest = c.rest[1:]
		if err := c.word(word); err != nil {
			return nil, err
		}
	}
	if c.q.URL == "" {
		return nil, errors.New("the curl line has no URL")
	}
	return c.done(), nil
}

// curl is a command line as it is read.
type curl struct {
	q    *api.Question
	rest []string // words that are not read yet
	body int      // bytes; with sends
	send bool     // there is a body
	head bool
}

// Options of curl with an argument that no decision looks at, and those without.
const (
	curlArguments = " -o --output -m --max-time --connect-timeout --retry --retry-delay --cacert --capath --cert -E --key --resolve --connect-to -w --write-out -c --cookie-jar --limit-rate --interface --tls-max --ciphers --noproxy -T --upload-file "
	curlFlags     = " --silent --show-error --insecure --include --verbose --location --compressed --globoff --fail --http1.0 --http1.1 --http2 --http2-prior-knowledge --no-buffer --ipv4 --ipv6 --path-as-is --no-keepalive --tlsv1.2 --tlsv1.3 --fail-with-body --remote-name "
	curlLetters   = "skivLgf0NO46SJ#12"
)

// word reads an option with its argument, or the URL.
func (c *curl) word(word string) error {
	switch {
	case !strings.HasPrefix(word, "-") || word == "-":
		return c.url(word)
	case strings.HasPrefix(word, "--"):
		name, value, joined := strings.Cut(word, "=")
		if strings.Contains(curlFlags, " "+name+" ") {
			return nil
		}
		if joined {
			c.rest = append([]string{value}, c.rest...)
		}
		return c.option(name)
	}
	for i := 1; i < len(word); i++ {
		letter, after := word[i], word[i+1:]
		switch {
		case letter == 'I':
			c.head = true
		case letter == 'G':
			return errors.New("-G of curl is not understood here; put the arguments into the URL")
		case strings.IndexByte(curlLetters, letter) >= 0:
		default:
			if after != "" {
				c.rest = append([]string{after}, c.rest...)
			}
			return c.option("-" + word[i:i+1])
		}
	}
	return nil
}

// option reads the argument of an option that has one.
func (c *curl) option(name string) error {
	if name == "--head" {
		c.head = true
		return nil
	}
	if len(c.rest) == 0 {
		return fmt.Errorf("%s of curl has no argument, or is not understood here", name)
	}
	value := c.rest[0]
	c.rest = c.rest[1:]
	switch name {
	case "-X", "--request":
		c.q.Method = value
	case "-H", "--header":
		field, text, ok := strings.Cut(value, ":")
		if ok && strings.TrimSpace(text) != "" {
			c.field(field, strings.TrimSpace(text))
		}
	case "-A", "--user-agent":
		c.field("User-Agent", value)
	case "-e", "--referer":
		c.field("Referer", value)
	case "-b", "--cookie":
		c.field("Cookie", value)
	case "-u", "--user":
		c.field("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(value)))
	case "--oauth2-bearer":
		c.field("Authorization", "Bearer "+value)
	case "-d", "--data", "--data-raw", "--data-binary", "--data-ascii", "--data-urlencode", "--json":
		c.data(name, value)
	case "-x", "--proxy":
		c.q.Egress = true
	case "--url":
		return c.url(value)
	default:
		if !strings.Contains(curlArguments, " "+name+" ") {
			return fmt.Errorf("the option %s of curl is not understood here; leave it out if it does not matter", name)
		}
	}
	return nil
}

func (c *curl) url(text string) error {
	if c.q.URL != "" {
		return errors.New("the curl line has more than one URL")
	}
	if !strings.Contains(text, "://") && !strings.HasPrefix(text, "/") {
		text = "http://" + text
	}
	c.q.URL = text
	return nil
}

func (c *curl) data(option, value string) {
	if c.send {
		c.body++ // the & between
	}
	c.send, c.body = true, c.body+len(value)
	kind := "application/x-www-form-urlencoded"
	if option == "--json" {
		kind = "application/json"
	}
	if !c.has("Content-Type") {
		c.field("Content-Type", kind)
	}
}

func (c *curl) has(field string) bool {
	for name := range c.q.Headers {
		if strings.EqualFold(name, field) {
			return true
		}
	}
	return false
}

func (c *curl) field(name, value string) { c.q.Headers[name] = append(c.q.Headers[name], value) }

// done returns the question, with what curl adds by itself.
func (c *curl) done() *api.Question {
	switch {
	case c.q.Method != "":
	case c.head:
		c.q.Method = http.MethodHead
	case c.send:
		c.q.Method = http.MethodPost
	}
	if c.send && !c.has("Content-Length") {
		c.field("Content-Length", fmt.Sprint(c.body))
	}
	return c.q
}
