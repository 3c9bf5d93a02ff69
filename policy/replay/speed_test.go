package replay

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
)

// varied is a log in which no two records are alike in what decides: 1,000 consumers
// with keys, of 20 APIs, from all over the world, refused now and then; and the
// policies of it, which differ in an ACL and an entry.
func varied(b *testing.B, records int) (log string, former, next *Policy) {
	b.Helper()
	const consumers, apis = 1000, 20
	d := dice{rand.New(rand.NewPCG(1, 2))} //nolint:gosec // the same each time
	was := map[string]string{"blacklist/ops": `{"entries": ["/api1/admin", "10.6.6.0/24"], "direction": "ingress"}`,
		"filters/reads": `{"name": "reads", "methods": ["GET", "HEAD"]}`}
	var keys [consumers]string
	for i := range consumers {
		keys[i] = keyName(fmt.Sprint(i))
		was[fmt.Sprintf("consumers/c%d", i)] = fmt.Sprintf(`{"id": "id-%d", "groups": ["g%d", "all"]}`, i, i%10)
		was["credentials/"+keys[i]] = fmt.Sprintf(`{"consumer": "id-%d", "id": "k%d"}`, i, i)
	}
	var nets []string
	for i := range 1000 {
		nets = append(nets, fmt.Sprintf(`"198.18.%d.%d/31"`, i/100, 2*(i%100)))
	}
	was["blacklist/scanners"] = `{"direction": "ingress", "entries": [` + strings.Join(nets, ",") + `]}`
	for i := range apis {
		was[fmt.Sprintf("acls/a%d", i)] = fmt.Sprintf(`{"api": "api%d", "groups": ["all"]}`, i)
		was[fmt.Sprintf("acls/b%d", i)] = fmt.Sprintf(`{"api": "api%d", "groups": ["g1"], "filters": ["reads"]}`, i)
	}
	is := make(map[string]string, len(was))
	for k, text := range was {
		is[k] = text
	}
	is["acls/a3"], is["blacklist/ops"] = `{"api": "api3", "groups": ["g3"]}`, `{"entries": ["/api1/admin", "/api2/admin", "10.6.6.0/24"], "direction": "ingress"}`
	var t strings.Builder
	t.WriteString(headLine + "\n")
	for i := range records {
		who, api := d.IntN(consumers), d.IntN(apis)
		fmt.Fprintf(&t, `{"v":1,"time":"2026-03-04T05:%02d:%02d.%06dZ","id":"%s","listener":"gateway","method":"%s","host":"api.example.org","port":443,"path":"/api%d/%s/%d","client":"%d.%d.%d.%d",`,
			i/60000%60, i/1000%60, i%1000000, hex.EncodeToString(fmt.Appendf(nil, "%08d", i)), d.of("GET", "GET", "GET", "POST", "PUT"), api, d.of("items", "carts", "x%20y", "a/b/c"), d.IntN(1e9), 1+d.IntN(220), d.IntN(256), d.IntN(256), d.IntN(256))
		if d.IntN(10) == 0 {
			fmt.Fprintf(&t, `"by":"segment","api":"api%d","service":"api%d","key_names":["apikey"],"verdict":"refuse","reason":"no_credentials","rule":"lictor/policy/acls/a%d","plugin":"acl","policy":"3fa981c2","status":401}`+"\n", api, api, api)
			continue
		}
		fmt.Fprintf(&t, `"consumer":"id-%d","mark":"00000000","credential":"k%d","key_sum":"%s","by":"segment","api":"api%d","service":"api%d","key_names":["apikey"],"key":"apikey","ran":true,"verdict":"pass","policy":"3fa981c2","status":200}`+"\n",
			who, who, keys[who][:8], api, api)
	}
	return t.String(), policyOf(b, was), policyOf(b, is)
}

// BenchmarkVariedReplay is what R2 promises: half a million records a second on all
// processors. It tells the CPU time of a record as well, as others may use the machine.
func BenchmarkVariedReplay(b *testing.B) { // R2
	const records = 200_000
	log, former, next := varied(b, records)
	for _, o := range []*Options{{Next: next}, {Next: next, Former: former}} {
		b.Run(fmt.Sprintf("former=%v", o.Former != nil), func(b *testing.B) {
			b.SetBytes(int64(len(log)))
			from := cpu(b)
			for b.Loop() {
				if r := replayed(b, log, o); r.Records != records || r.Closes == 0 || r.Unknown > 0 || r.Left != (Left{}) {
					b.Fatalf("%+v", r)
				}
			}
			n := float64(records) * float64(b.N)
			b.ReportMetric(n/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric((cpu(b)-from)*1e9/n, "cpu-ns/record")
		})
	}
}

// cpu is the time that this process has computed for, in seconds.
func cpu(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}
