package history

import (
	"math"
	"slices"
)

const never = int64(math.MaxInt64)

// span is a piece of time, from (included) to until (not included).
type span struct{ from, until int64 }

// change is one planned event of a run: the cluster formed, a member was killed, joined or left.
type change struct {
	kind   string // form, kill, join, leave
	member string
	ns     int64 // form and join: process started; kill: kill(2) returned; leave: asked to
	agreed int64 // when the members agreed on the topology after it; never if they did not
	last   int64 // detect: when the last survivor's topology was without the victim
}

// timeline follows which members live and what each believes.
type timeline struct {
	live    map[string]bool     // started and neither killed nor gone
	seen    map[string]string   // last topology hash of each live member
	listed  map[string][]string // and its members
	agreed  []span              // when all live members reported one topology that lists just them
	changes []change
	loadEnd int64
	loadBeg int64
	atEnd   int // live members when the load ended
	members int // how many form the cluster
}

func newTimeline(events []Record, members int) *timeline {
	t := &timeline{live: map[string]bool{}, seen: map[string]string{}, listed: map[string][]string{}, loadBeg: never, loadEnd: never, members: members}
	for _, e := range events {
		t.step(e)
	}
	if n := len(t.agreed); n > 0 && t.agreed[n-1].until == never && t.loadEnd != never {
		t.agreed[n-1].until = max(t.loadEnd, t.agreed[n-1].from)
	}
	return t
}

func (t *timeline) step(e Record) {
	switch e.Event {
	case Spawned:
		t.live[e.Member] = true
		t.spawned(e)
	case Killed:
		t.gone(e.Member)
		t.changes = append(t.changes, change{kind: "kill", member: e.Member, ns: e.Ns, agreed: never, last: never})
	case Stopping:
		if t.loadEnd == never {
			t.gone(e.Member)
			t.changes = append(t.changes, change{kind: "leave", member: e.Member, ns: e.Ns, agreed: never, last: never})
		}
	case Exited:
		t.gone(e.Member)
	case Topology:
		if t.live[e.Member] {
			t.seen[e.Member], t.listed[e.Member] = e.Hash, e.Members
		}
	case Load:
		if e.Phase == "begin" {
			t.loadBeg = e.Ns
		} else {
			t.loadEnd, t.atEnd = e.Ns, len(t.live)
		}
	default:
		return
	}
	t.judge(e.Ns)
}

// spawned opens the first change with the first process of the run; a process that takes the place
// of one that left belongs to the same change, a restart; any other is a join.
func (t *timeline) spawned(e Record) {
	n := len(t.changes)
	switch {
	case n == 0:
		t.changes = append(t.changes, change{kind: "form", ns: e.Ns, agreed: never, last: never})
	case n == 1 && len(t.live) <= t.members:
	case t.changes[n-1].kind == "leave":
		t.changes[n-1].kind, t.changes[n-1].agreed = "restart", never
	default:
		t.changes = append(t.changes, change{kind: "join", member: e.Member, ns: e.Ns, agreed: never, last: never})
	}
}

func (t *timeline) gone(member string) {
	delete(t.live, member)
	delete(t.seen, member)
	delete(t.listed, member)
}

// judge opens or closes a span of agreement, and dates the present change.
func (t *timeline) judge(ns int64) {
	n := len(t.agreed)
	open := n > 0 && t.agreed[n-1].until == never
	agree := t.agree()
	switch {
	case agree && !open:
		t.agreed = append(t.agreed, span{ns, never})
	case !agree && open:
		t.agreed[n-1].until = ns
	}
	if len(t.changes) == 0 || t.loadEnd != never {
		return
	}
	c := &t.changes[len(t.changes)-1]
	if agree && c.agreed == never && (c.kind != "form" || len(t.live) >= t.members) {
		c.agreed = ns
	}
	if c.member != "" && c.kind != "join" && c.last == never && !t.anyLists(c.member) {
		c.last = ns
	}
}

func (t *timeline) agree() bool {
	if len(t.live) == 0 {
		return false
	}
	var hash string
	for m := range t.live {
		h, reported := t.seen[m]
		if !reported || hash != "" && h != hash || len(t.listed[m]) != len(t.live) {
			return false
		}
		hash = h
		for _, listed := range t.listed[m] {
			if !t.live[listed] {
				return false
			}
		}
	}
	return true
}

func (t *timeline) anyLists(member string) bool {
	for m := range t.live {
		if listed, ok := t.listed[m]; ok && slices.Contains(listed, member) {
			return true
		}
	}
	return false
}

// inAgreement reports whether some moment of s lies in a span of agreement before the load ended.
func (t *timeline) inAgreement(s span) bool {
	for _, a := range t.agreed {
		if max(a.from, s.from) < min(a.until, s.until, t.loadEnd) {
			return true
		}
	}
	return false
}
