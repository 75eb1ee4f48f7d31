package gossip_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// says lets a member say something under "k".
func says(o *one, id core.MemberID, version int, s string) {
	v := gossip.Value{Key: "k", Version: uint64(version), Message: text(s)}
	o.receive(id, &gossip.Request{Entries: []gossip.Entry{{Owner: id, Values: []gossip.Value{v}}}})
}

// length is a check on the length of "k"; calls counts how often it looked.
func length(calls *int) *gossip.Check {
	return gossip.NewCheck("length", "k", func(m core.Message) (int, bool) {
		*calls++
		if string(m.Data) == "panic" {
			panic("in a check")
		}
		return len(m.Data), len(m.Data) > 0
	})
}

func TestConsensus(t *testing.T) {
	o := newOne(t, "a", "a", "b")
	calls := 0
	o.set("k", "xx")
	must(t, o.AddCheck(length(&calls)))
	step := func(what string, do func(), want any, told bool) {
		t.Helper()
		do()
		got, agreed := o.Agreed("length")
		if got != want || agreed != (want != nil) {
			t.Errorf("%s: agreed on %v (%v), want %v", what, got, agreed, want)
		}
		if e := effects[gossip.Agreement](o); (len(e) == 1) != told || told && (e[0].Value != want || e[0].Agreed != agreed || e[0].Check != "length") {
			t.Errorf("%s: told %v", what, e)
		}
	}
	step("b says nothing", func() {}, nil, false)
	step("b says the same", func() { says(o, "b", 1, "yy") }, 2, true)
	step("b says it in other words", func() { says(o, "b", 2, "zz") }, 2, false)
	before := calls
	step("another key", func() { o.set("j", "zzz") }, 2, false)
	step("a round", func() { o.do(gossip.Tick{}) }, 2, false)
	if calls != before {
		t.Errorf("the check looked %d times at what has not changed", calls-before)
	}
	step("b says something else", func() { says(o, "b", 3, "zzz") }, nil, true)
	step("a follows", func() { o.set("k", "aaa") }, 3, true)
	step("c joins", func() { o.do(gossip.Installed{IDs: []core.MemberID{"a", "b", "c"}}) }, nil, true)
	step("c agrees", func() { says(o, "c", 1, "ccc") }, 3, true)
	step("c has no opinion", func() { says(o, "c", 2, "") }, nil, true)
	step("c fails in the check", func() { says(o, "c", 3, "panic") }, nil, false)
	step("c leaves", func() { o.do(gossip.Installed{IDs: []core.MemberID{"a", "b"}}) }, 3, true)
	step("b is blocked", func() { o.do(gossip.Block{IDs: []core.MemberID{"b"}}) }, nil, true)
	step("b is let in, and empty", func() { o.do(gossip.Unblock{IDs: []core.MemberID{"b"}}) }, nil, false)
	step("all change at once", func() { says(o, "b", 4, "aaa") }, 3, true)
	step("to another value", func() {
		o.do(gossip.Installed{IDs: []core.MemberID{"b"}})
		says(o, "b", 5, "four")
	}, 4, true)
	step("nobody is left", func() { o.do(gossip.Installed{}) }, nil, true)
}

// TestTopologyInOneStep: a view and the word about it come together, so that no agreement is seen
// between them.
func TestTopologyInOneStep(t *testing.T) {
	o := newOne(t, "a")
	must(t, o.AddCheck(sameTopology()))
	o.do(gossip.Installed{IDs: []core.MemberID{"a"}, Topology: topology([]core.MemberID{"a"})})
	first, agreed := o.Agreed("topology")
	if !agreed {
		t.Fatal("a member alone does not agree with itself")
	}
	o.do(gossip.Installed{IDs: []core.MemberID{"a", "b"}, Topology: topology([]core.MemberID{"a", "b"})})
	if got, agreed := o.Agreed("topology"); agreed {
		t.Errorf("agreement on %v while b has said nothing", got)
	}
	o.do(gossip.Installed{IDs: []core.MemberID{"a"}, Topology: text("third")})
	if e := effects[gossip.Agreement](o); len(e) != 1 || e[0].Value == first || e[0].Value != "third" {
		t.Errorf("told %v, want agreement on the newest alone", e)
	}
}

// TestConsensusOfWhatOnlyLooksComparable: an interface satisfies comparable and may still hold what
// cannot be compared, which would end the process.
func TestConsensusOfWhatOnlyLooksComparable(t *testing.T) {
	o := newOne(t, "a", "a", "b")
	found := map[string]any{
		"slice":     []string{"x"},
		"in struct": struct{ of any }{[]string{"x"}},
		"in array":  [1]any{map[string]int{}},
		"not equal": math.NaN(),
	}
	must(t, o.AddCheck(gossip.NewCheck("any", "k", func(m core.Message) (any, bool) {
		if v, ok := found[string(m.Data)]; ok {
			return v, true
		}
		return string(m.Data), true
	})))
	version := 1
	for what := range found {
		o.set("k", what)
		says(o, "b", version, what)
		if got, agreed := o.Agreed("any"); agreed {
			t.Errorf("%s: agreed on %v", what, got)
		}
		o.set("k", "good")
		says(o, "b", version+1, "good")
		if got, agreed := o.Agreed("any"); got != "good" || !agreed {
			t.Errorf("after %s: %v (%v), want agreement", what, got, agreed)
		}
		version += 2
	}
}

func TestChecks(t *testing.T) {
	o := newOne(t, "a", "a")
	calls := 0
	must(t, o.AddCheck(length(&calls)))
	if err := o.AddCheck(length(&calls)); !errors.Is(err, core.ErrConflict) {
		t.Errorf("a second check of one name: %v", err)
	}
	o.RemoveCheck("length")
	o.RemoveCheck("length")
	o.set("k", "v")
	if _, agreed := o.Agreed("length"); agreed || calls > 0 {
		t.Error("a check that was removed goes on")
	}
	var err error
	for i := 0; err == nil; i++ {
		err = o.AddCheck(gossip.NewCheck(fmt.Sprint(i), "k", func(core.Message) (bool, bool) { return true, true }))
	}
	if !errors.Is(err, core.ErrOverloaded) {
		t.Errorf("checks without end: %v", err)
	}
}
