package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func policyApplyCommand(stdout io.Writer) *command {
	c := newCommand("policy apply", "Write a policy kept as files to the store", "[-yes] [-dry-run] [-prune] DIR",
		"Says first what it changes and, proven, which requests that opens and closes. On\n"+
			"a terminal it asks then, and elsewhere, or with -yes, goes on.\n\n"+
			"Writes what is new or different, and what the store lost though it is still in\n"+
			"force: it compares with the store. Each transaction of up to 64 operations is done\n"+
			"whole, and only if nothing of it was changed in the meantime; else nothing of it\n"+
			"is done. Of several, those that close come before those that open.\n\n"+
			"Nothing is deleted: a file that is not there is no order to delete, and lictor\n"+
			"keeps no record of who made an object. With -prune, objects of the kinds that\n"+
			"DIR has a folder for are deleted if they have no file.\n"+policyDirHelp)
	c.takes = "a directory"
	var client adminClient
	client.flags(c.flags)
	dry := c.flags.Bool("dry-run", false, "say what would be done, and do nothing")
	prune := c.flags.Bool("prune", false, "delete objects that have no file, of the kinds that DIR has")
	yes := c.flags.Bool("yes", false, "do not ask")
	c.run = func() error {
		plan, err := planApply(&client, c.arg, *prune)
		if err != nil {
			return err
		}
		if len(plan.steps) > 0 {
			if err := errors.Join(plan.printDiff(stdout), plan.impact().Print(stdout)); err != nil {
				return err
			}
			if !*dry && !*yes && asks() && !confirmed(stdout, os.Stdin) {
				return errors.New("nothing was written")
			}
		}
		return plan.apply(&client, stdout, *dry)
	}
	return c
}

// asks reports whether somebody sits at a terminal who can be asked.
func asks() bool {
	_, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS)
	return err == nil
}

// confirmed asks whether to go on. Only yes is yes: the end of the input is no.
func confirmed(out io.Writer, in io.Reader) bool {
	fmt.Fprint(out, "Write this? [y/N] ")
	line, _ := bufio.NewReader(io.LimitReader(in, 100)).ReadString('\n') // what came before an error counts
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true
	}
	return false
}
