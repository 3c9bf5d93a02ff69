package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lictor/integration/port"
)

// process is a program that was started, in a process group of its own.
type process struct {
	name  string
	log   string // file with its output
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
	pids  []int         // of its group, once it is up
}

// start runs a program on the given CPUs. It must be called in the main
// goroutine. The program gets SIGTERM when the bench dies, however it dies.
func (b *bed) start(name string, cpus *unix.CPUSet, program string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(b.dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = b.dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := unix.SchedSetaffinity(0, cpus); err != nil {
		return nil, fmt.Errorf("CPU affinity: %w", err)
	}
	err = cmd.Start()
	unix.SchedSetaffinity(0, b.all) //nolint:errcheck // as it was before
	if err != nil {
		return nil, err
	}
	p := &process{name: name, log: log.Name(), cmd: cmd, ended: make(chan struct{}), pids: []int{cmd.Process.Pid}}
	go func() {
		cmd.Wait() // how it ended is in its output
		close(p.ended)
	}()
	return p, nil
}

// stop ends the process and waits for it.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.ended
	}
}

// said is the process's output.
func (p *process) said() []byte {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return []byte(err.Error())
	}
	return text
}

// until waits until ok returns nil, at most half a minute.
func (p *process) until(ctx context.Context, ok func() error) error {
	limit := time.After(30 * time.Second)
	for {
		err := ok()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ended:
			return fmt.Errorf("%s ended:\n%s", p.name, p.said())
		case <-limit:
			return fmt.Errorf("%s: %w\n%s", p.name, err, p.said())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// answers waits until the process brings the answers of the backend, and notes
// which processes it consists of.
func (p *process) answers(ctx context.Context, address string) error {
	for path, size := range map[string]int64{smallPath: smallSize, bigPath: bigSize} {
		err := p.until(ctx, func() error { return fetch(ctx, "http://"+address+path, accessKey, http.StatusOK, size) })
		if err != nil {
			return err
		}
	}
	return p.findGroup()
}

// fetch wants an answer with that status and, unless size is -1, of size bytes.
func fetch(ctx context.Context, url, key string, status int, size int64) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Close = true
	if key != "" {
		req.Header.Set(keyHeader, key)
		req.Header.Set("Authorization", "Bearer "+accessToken())
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && (resp.StatusCode != status || size >= 0 && n != size) {
		err = fmt.Errorf("%s: %s, %d bytes", url, resp.Status, n)
	}
	return err
}

// findGroup sets pids: nginx has a worker besides its master.
func (p *process) findGroup() error {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return err
	}
	p.pids = nil
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		// pid (name) state ppid pgrp ...: the name may hold anything.
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if len(fields) < 3 || string(fields[2]) != strconv.Itoa(p.cmd.Process.Pid) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return err
		}
		p.pids = append(p.pids, pid)
	}
	if len(p.pids) == 0 {
		return fmt.Errorf("%s: no process left", p.name)
	}
	return nil
}

// cpu is the CPU time, user and system, that all threads of the processes have
// used so far. It is what /proc/PID/stat says, in nanoseconds instead of ticks.
func (p *process) cpu() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range p.pids {
		var ts unix.Timespec
		clock := int32(^pid<<3 | 2) // clock_getcpuclockid(3), CPUCLOCK_SCHED
		if err := unix.ClockGettime(clock, &ts); err != nil {
			return 0, fmt.Errorf("CPU time of %s: %w", p.name, err)
		}
		sum += time.Duration(ts.Nano())
	}
	return sum, nil
}

// memory is the memory of the processes in bytes, shared pages in proportion.
func (p *process) memory() (int64, error) {
	var sum int64
	for _, pid := range p.pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		_, pss, _ := bytes.Cut(text, []byte("\nPss:"))
		var kib int64
		if _, err := fmt.Sscanf(string(pss), "%d kB", &kib); err != nil {
			return 0, fmt.Errorf("PSS of %s: %w", p.name, err)
		}
		sum += kib << 10
	}
	return sum, nil
}

// freeAddress is a loopback address that nobody uses.
func freeAddress() (string, error) {
	ports, err := port.Free(1)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("127.0.0.1:%d", ports[0]), nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// find returns the path of a program, also where Debian keeps servers.
func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		return filepath.Abs(path)
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path, nil
		}
	}
	return "", errors.New(program + " is missing; make bench gets it")
}
