package replay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"time"
	"unsafe"

	"lictor/policy"
)

// Options say what is replayed.
type Options struct {
	Next     *Policy           // that the records are tried on
	Former   *Policy           // that they are tried on as well; nil: what was decided is in the log
	Since    time.Time         // of older records nothing is said; zero = all
	Progress func(bytes int64) // is told now and then how much was read, by one goroutine; nil = nobody is
	Workers  int               // goroutines; 0 = one a processor
}

// policies are those that the records are tried on.
func (o *Options) policies() []*Policy {
	if o.Former == nil {
		return []*Policy{o.Next}
	}
	return []*Policy{o.Next, o.Former}
}

const (
	chunkSize = 1 << 20
	maxLine   = 64 << 10 // what is longer is no record
)

// chunk is some lines with what they rest on.
type chunk struct {
	lines []byte
	head  *Head
	left  Left
}

// Run replays all records of a log, which is read to its end or until ctx ends: then
// the report says that it is a part. An error is one of reading.
func Run(ctx context.Context, log io.Reader, o *Options) (*Report, error) {
	workers := o.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	rules := o.Next.changed(o.Former)
	total := newTally(rules)
	chunks := make(chan chunk, workers)
	var wg sync.WaitGroup
	var mu sync.Mutex // guards total
	for range workers {
		wg.Go(func() {
			w := newWorker(o, rules)
			for c := range chunks {
				w.chunk(&c)
			}
			mu.Lock()
			defer mu.Unlock()
			total.merge(w.tally)
		})
	}
	partial, err := split(ctx, log, o, chunks)
	close(chunks)
	wg.Wait()
	r := total.done(len(rules))
	r.Partial = partial
	return r, err
}

// split parts the log into chunks of whole lines under one head.
func split(ctx context.Context, log io.Reader, o *Options, to chan<- chunk) (partial bool, err error) {
	var head *Head
	var rest []byte
	var read int64
	for {
		if ctx.Err() != nil {
			return true, nil
		}
		buf := make([]byte, len(rest)+chunkSize)
		n := copy(buf, rest)
		m, err := io.ReadFull(log, buf[n:])
		read += int64(m)
		buf = buf[:n+m]
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return false, err
		}
		end := bytes.LastIndexByte(buf, '\n') + 1
		if last || end == 0 && len(buf) > maxLine {
			end = len(buf)
		}
		rest = buf[end:]
		head = send(buf[:end], head, to)
		if o.Progress != nil {
			o.Progress(read)
		}
		if last {
			return false, nil
		}
	}
}

var headMark = []byte(`"kind":"head"`)

// send hands on lines, those behind a head by themselves, and returns the last head.
func send(lines []byte, head *Head, to chan<- chunk) *Head {
	for len(lines) > 0 {
		i := bytes.Index(lines, headMark)
		if i < 0 {
			break
		}
		from := bytes.LastIndexByte(lines[:i], '\n') + 1
		line, after := lines[from:], []byte(nil)
		if end := bytes.IndexByte(line, '\n'); end >= 0 {
			line, after = line[:end], line[end+1:]
		}
		next, err := ParseHead(line)
		c := chunk{lines: lines[:from], head: head}
		switch {
		case errors.Is(err, ErrVersion):
			c.left.Versions++
		case err != nil:
			c.left.Garbage++
		default:
			head = next
		}
		to <- c
		lines = after
	}
	if len(lines) > 0 {
		to <- chunk{lines: lines, head: head}
	}
	return head
}

// worker replays chunks. It belongs to one goroutine.
type worker struct {
	options *Options
	compare *comparer
	tally   *tally
	record  Record
	expires bool // a key of some policy runs out, so that time counts

	seen     map[string]memo // by what of a line decides
	seenHead *Head           // that seen is of
}

// memo is what was said of a line that differs in time and id alone.
type memo struct {
	class Class
	group *Group
}

// maxSeen bounds what is remembered.
const maxSeen = 1 << 14

func newWorker(o *Options, rules []policy.Rule) *worker {
	w := &worker{options: o, compare: newComparer(o.Next, o.Former), tally: newTally(rules, o.policies()...), seen: make(map[string]memo)}
	w.expires = o.Next.expires() || o.Former != nil && o.Former.expires()
	return w
}

// expires reports whether a key runs out.
func (p *Policy) expires() bool {
	for _, c := range p.known {
		if !c.NotAfter.IsZero() {
			return true
		}
	}
	return false
}

func (w *worker) chunk(c *chunk) {
	w.tally.report.Left.Garbage += c.left.Garbage
	w.tally.report.Left.Versions += c.left.Versions
	if c.head != w.seenHead {
		clear(w.seen)
		w.seenHead = c.head
	}
	text := unsafe.String(unsafe.SliceData(c.lines), len(c.lines)) // nobody writes to it any more
	for len(text) > 0 {
		line := text
		if i := strings.IndexByte(text, '\n'); i >= 0 {
			line, text = text[:i], text[i+1:]
		} else {
			text = ""
		}
		if strings.TrimSpace(line) != "" {
			w.line(line, c.head)
		}
	}
}

// what begins a line as lictor writes it.
const (
	lineBegin = `{"v":1,"time":"`
	lineTime  = len("2006-01-02T15:04:05.000000Z")
	lineID    = `","id":"`
)

// decisive is what of a line decides, and its time; "" if the line is not as lictor
// writes it.
func decisive(line string) (what string, at time.Time) {
	n := len(lineBegin) + lineTime
	if len(line) < n+len(lineID) || line[:len(lineBegin)] != lineBegin || line[n:n+len(lineID)] != lineID {
		return "", at
	}
	rest := line[n+len(lineID):]
	i := strings.IndexByte(rest, '"')
	if i < 0 {
		return "", at
	}
	s := scanner{text: line[len(lineBegin)-1 : n+1]}
	if at = s.time(); s.bad {
		return "", at
	}
	return rest[i:], at
}

func (w *worker) line(line string, head *Head) {
	what, at := decisive(line)
	if what != "" {
		if at.Before(w.options.Since) {
			return
		}
		if m, ok := w.seen[what]; ok {
			w.tally.count(m.class, m.group, at)
			return
		}
	}
	r := &w.record
	switch err := Parse(line, r); {
	case errors.Is(err, ErrVersion):
		w.tally.report.Left.Versions++
		return
	case err != nil:
		w.tally.report.Left.Garbage++
		return
	case r.Time.Before(w.options.Since):
		return
	}
	w.tally.report.Sampled = w.tally.report.Sampled || r.Sample > 0 && r.Sample < 1
	m := w.say(r, head)
	w.tally.count(m.class, m.group, r.Time)
	if what != "" && len(w.seen) < maxSeen && !(w.expires && r.KeySum != "") {
		w.seen[strings.Clone(what)] = m
	}
}

// say says what becomes of a record.
func (w *worker) say(r *Record, head *Head) (m memo) {
	v := w.compare.compare(r, head)
	if len(w.tally.wanted) > 0 {
		w.listen(r, head)
	}
	m.class = v.class
	if v.class != Same {
		removed := v.class == Opens && !w.options.Next.has(v.rule.Key)
		m.group = w.tally.group(&v, r, w.nameOf(r), removed)
	}
	return m
}

// listen notes the rules that had a say. Which of them let the request pass costs a
// second decision, with the steps: only where such a rule is wanted.
func (w *worker) listen(r *Record, head *Head) {
	steps := false
	for _, e := range w.compare.both() {
		for _, rule := range e.spoken {
			w.tally.spoke(rule.Key, rule.Entry)
		}
		w.tally.spoke(e.routed.Key, e.routed.Entry)
		steps = steps || w.tally.wantsSteps(e.policy, e.api)
	}
	if !steps {
		return
	}
	for _, e := range w.compare.both() {
		e.rec = &policy.Recorder{}
	}
	w.compare.compare(r, head)
	for _, e := range w.compare.both() {
		for i := range e.rec.Steps {
			if by := e.rec.Steps[i].Rule; by != nil {
				by := e.policy.plain(*by)
				w.tally.spoke(by.Key, by.Entry)
			}
		}
		for _, p := range e.rec.Plugins {
			by := e.policy.plain(p.Rule)
			w.tally.spoke(by.Key, by.Entry)
		}
		e.rec = nil
	}
}

// nameOf is what people call the consumer of a record: of one that was refused before
// that was asked, whose key it showed.
func (w *worker) nameOf(r *Record) string {
	name := "anonymous"
	for _, p := range w.options.policies() {
		ref := r.Consumer
		if ref == "" && r.KeySum != "" {
			ref = p.known[p.keys[r.KeySum]].Consumer
		}
		if ref == "" {
			continue
		}
		if who := p.sets[0].Consumer(ref); who != nil {
			return who.Name
		}
		name = ref
	}
	return name
}
