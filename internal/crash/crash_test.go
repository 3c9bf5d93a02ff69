package crash

import (
	"strings"
	"testing"
)

func TestAPanicEndsOnlyItsOwnGoroutine(t *testing.T) {
	var stack string
	SetReport(func(_ string, _ any, s []byte) { stack = string(s) })
	ended := make(chan struct{})
	Go("test", func() { panic("planned") }, func() { close(ended) })
	<-ended
	if got := Counts()["test"]; got != 1 {
		t.Errorf("counted %d panics, want 1", got)
	}
	if !strings.Contains(stack, "TestAPanicEndsOnlyItsOwnGoroutine") {
		t.Errorf("the stack does not name the place of the panic:\n%s", stack)
	}
}

func TestAPanicInTheCleanUpIsContainedToo(t *testing.T) {
	SetReport(func(string, any, []byte) {})
	func() {
		defer Contain("test clean-up", func() { panic("again") })
		panic("first")
	}()
	if got := Counts()["test clean-up"]; got != 2 {
		t.Errorf("counted %d panics, want 2", got)
	}
}

func TestNothingHappensWithoutAPanic(t *testing.T) {
	func() {
		defer Contain("test quiet", func() { t.Error("the clean-up ran") })
	}()
	if got := Counts()["test quiet"]; got != 0 {
		t.Errorf("counted %d panics, want none", got)
	}
}
