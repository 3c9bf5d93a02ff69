package feed

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"lictor/policy"
)

// Format is how a feed is written.
type Format string

// The formats of feeds.
const (
	Hosts Format = "hosts" // 0.0.0.0 bad.example
	List  Format = "list"  // an entry a line: a host, .host, *.host, an address, a CIDR
	CIDR  Format = "cidr"  // an address or a CIDR a line, with comments behind ; as well
)

// Formats are all formats.
var Formats = []Format{Hosts, List, CIDR}

// BadLine is a line that could not be read.
type BadLine struct {
	Line int    `json:"line"`
	Text string `json:"text"` // what is wrong, and the beginning of the line
}

// read is what came of a feed's text.
type read struct {
	feed *policy.Feed
	good int  // lines with an entry
	told bool // one of them tells more than a word does
	bad  int  // lines that could not be read
	some []BadLine
}

const (
	maxLine   = 4096       // bytes; no entry is that long
	maxShown  = 10         // bad lines that are told
	maxLines  = 40_000_000 // of a feed, so that it ends
	shownText = 80         // characters of a bad line
)

// Reasons not to believe what was read.
var (
	errNoEntries = errors.New("it has no entry, which is not believed")
	errMarkup    = errors.New("it is a page for a browser, not a list")
	errWords     = errors.New("it has single words alone, which is not believed: a page that says what went wrong may be one")
	errTooLong   = fmt.Errorf("it has more than %d lines", maxLines)
)

// parse reads a feed. A bad line does not spoil the others, but a text of which
// more lines are bad than good, or that has no entry at all, is not believed, nor is one
// of single words such as "forbidden", each of which could be a host: it is some page that
// came in place of the feed. An error is one of reading, or says why
// that is so; what was read comes with it, without a feed.
func parse(from io.Reader, format Format, o policy.FeedOptions) (read, error) {
	p := parser{maker: policy.NewFeedMaker(o), format: format}
	lines := bufio.NewReaderSize(from, 64<<10)
	for n := 1; ; n++ {
		line, whole, err := nextLine(lines)
		if err != nil && !errors.Is(err, io.EOF) {
			return p.read, err
		}
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
		}
		if trouble := p.line(n, line, whole); trouble != nil {
			return p.read, trouble
		}
		if err != nil {
			break
		}
	}
	switch {
	case p.bad > p.good:
		return p.read, fmt.Errorf("%d of its %d lines cannot be read (line %d %s)", p.bad, p.bad+p.good, p.some[0].Line, p.some[0].Text)
	case p.good == 0:
		return p.read, errNoEntries
	case !p.told:
		return p.read, errWords
	}
	if p.feed = p.maker.Feed(); p.feed.Entries() == 0 {
		p.feed = nil
		return p.read, errNoEntries
	}
	return p.read, nil
}

// nextLine returns a line without its end, or the beginning of one that is too long.
// err is io.EOF with the last one. The line is valid until the next call.
func nextLine(from *bufio.Reader) (line []byte, whole bool, err error) {
	line, err = from.ReadSlice('\n')
	if len(line) > maxLine || errors.Is(err, bufio.ErrBufferFull) {
		line = bytes.Clone(line[:shownText])
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = from.ReadSlice('\n')
		}
		return line, false, err
	}
	return bytes.TrimRight(line, "\r\n"), true, err
}

type parser struct {
	read
	maker  *policy.FeedMaker
	format Format
}

// line reads one line. An error ends the reading.
func (p *parser) line(n int, text []byte, whole bool) error {
	comments := "#"
	if p.format == CIDR {
		comments = "#;"
	}
	says := text
	if i := bytes.IndexAny(text, comments); i >= 0 {
		says = text[:i]
	}
	says = bytes.TrimSpace(says)
	switch {
	case n > maxLines:
		return errTooLong
	case len(says) == 0:
		return nil
	case says[0] == '<' && p.good == 0:
		return errMarkup
	}
	err := errors.New("is too long")
	if whole {
		err = p.entry(string(says))
	}
	if err == nil {
		p.good++
		return nil
	}
	if p.bad++; len(p.some) < maxShown {
		p.some = append(p.some, BadLine{n, fmt.Sprintf("%q: %.200s", beginning(text), err)})
	}
	return nil
}

func beginning(line []byte) string {
	return strings.ToValidUTF8(string(line[:min(len(line), shownText)]), "\uFFFD")
}

// entry reads what a line says.
func (p *parser) entry(says string) error {
	switch p.format {
	case CIDR:
		return p.added(says, p.maker.AddAddress(says))
	case Hosts:
		return p.hosts(strings.Fields(says))
	}
	return p.added(says, p.maker.Add(says))
}

// added notes whether an entry that was made is more than a word: an address, or a name
// with a dot in it.
func (p *parser) added(text string, err error) error {
	p.told = p.told || err == nil && (strings.Contains(text, ":") || strings.Contains(strings.TrimRight(text, "."), "."))
	return err
}

// hosts reads a line of a hosts file: an address that leads nowhere, and names. The
// names of this machine that such files hold as well are no entries.
func (p *parser) hosts(fields []string) error {
	addr, err := netip.ParseAddr(fields[0])
	switch {
	case err != nil:
		return errors.New("want an address and a name")
	case !slices.Contains(localNames, fields[len(fields)-1]) && !addr.IsUnspecified() && !addr.IsLoopback():
		return fmt.Errorf("the address is %s, want one that leads nowhere: 0.0.0.0, 127.0.0.1, ::", addr)
	case len(fields) == 1:
		return errors.New("want a name behind the address")
	}
	var bad error
	for _, name := range fields[1:] {
		if slices.Contains(localNames, name) {
			continue
		}
		if err := p.added(name, p.maker.AddName(name)); bad == nil {
			bad = err // it does not spoil the other names
		}
	}
	return bad
}

// localNames are names of this machine and its networks.
var localNames = []string{"localhost", "localhost.localdomain", "local", "broadcasthost", "ip6-localhost", "ip6-loopback", "ip6-localnet",
	"ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters", "ip6-allhosts", "0.0.0.0"}
