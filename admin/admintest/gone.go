package admintest

import (
	"strings"
	"testing"

	"lictor/policy"
)

func consumerGone(t *testing.T, s *Server) {
	s.Want(t, 201, "POST", "/consumers", `name=a&groups=g&key=old`)
	id := s.Want(t, 201, "POST", "/apis/x/acls", `consumers=a`).JSON["id"].(string)
	s.WantDecisions(t, map[string]int{"GET /x/y old": 200})
	s.Want(t, 204, "DELETE", "/consumers/a", "")
	s.Play(t, Step{"GET", "/groups/g", "", 200, `{"consumers":[]}`})
	s.Want(t, 201, "POST", "/consumers", `name=a&key=new`)
	s.WantDecisions(t, map[string]int{"GET /x/y old": 401, "GET /x/y new": 403, "GET /x/y": 401})
	acl := s.Want(t, 200, "GET", "/apis/x/acls/"+id, "")
	if dead := acl.JSON["consumers"].([]any); len(dead) != 1 || dead[0] == "a" {
		t.Errorf("got %v, want the dead id", dead)
	}
	// The dead id stays where it is, also when the ACL is edited.
	s.Play(t, Step{"PUT", "/apis/x/acls/" + id, acl.Compact(), 200, acl.Compact()})
	s.Want(t, 200, "PATCH", "/apis/x/acls/"+id, `mode=enforce`)
	s.WantDecisions(t, map[string]int{"GET /x/y new": 403})
	s.Want(t, 400, "POST", "/consumers", `name=`+acl.JSON["consumers"].([]any)[0].(string))
}

func handWrittenGone(t *testing.T, s *Server) {
	s.Write(t, policy.KindConsumers, "a", `groups = ["g"]`)
	s.Want(t, 201, "POST", "/consumers/a/key-auth", `key=old`)
	s.Want(t, 201, "POST", "/apis/x/acls", `consumers=a`)
	s.Want(t, 201, "POST", "/apis/x/plugins", `name=key-auth&consumers=a`)
	s.WantDecisions(t, map[string]int{"GET /x/y old": 200})
	s.Want(t, 204, "DELETE", "/consumers/a", "")
	s.Want(t, 201, "POST", "/consumers", `name=a&key=new`)
	s.WantDecisions(t, map[string]int{"GET /x/y old": 401, "GET /x/y new": 403})
}

func lastObjects(t *testing.T, s *Server) {
	for range 2 {
		s.Want(t, 201, "POST", "/consumers", `name=a&key=k`)
		s.Want(t, 204, "DELETE", "/consumers/a", "") // with its key, and nothing else is there
		acl := s.Want(t, 201, "POST", "/apis/x/acls", `methods=GET`).JSON["id"].(string)
		s.Want(t, 204, "DELETE", "/apis/x/acls/"+acl, "")
		s.WantDecisions(t, map[string]int{"PUT /x/y": 200})
	}
}

func handWritten(t *testing.T, s *Server) {
	s.Write(t, policy.KindBlacklist, "ops", "# by hand\n10.0.0.1\n/admin\n")
	s.Play(t, Step{"GET", "/blacklist/ops", "", 200, `{"name":"ops","entries":["10.0.0.1","/admin"],"direction":"both","mode":"enforce"}`})
	s.Play(t, Step{"PATCH", "/blacklist/ops", `reason=because`, 200, `{"entries":["10.0.0.1","/admin"],"reason":"because"}`})
	s.Write(t, policy.KindFilters, "f", "methods = [\"get\"]\n")
	s.Play(t, Step{"GET", "/filters", "", 200, `{"data":[{"name":"f","methods":["GET"]}]}`})
	s.Write(t, policy.KindACLs, "broken", `{"api":"x","groups":["g"],"nonsense":1}`)
	s.WantDecisions(t, map[string]int{"GET /x/y": 403})
	a := s.Play(t, Step{"GET", "/apis/x/acls/broken", "", 200, `{"id":"broken","api":"x","groups":["g"]}`})
	if text, _ := a.JSON["error"].(string); !strings.Contains(text, "nonsense") {
		t.Errorf("got the error %q, want what is wrong", text)
	}
	s.Play(t, Step{"PATCH", "/apis/x/acls/broken", `groups=h`, 400, "replace it by PUT"})
	s.Play(t, Step{"PUT", "/apis/x/acls/broken", `methods=GET`, 200, `{"error":null}`})
	s.WantDecisions(t, map[string]int{"GET /x/y": 200, "PUT /x/y": 403})
}
