package socket

import (
	"container/heap"
	"math"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lictor/internal/crash"
	"lictor/internal/monotonic"
)

// lot is where connections wait on which nothing happened for a while. None of them
// has a goroutine meanwhile, which takes 2,500 bytes at least: an epoll descriptor
// knows them all, which is itself watched by the runtime's poller, and each goes on
// in a new goroutine once it may. There is one for the process, as there is one poller.
//
// A wait ends when what was waited for comes, or with the read deadline of the
// connection; the read that follows tells which of them it was. Whoever moves the
// deadline of a connection of another goroutine has to call hurry, and who closes it
// does so by close.
type lot struct {
	mu       sync.Mutex // guards what follows
	poller   *os.File   // of the epoll descriptor; nil until it is needed
	rc       syscall.RawConn
	seats    map[int32]*seat // by descriptor
	due      dues
	deadline int64 // of poller: that of due[0], as it was when it was last set
	watched  bool  // watch runs, as it does while there are seats

	// Of watch only.
	events [128]unix.EpollEvent
	came   int
}

// seat is one connection's wait.
type seat struct {
	fd     int32
	at     int32 // in due
	until  int64 // monotonic
	wg     *sync.WaitGroup
	resume func()
}

var parked lot

// place is where a panic is counted that comes while connections wait.
const place = "http1 connection"

// Park has resume called, in a goroutine that wg counts, once something comes on the
// socket that nc runs on, or at the time by, when its read deadline passes; the zero by
// is never. Meanwhile there is no goroutine. It is for a connection of which a read
// just found nothing: what TLS holds of a record is not seen. wg counts the wait too.
// It reports false, and does nothing, if nc cannot be waited for in this way, or its
// deadline has passed. resume begins with a deferred crash.Contain.
func Park(nc net.Conn, by time.Time, wg *sync.WaitGroup, resume func()) bool {
	until := int64(0)
	if !by.IsZero() {
		until = monotonic.Of(by)
	}
	return parked.park(nc, anything, until, wg, resume)
}

// Park is [Park] for s, by the deadline that ReadBy set.
func (s *Socket) Park(wg *sync.WaitGroup, resume func()) bool {
	return parked.park(s.Conn, anything, s.deadline, wg, resume)
}

// ParkForEnd is [Park] for s, however long it takes, until the peer closes its side:
// bytes that come meanwhile stay unread.
func (s *Socket) ParkForEnd(wg *sync.WaitGroup, resume func()) bool {
	return parked.park(s.Conn, unix.EPOLLRDHUP, 0, wg, resume)
}

// anything is whatever may be read of a socket, its end included.
const anything = unix.EPOLLIN | unix.EPOLLRDHUP

// Parked is how many connections wait that wg counts; with nil, how many wait at all.
func Parked(wg *sync.WaitGroup) (n int) {
	parked.mu.Lock()
	defer parked.mu.Unlock()
	for _, s := range parked.seats {
		if wg == nil || s.wg == wg {
			n++
		}
	}
	return n
}

// park is [Park] until a moment, 0 for never, and for some events only.
func (l *lot) park(nc net.Conn, events uint32, until int64, wg *sync.WaitGroup, resume func()) bool {
	tcp := socketOf(nc)
	if tcp == nil {
		return false
	}
	rc, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	if until == 0 {
		until = math.MaxInt64
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.poller == nil && !l.open() {
		return false
	}
	s := &seat{until: until, wg: wg, resume: resume}
	entered := false
	// A deadline that has passed is an error of Read. One that passes later is told
	// by hurry, which waits for mu.
	err = rc.Read(func(fd uintptr) bool {
		s.fd = int32(fd)
		entered = l.arm(s.fd, events|unix.EPOLLONESHOT) == nil
		return true
	})
	if err != nil || !entered {
		return false
	}
	if closed := l.seats[s.fd]; closed != nil {
		l.rise(closed)
	}
	wg.Add(1)
	l.seats[s.fd] = s
	heap.Push(&l.due, s)
	l.watchBy()
	return true
}

// open makes the poller.
func (l *lot) open() bool {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	_ = unix.SetNonblock(fd, true) // so that NewFile has the runtime poll it
	f := os.NewFile(uintptr(fd), "epoll")
	if l.rc, err = f.SyscallConn(); err != nil || f.SetReadDeadline(time.Time{}) != nil {
		f.Close()
		return false
	}
	l.poller, l.seats = f, make(map[int32]*seat)
	return true
}

// arm has the poller tell once of events on a socket, which it may know.
func (l *lot) arm(fd int32, events uint32) (err error) {
	e := unix.EpollEvent{Events: events, Fd: fd}
	if cerr := l.rc.Control(func(ep uintptr) {
		if err = unix.EpollCtl(int(ep), unix.EPOLL_CTL_MOD, int(fd), &e); err == unix.ENOENT {
			err = unix.EpollCtl(int(ep), unix.EPOLL_CTL_ADD, int(fd), &e) // it waits for the first time
		}
	}); cerr != nil {
		return cerr
	}
	return err
}

// watchBy has watch run, and wake at the first deadline. mu must be held.
func (l *lot) watchBy() {
	if until := l.due[0].until; until != l.deadline {
		l.deadline = until
		at := time.Time{}
		if until != math.MaxInt64 {
			at = monotonic.Time(until)
		}
		_ = l.poller.SetReadDeadline(at) // open found that it has deadlines
	}
	if !l.watched {
		l.watched = true
		crash.Go(place, l.watch, l.evacuate)
	}
}

// hurry ends the wait of nc at once, if it waits.
func (l *lot) hurry(nc net.Conn) {
	tcp := socketOf(nc)
	if tcp == nil {
		return
	}
	rc, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end(rc)
}

// close closes tcp, and ends its wait, if it waits. Nothing can begin to wait between
// the two: nobody would end that any more, for the poller forgets what is closed.
func (l *lot) close(tcp *net.TCPConn) {
	rc, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end(rc)
	_ = tcp.Close() // it is over either way
}

// end has the wait of a socket end next, if it is open and waits. mu must be held.
func (l *lot) end(rc syscall.RawConn) {
	_ = rc.Control(func(fd uintptr) {
		if s := l.seats[int32(fd)]; s != nil {
			l.rise(s)
			l.watchBy()
		}
	})
}

// rise has a wait end next. mu must be held.
func (l *lot) rise(s *seat) {
	s.until = 0
	heap.Fix(&l.due, int(s.at))
}

// watch ends waits until nobody waits.
func (l *lot) watch() {
	for {
		l.came = 0
		_ = l.rc.Read(l.ask) // or somebody's time is over
		if !l.free() {
			return
		}
	}
}

// ask asks without waiting; what was told once has to be waited for anew. After an
// error it does not wait either: what came before may not be told again.
func (l *lot) ask(ep uintptr) bool {
	n, err := unix.EpollWait(int(ep), l.events[:], 0)
	l.came = max(n, 0)
	return l.came > 0 || err != nil
}

// free ends the waits for which something came, or whose time is over. It reports
// whether there are others.
func (l *lot) free() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events[:l.came] {
		if s := l.seats[e.Fd]; s != nil {
			l.leave(s)
		}
	}
	for now := monotonic.Now(); len(l.due) > 0 && l.due[0].until <= now; {
		l.leave(l.due[0])
	}
	if l.watched = len(l.due) > 0; l.watched {
		l.watchBy()
	}
	return l.watched
}

// leave ends a wait. mu must be held.
func (l *lot) leave(s *seat) {
	heap.Remove(&l.due, int(s.at))
	if l.seats[s.fd] == s {
		delete(l.seats, s.fd)
	}
	go func() {
		defer crash.Contain(place, nil)
		defer s.wg.Done()
		s.resume()
	}()
}

// evacuate ends all waits after a panic, so that none is forgotten.
func (l *lot) evacuate() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.due) > 0 {
		l.leave(l.due[0])
	}
	l.watched = false
}

// dues are waits, the one that ends first at the front.
type dues []*seat

func (d dues) Len() int           { return len(d) }
func (d dues) Less(i, j int) bool { return d[i].until < d[j].until }

func (d dues) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].at, d[j].at = int32(i), int32(j)
}

// Push implements heap.Interface.
func (d *dues) Push(s any) {
	s.(*seat).at = int32(len(*d))
	*d = append(*d, s.(*seat))
}

// Pop implements heap.Interface.
func (d *dues) Pop() any {
	n := len(*d) - 1
	s := (*d)[n]
	(*d)[n] = nil
	*d = (*d)[:n]
	return s
}
