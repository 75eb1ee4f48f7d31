package gossip_test

import (
	"fmt"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// TestWhatWasHandedOutStays: requests, responses and values that were handed out do not change with what
// is written and merged later, so that others may encode and read them at the same time.
func TestWhatWasHandedOutStays(t *testing.T) {
	o := newOne(t, "a", "a", "b", "c")
	for i := range 10 {
		o.set(fmt.Sprint("k", i), "first")
		o.receive("c", &gossip.Request{Exchange: uint64(i + 1), Entries: []gossip.Entry{{Owner: "c", Base: uint64(i), Values: values(fmt.Sprint("k", i), i+1)}}})
	}
	request := o.round("b")
	response := o.receive("b", &gossip.Request{Exchange: 1}).Response
	own, other := o.Keys("a"), o.Keys("c")
	one, _ := o.Get("a", "k3")
	all := func() string { return fmt.Sprintf("%+v %+v %+v %+v %+v", request, response, own, other, one) }
	before := all()
	if len(tells(request.Entries)) == 0 || tells(request.Entries) != tells(response.Entries) {
		t.Fatalf("the test shows nothing: %q, %q", tells(request.Entries), tells(response.Entries))
	}
	for i := range 10 {
		o.set(fmt.Sprint("k", 9-i), "later")
		o.receive("c", &gossip.Request{Exchange: uint64(i + 20), Entries: []gossip.Entry{{Owner: "c", Base: uint64(i + 10), Values: values(fmt.Sprint("k", 9-i), i+11)}}})
		o.receive("b", &gossip.Request{Exchange: uint64(i + 2), Answered: uint64(i + 1), Known: 1_000})
	}
	o.do(gossip.Installed{IDs: []core.MemberID{"a"}})
	if after := all(); after != before {
		t.Errorf("what was handed out has become\n%s\nand was\n%s", after, before)
	}
}

// shiftWall moves the wall clock reading of at, and leaves the monotonic one as it is: what the clock of
// the machine does when it is set.
func shiftWall(t *testing.T, at time.Time, d time.Duration) time.Time {
	t.Helper()
	out := at
	wall := (*uint64)(unsafe.Pointer(&out)) // 1 bit: has a monotonic reading; 33 bits: seconds; 30 bits: nanoseconds
	*wall += uint64(int64(d/time.Second)) << 30
	if out.Sub(at) != 0 || out.Round(0).Sub(at.Round(0)) != d.Truncate(time.Second) {
		t.Fatalf("the layout of time.Time has changed: %v is %v away", out, out.Round(0).Sub(at.Round(0)))
	}
	return out
}

// TestWallClockIsIrrelevant: a clock that is set by an hour neither ends an exchange nor keeps one open,
// and does nothing to what is known of others.
func TestWallClockIsIrrelevant(t *testing.T) {
	for _, shift := range []time.Duration{time.Hour, -time.Hour} {
		o := newOne(t, "a", "a", "b")
		o.now = time.Now() // with a monotonic reading
		o.receive("b", &gossip.Request{Exchange: 1, Entries: []gossip.Entry{{Owner: "b", Values: values("k", 1)}}})
		asked := func() int {
			o.do(gossip.Tick{})
			return len(effects[gossip.Send](o))
		}
		if asked() != 1 {
			t.Fatal("the peer is not asked")
		}
		o.now = shiftWall(t, o.now, shift)
		if asked() != 0 {
			t.Errorf("shifted by %v: asked again before the time-out", shift)
		}
		o.now = o.now.Add(gossip.DefaultTimeout - 1)
		if asked() != 0 {
			t.Errorf("shifted by %v: asked again just before the time-out", shift)
		}
		o.now = o.now.Add(1)
		if asked() != 1 {
			t.Errorf("shifted by %v: not asked again after the time-out", shift)
		}
		if got := o.Members(); !slices.Equal(got, []core.MemberID{"a", "b"}) || len(o.Keys("b")) != 1 {
			t.Errorf("shifted by %v: knows %v", shift, got)
		}
	}
}
