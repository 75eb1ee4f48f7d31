package cluster

import (
	"sync"
	"time"

	"github.com/granary-go/granary/core"
)

// linger is how long links to a member that has left in order are kept: its last answers may be on
// their way when its row goes. No new call goes there any more.
const linger = time.Second

// links tells remoting who can be reached: the members of the view, and for a while those that have
// left in order.
type links struct {
	mu      sync.Mutex
	leavers map[core.MemberID]core.Member
	view    *core.View // installed
	closed  bool
}

// set installs the topology that leads from old.
func (l *links) set(n *Node, old *core.View, t core.Topology) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leavers == nil {
		l.leavers = map[core.MemberID]core.Member{}
	}
	l.view = t.View
	for _, m := range t.Joined {
		delete(l.leavers, m.ID)
	}
	for _, m := range t.Left {
		if was, _ := old.Member(m.ID); was.Status == core.Leaving && !l.closed {
			l.leavers[m.ID] = m
			n.clock.AfterFunc(linger, func() { l.drop(n, m.ID) })
		}
	}
	l.apply(n, t)
}

// drop ends the links to a leaver.
func (l *links) drop(n *Node, id core.MemberID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.leavers[id]; there && !l.closed {
		delete(l.leavers, id)
		l.apply(n, core.Topology{View: l.view})
	}
}

// apply hands remoting the view with the leavers beside it; mu is held.
func (l *links) apply(n *Node, t core.Topology) {
	if len(l.leavers) > 0 {
		rec := t.View.Record()
		for _, m := range l.leavers {
			rec.Members = append(rec.Members, m)
		}
		if v, err := core.NewView(rec); err == nil { // it cannot fail: no leaver is in the view
			t.View = v
		}
	}
	n.remote.SetMembers(t)
}

// close ends the waiting; remoting stops by itself.
func (l *links) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
}
