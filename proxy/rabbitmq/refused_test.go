package rabbitmq

import (
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Which of several messages a broker means that closed the channel.
func TestCulprit(t *testing.T) {
	key255 := strings.Repeat("k", 255)
	message := func(key string, size int) *call {
		return &call{key: key, msg: amqp.Publishing{Body: make([]byte, size)}}
	}
	const size = "PRECONDITION_FAILED - message size 300 is larger than configured max size 200"
	const topic = "ACCESS_REFUSED - access to topic 'zzz' in exchange 'orders' in vhost '/' refused for user 'guest'"
	tests := []struct {
		name   string
		code   int
		text   string
		calls  []*call
		proven bool
		want   int
		why    cause
		status int
		retry  bool
	}{
		{"the first of its size", 406, size, []*call{message("a", 1), message("b", 300), message("c", 300)}, true, 1, bySize, 413, false},
		{"past the limit, if the size is not there", 406, size, []*call{message("a", 199), message("b", 301)}, true, 1, bySize, 413, false},
		{"the number of the class", 311, "CONTENT_TOO_LARGE", []*call{message("a", 1)}, true, 0, bySize, 413, false},
		{"a size that nobody has", 406, size, []*call{message("a", 1), message("b", 2)}, true, -1, bySize, 413, false},
		{"the key that is named", 403, topic, []*call{message("zz", 0), message("zzzz", 0), message("zzz", 0)}, true, 2, byKey, 503, false},
		{"a key that was cut", 403, "ACCESS_REFUSED - access to topic '" + key255[:217] + "...", []*call{message("a", 0), message(key255, 0)}, true, 1, byKey, 503, false},
		{"an internal exchange", 403, "ACCESS_REFUSED - cannot publish to internal exchange 'i' in vhost '/'", []*call{message("a", 0), message("b", 0)}, false, 0, byExchange, 503, false},
		{"an exchange without rights", 403, "ACCESS_REFUSED - access to exchange 'x' in vhost '/' refused for user 'u'", []*call{message("a", 0)}, true, 0, byExchange, 503, true},
		{"an exchange that is gone, the only one", 404, "NOT_FOUND - no exchange 'x' in vhost '/'", []*call{message("a", 0)}, true, 0, byExchange, 503, true},
		{"an exchange that is gone, some may have been taken", 404, "NOT_FOUND - no exchange 'x' in vhost '/'", []*call{message("a", 0), message("b", 0)}, true, -1, byExchange, 503, true},
		{"something else, the only one", 406, "PRECONDITION_FAILED - invalid expiration", []*call{message("a", 0)}, true, 0, byOther, 503, false},
		{"something else, of several", 541, "INTERNAL_ERROR", []*call{message("a", 0), message("b", 0)}, false, -1, byOther, 503, false},
		{"nobody was under way", 406, size, nil, true, -1, bySize, 413, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			why, failure := causeOf("x", &amqp.Error{Code: tt.code, Reason: tt.text})
			if why != tt.why || failure.Status != tt.status || failure.RetryAfter != tt.retry {
				t.Errorf("got cause %d, %+v", why, failure)
			}
			if got := culprit(why, tt.text, tt.calls, tt.proven); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// What was refused is refused at once for a while, and then tried where it
// costs nobody; what is not its like goes on as ever.
func TestSuspicions(t *testing.T) {
	now := time.Now()
	elsewhere := &call{exchange: "y", msg: amqp.Publishing{Body: make([]byte, 999)}}
	message := func(key string, size int) *call {
		return &call{exchange: "x", key: key, msg: amqp.Publishing{Body: make([]byte, size)}}
	}
	var s suspicions
	want := func(what string, c *call, at time.Time, suspect bool, status int) {
		t.Helper()
		got, failure := s.judge(c, at)
		if got != suspect || (failure == nil) != (status == 0) || failure != nil && failure.Status != status {
			t.Errorf("%s: suspect %v, %v", what, got, failure)
		}
	}
	want("nothing is known", message("a", 1000), now, false, 0)
	if !s.add(bySize, message("a", 300), "message size 300 is larger than configured max size 200") || s.add(bySize, message("a", 300), "size 300 200") {
		t.Error("the first refusal is news, the second is not")
	}
	want("past the limit", message("b", 201), now, true, 413)
	want("just the limit", message("b", 200), now, false, 0)
	want("past it, later", message("b", 201), now.Add(believeRefused+time.Second), true, 0)
	want("another exchange", elsewhere, now, false, 0)
	s.acquit(message("b", 250))
	want("the broker takes it by now", message("b", 250), now, false, 0)

	s.add(byKey, message("z", 1), "access to topic 'z'")
	want("the key", message("z", 1), now, true, 503)
	want("a key that was never seen", message("q", 1), now, true, 0)
	s.acquit(message("q", 1))
	want("a key that was taken", message("q", 1), now, false, 0)
	for i := range 3 * maxRefusedKeys {
		s.add(byKey, message(strings.Repeat("k", i%200)+string(rune('a'+i%26)), 1), "")
	}
	if n := len(s.exchanges["x"].keys); n > maxRefusedKeys {
		t.Errorf("%d keys are remembered", n)
	}
	want("all of it, much later", message("z", 1), now.Add(2*suspectFor), false, 0)
	if s.some.Load() {
		t.Error("something stays")
	}
}

// Channels are shared out so that the link works at all with four of them.
func TestBudget(t *testing.T) {
	for channels, want := range map[int][2]int{1: {1, 0}, 3: {1, 0}, 4: {1, 1}, 5: {1, 2}, 8: {2, 4}, 2047: {8, 2037}} {
		if asking, lanes := budget(channels); asking != want[0] || lanes != want[1] || lanes > 0 && asking+lanes+ownChannels > channels {
			t.Errorf("%d channels: %d ask, %d lanes, want %v", channels, asking, lanes, want)
		}
	}
}

// The same failure reads the same, whatever the broker or the kernel made up.
func TestWithoutRandom(t *testing.T) {
	for _, pair := range [][2]string{
		{"access to queue 'amq.gen-6HV_x-1' in vhost '/' refused", "access to queue 'amq.gen-zzzz' in vhost '/' refused"},
		{"read tcp 127.0.0.1:4711->10.0.0.1:5672: reset", "read tcp 127.0.0.1:4712->10.0.0.1:5672: reset"},
	} {
		if withoutRandom(pair[0]) != withoutRandom(pair[1]) {
			t.Errorf("%q and %q are news", pair[0], pair[1])
		}
	}
	if withoutRandom("connection refused") == withoutRandom("connection reset") {
		t.Error("different failures read the same")
	}
}
