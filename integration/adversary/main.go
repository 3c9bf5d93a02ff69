// Command adversary attacks a lictor for a while and tells whether it held:
// hostile clients over HTTP/1.1 and HTTP/2, plain and TLS, hostile backends and
// a Consul that lies, all at once, against the built binary. Beside the storm a
// calm client works, whose requests must all succeed.
//
// The budgets: the process lives, its resident memory stays below -memory, its
// admin listener answers within -admin, the calm client loses nothing, no
// answer goes to another request, and after the storm goroutines, descriptors
// and memory are back where they were.
//
// All traffic stays on the loopback interface and ends by itself after -t. The
// same -seed makes the same choices, though not the same timing.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are what the command line chooses.
type options struct {
	lictor string        // the program under attack
	span   time.Duration // of the storm; start and recovery come on top
	memory int           // MiB that the program may hold
	admin  time.Duration // that its admin listener may take to answer
	seed   uint64
	corpus string // directory of hostile HTTP/1.1 messages; "" = the built-in ones alone
	only   string // name of the one attack to run; "" = all
}

func main() {
	var o options
	flag.StringVar(&o.lictor, "lictor", "bin/lictor", "`path` of the program under attack")
	flag.DurationVar(&o.span, "t", time.Minute, "how long the storm lasts")
	flag.IntVar(&o.memory, "memory", 256, "`MiB` that the program may hold")
	flag.DurationVar(&o.admin, "admin", time.Second, "how long the admin listener may take to answer")
	flag.Uint64Var(&o.seed, "seed", 0, "of the choices; 0 = a random one, which is printed")
	flag.StringVar(&o.corpus, "corpus", "../shared/corpus", "`directory` of hostile HTTP/1.1 messages, if there is one")
	flag.StringVar(&o.only, "only", "", "run the `attack` of this name alone")
	honest := flag.String("honest", "", "serve as a backend without fault on this `address`, which the attack does by itself")
	flag.Parse()
	if *honest != "" {
		fmt.Fprintln(os.Stderr, "adversary:", serveHonest(*honest))
		os.Exit(2)
	}
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	findings, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "adversary:", err)
		os.Exit(2)
	}
	for _, f := range findings {
		fmt.Println("FOUND", f)
	}
	if len(findings) > 0 {
		os.Exit(1)
	}
	fmt.Println("held")
}

// run does the whole attack and returns what it found.
func run(ctx context.Context, o options) ([]string, error) {
	l, err := newLab(o)
	if err != nil {
		return nil, err
	}
	defer l.close()
	fmt.Printf("seed %d, %s, budget %d MiB\n", o.seed, o.span, o.memory)

	// Whatever the program sends in its farewell may be used against it.
	known, err := l.learn(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.start(ctx); err != nil {
		return nil, err
	}
	before, err := l.measure(ctx)
	if err != nil {
		return nil, err
	}
	w := newWatch(l, o)
	lying.Store(true)
	defer lying.Store(false)
	storm, end := context.WithTimeout(ctx, o.span)
	defer end()
	watched := w.run(storm)
	s := &storming{lab: l, options: o, known: known, found: w.found}
	s.run(storm)
	<-watched
	w.recovers(ctx, before)
	w.print(before)
	s.print()
	return w.findings(), nil
}
