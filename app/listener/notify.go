package listener

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// notifyPatience is how long systemd may leave no room for what it is told.
const notifyPatience = time.Second

// Notify tells systemd the state of the process (sd_notify(3)): "READY=1",
// "STOPPING=1", "RELOADING=1" ... Nothing happens where systemd does not wait
// for it. It blocks for a second at most.
func Notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] == '@' {
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("sd_notify: %w", err)
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(notifyPatience)); err != nil {
		return fmt.Errorf("sd_notify: %w", err)
	}
	if _, err := c.Write([]byte(state)); err != nil {
		return fmt.Errorf("sd_notify: %w", err)
	}
	return nil
}

// Watchdog has systemd told by tell, at half of WATCHDOG_USEC, that the process lives, for
// as long as alive says so, until ctx ends. Where no watchdog is asked for
// it only waits. That systemd could not be told once is no reason to stop: it is told again
// before its patience is over.
func Watchdog(ctx context.Context, alive func() bool, tell func(state string)) {
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	pid := os.Getenv("WATCHDOG_PID")
	if err != nil || usec <= 0 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(time.Duration(usec) * time.Microsecond / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if alive() {
			tell("WATCHDOG=1")
		}
	}
}
