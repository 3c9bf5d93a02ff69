package listener

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// Notify tells systemd the state of the process (sd_notify(3)): "READY=1",
// "STOPPING=1", "RELOADING=1" ... Nothing happens where systemd does not wait
// for it.
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
	if _, err := c.Write([]byte(state)); err != nil {
		return fmt.Errorf("sd_notify: %w", err)
	}
	return nil
}

// Watchdog tells systemd at half of WATCHDOG_USEC that the process lives, for
// as long as alive says so, until ctx ends. Where no watchdog is asked for
// it only waits.
func Watchdog(ctx context.Context, alive func() bool) error {
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	pid := os.Getenv("WATCHDOG_PID")
	if err != nil || usec <= 0 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(time.Duration(usec) * time.Microsecond / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !alive() {
			continue
		}
		if err := Notify("WATCHDOG=1"); err != nil {
			return err
		}
	}
}
