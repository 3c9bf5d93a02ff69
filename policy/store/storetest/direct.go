package storetest

import (
	"fmt"
	"strconv"
	"sync"
	"testing"

	"lictor/policy/store"
)

func directWrite(t *testing.T, f Fixture) {
	f.Put("acls/a", "0")
	w := Follow(t, f.Store)
	w.Want("acls/a=0")
	f.Put("acls/a", "1")
	w.Want("acls/a=1")
	f.Put("filters/new", "2")
	w.Want("acls/a=1 filters/new=2")
	o, err := f.Store.Get(t.Context(), "acls", "a")
	if err != nil || o.Index != w.Content()["acls/a"].Index {
		t.Errorf("get: %+v, %v; delivered %+v", o, err, w.Content()["acls/a"])
	}
	Write(t, f.Store, at(put("acls", "a", "3"), o.Index))
	f.Remove("filters/new")
	w.Want("acls/a=3")
}

func directDeletes(t *testing.T, f Fixture) {
	w := Follow(t, f.Store)
	for i := range 30 {
		f.Put(fmt.Sprintf("acls/%d", i), "x")
	}
	w.Eventually("all are there", func(c map[string]store.Object) bool { return len(c) == 30 })
	for i := range 30 {
		f.Remove(fmt.Sprintf("acls/%d", i))
	}
	w.Want("")
}

func oddKeys(t *testing.T, f Fixture) {
	w := Follow(t, f.Store)
	f.Put("blacklists/typo", "1")
	f.Put("stray", "2")
	f.Put("acls/a/b", "3")
	f.Put("acls/.hidden/x", "5")
	f.Put("acls/a/c", "6")
	f.Put("credentials/Not-hex", "4")
	w.Eventually("they are delivered", func(c map[string]store.Object) bool {
		return string(c["blacklists/typo"].Value) == "1" && string(c["stray"].Value) == "2" &&
			string(c["acls/a/b"].Value) == "3" && string(c["credentials/Not-hex"].Value) == "4"
	})
	if o := w.Content()["acls/a/b"]; o.Kind != "acls" || o.Name != "a/b" {
		t.Errorf("acls/a/b is %+v", o)
	}
	if o := w.Content()["stray"]; o.Kind != "" || o.Name != "stray" {
		t.Errorf("stray is %+v", o)
	}
}

func directRace(t *testing.T, f Fixture) {
	w := Follow(t, f.Store)
	Write(t, f.Store, put("consumers", "c", "0"))
	var writers sync.WaitGroup
	writers.Go(func() {
		for i := range 20 {
			f.Put("groups/direct", strconv.Itoa(i))
		}
	})
	writers.Go(func() {
		for range 20 {
			if err := increment(t.Context(), f.Store, "consumers", "c"); err != nil {
				t.Error(err)
			}
		}
	})
	writers.Wait()
	w.Want("consumers/c=20 groups/direct=19")
}
