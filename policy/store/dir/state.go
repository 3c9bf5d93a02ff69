package dir

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"lictor/policy/store"
	"lictor/policy/store/mirror"
)

// publishLocked delivers changes, and notes that the directory could be read. d.mu
// is held.
func (d *Store) publishLocked(changes []store.Change) {
	d.mirror.Contact()
	d.mirror.Publish(store.Update{Changes: changes, Index: d.index})
}

// refreshState brings the status up to date between two readings.
func (d *Store) refreshState() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reads {
		d.showStateLocked()
	}
}

// showStateLocked brings the status up to date after a success. d.mu is held.
func (d *Store) showStateLocked() {
	var problems []string
	if held := d.mirror.HeldProblem("the directory"); held != "" {
		problems = append(problems, held)
	}
	unread := *d.unread.Load()
	keys := slices.Sorted(maps.Keys(unread))
	if more := len(keys) - mirror.MostNamed; more > 0 {
		keys = keys[:mirror.MostNamed]
		problems = append(problems, fmt.Sprintf("%d more than these cannot be read", more))
	}
	for _, key := range keys {
		problems = append(problems, fmt.Sprintf("%s cannot be read (%s), what is known of it stays in force", key, unread[key].why))
	}
	if locked := d.lockProblem(); locked != "" {
		problems = append(problems, locked)
	}
	problem := strings.Join(problems, "; ")
	if d.reads = true; !d.mirror.Trouble(problem, true) {
		return
	}
	if problem == "" {
		d.log.Info("the policy directory is read as it should be again", "path", d.dir)
	} else {
		d.log.Warn("the policy directory is not as it should be", "path", d.dir, "problem", problem)
	}
}

// tellIgnoredLocked logs, and puts into the status, which files are not read because
// they look like leftovers of editors. d.mu is held.
func (d *Store) tellIgnoredLocked(files []string) {
	slices.Sort(files)
	if text := strings.Join(files, ", "); text != d.ignored {
		d.ignored = text
		if text != "" {
			d.log.Warn("files in the policy directory look like copies that an editor left, and are not read", "path", d.dir, "files", text)
		}
	}
	var notes []string
	if len(files) > 0 {
		notes = []string{"not read, as they look like copies that an editor left: " + d.ignored}
	}
	d.mirror.SetNotes(notes)
}

// reportLocked shows why the directory cannot be read. d.mu is held.
func (d *Store) reportLocked(err error) {
	d.reads = false
	if d.mirror.Trouble(err.Error(), false) {
		d.log.Error("cannot read the policy directory, keeping the last good policy", "path", d.dir, "error", err)
	}
}
