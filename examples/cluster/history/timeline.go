package history

import (
	"math"
	"slices"
)

const never = int64(math.MaxInt64)

// span is a piece of time, from (included) to until (not included).
type span struct{ from, until int64 }

// change is one planned event of a run: the cluster formed, a member was killed, joined, left, or was
// restarted.
type change struct {
	kind   string // Form, Join, Restart, Killed; Stopping: left and not yet replaced
	member string
	killed bool  // Killed; Restart: it did not leave, it was killed
	began  int64 // from here on calls may fail for it; Killed: before kill(2)
	ns     int64 // Form and Join: process started; Killed: kill(2) returned; Restart: asked to leave, or killed
	probed int64 // the identities must answer calls begun after this: ns; Restart: when its replacement was started
	agreed int64 // when the members agreed on the topology after it; never if they did not
	gone   int64 // when the last of the others' topologies was without the member that was killed or left
}

// timeline follows which members live and what each believes.
type timeline struct {
	live        map[string]bool     // started and neither killed nor gone
	seen        map[string]string   // last topology hash of each live member
	listed      map[string][]string // and its members
	agreed      []span              // when all live members reported one topology that lists just them
	changes     []change
	members     int              // how many form the cluster
	ended       map[string]int64 // when each member was killed or its process was gone
	loadBegin   int64
	loadEnd     int64
	interrupted int64
	finished    bool // the driver came to its last record
	atEnd       int  // members that agreed when the load ended, or came to agree before they were stopped
	stopped     bool // the driver has begun to end the members
}

// newTimeline reads the events of a run, sorted by time.
func newTimeline(events []Record, members int) *timeline {
	t := &timeline{live: map[string]bool{}, seen: map[string]string{}, listed: map[string][]string{}, ended: map[string]int64{},
		loadBegin: never, loadEnd: never, interrupted: never, members: members}
	for _, e := range events {
		t.step(e)
	}
	return t
}

func (t *timeline) step(e Record) {
	switch e.Event {
	case Spawned:
		t.live[e.Member] = true
		t.spawned(e)
	case Killed:
		t.end(e)
		t.begin(Killed, e)
	case Stopping:
		t.forget(e.Member)
		if t.loadEnd == never {
			t.begin(Stopping, e)
		} else {
			t.stopped = true
		}
	case Exited:
		t.end(e)
	case Topology:
		if t.live[e.Member] {
			t.seen[e.Member], t.listed[e.Member] = e.Hash, e.Members
		}
	case Load:
		t.load(e)
	case Interrupted:
		t.interrupted = min(t.interrupted, e.Ns)
	case Left:
		t.finished = true
	default:
		return
	}
	t.judge(e.Ns)
}

func (t *timeline) begin(kind string, e Record) {
	c := change{kind: kind, member: e.Member, killed: kind == Killed, began: e.Ns, ns: e.Ns, probed: e.Ns, agreed: never, gone: never}
	if e.Start > 0 {
		c.began = e.Start
	}
	t.changes = append(t.changes, c)
}

// spawned begins a change with the first process of the run and with one that joins; the others that
// form the cluster belong to the first, and one in the place of another to the change in which that
// one left or was killed.
func (t *timeline) spawned(e Record) {
	n := len(t.changes)
	switch {
	case e.Phase == Restart && n > 0 && (t.changes[n-1].kind == Stopping || t.changes[n-1].kind == Killed):
		c := &t.changes[n-1]
		c.kind, c.probed, c.agreed = Restart, e.Ns, never
	case e.Phase == Form && n > 0:
	case e.Phase == Form:
		t.begin(Form, e)
	default:
		t.begin(Join, e)
	}
}

func (t *timeline) load(e Record) {
	if e.Phase == Begin {
		t.loadBegin = e.Ns
		return
	}
	t.loadEnd = e.Ns
}

// end notes that a member's process does nothing any more.
func (t *timeline) end(e Record) {
	t.forget(e.Member)
	if _, known := t.ended[e.Member]; !known {
		t.ended[e.Member] = e.Ns
	}
}

func (t *timeline) forget(member string) {
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
	if len(t.changes) == 0 {
		return
	}
	if t.loadEnd != never {
		if agree && !t.stopped {
			t.atEnd = len(t.live)
		}
		return
	}
	c := &t.changes[len(t.changes)-1]
	if agree && c.agreed == never && (c.kind != Form || len(t.live) >= t.members) {
		c.agreed = ns
	}
	if c.gone == never && (c.kind == Killed || c.kind == Stopping || c.kind == Restart) && !t.anyLists(c.member) {
		c.gone = ns
	}
}

// agree reports whether all live members have reported one topology, which lists just them.
func (t *timeline) agree() bool {
	if len(t.live) == 0 {
		return false
	}
	hash, first := "", true
	for m := range t.live {
		h, reported := t.seen[m]
		if !reported || !first && h != hash || len(t.listed[m]) != len(t.live) {
			return false
		}
		hash, first = h, false
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

// changeAt is the index of the change that was the latest at a time; -1 before the first.
func (t *timeline) changeAt(ns int64) int {
	i := len(t.changes) - 1
	for i >= 0 && t.changes[i].ns > ns {
		i--
	}
	return i
}

// until is when change i ends: when the next one begins, or with the load.
func (t *timeline) until(i int) int64 {
	if i+1 < len(t.changes) {
		return t.changes[i+1].began
	}
	return t.loadEnd
}
