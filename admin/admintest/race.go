package admintest

import (
	"fmt"
	"hash/crc32"
	"strings"
	"sync"
	"testing"
)

// useCase is a use of an object, and the deletion of that object.
type useCase struct {
	name             string
	setup            [][2]string // path and body of what is made first
	usePath, useBody string
	method           string
	deletePath       string
}

var useCases = []useCase{
	{"a plugin, by a mapping", [][2]string{{"/plugins", `id=p%d&name=key-auth`}}, "/mappings/plugins", `api=s%d&plugins=p%d`, "POST", "/plugins/p%d"},
	{"a plugin, by a group", [][2]string{{"/plugins", `id=p%d&name=key-auth`}}, "/groups", `name=u%d&plugins=p%d`, "POST", "/plugins/p%d"},
	{"a plugin, by a group that there is", [][2]string{{"/plugins", `id=p%d&name=key-auth`}, {"/groups", `name=u%d`}}, "/groups/u%d", `plugins=p%d`, "PATCH", "/plugins/p%d"},
	{"a group, by a mapping", [][2]string{{"/plugins", `id=p%d&name=key-auth`}, {"/groups", `name=g%d&plugins=p%d`}}, "/mappings/plugins", `api=s%d&groups=g%d`, "POST", "/groups/g%d"},
	{"a filter, by an ACL", [][2]string{{"/filters", `name=f%d&methods=GET`}}, "/mappings/acls", `api=s%d&filters=f%d`, "POST", "/filters/f%d"},
	{"a filter, by a mapping", [][2]string{{"/plugins", `id=p%d&name=key-auth`}, {"/filters", `name=f%d&methods=GET`}}, "/apis/s%d/plugins", `name=key-auth&filters=f%d`, "POST", "/filters/f%d"},
	{"a filter, by an API", [][2]string{{"/filters", `name=f%d&methods=GET`}}, "/apis", `name=s%d&filters=f%d`, "POST", "/filters/f%d"},
}

// Uses has one server use an object while another one on the same store deletes
// it: both cannot succeed.
func Uses(t *testing.T, user, deleter *Server, rounds int) {
	for _, c := range useCases {
		t.Run(c.name, func(t *testing.T) {
			for i := range rounds {
				n := func(s string) string { return fill(s, c.name, i) }
				for _, made := range c.setup {
					user.Want(t, 201, "POST", made[0], n(made[1]))
				}
				var used, deleted int
				var wg sync.WaitGroup
				begin := make(chan struct{})
				wg.Go(func() {
					<-begin
					used = user.Do(c.method, n(c.usePath), n(c.useBody)).Status
				})
				wg.Go(func() {
					<-begin
					deleted = deleter.Do("DELETE", n(c.deletePath), "").Status
				})
				close(begin)
				wg.Wait()
				switch {
				case used/100 == 2 && deleted == 409, used == 400 && deleted == 204:
				case used/100 == 2 && deleted == 404: // too new for the other one, which deleted nothing
				default:
					t.Errorf("round %d: using it got %d, deleting it %d", i, used, deleted)
				}
			}
		})
	}
}

// fill puts a number of its own for the case and the round into a text.
func fill(text, name string, round int) string {
	return strings.ReplaceAll(text, "%d", fmt.Sprintf("-%x-%d", crc32.ChecksumIEEE([]byte(name)), round))
}
