package actor

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"github.com/granary-go/granary/core"
)

// waiter is told once when the actor it waits for has ended. It is used again and again, but never after
// somebody gave up waiting.
type waiter struct {
	next *waiter
	done chan struct{}
}

// wait notes w. False: the cell is dead.
func (c *cell) wait(w *waiter) bool {
	c.box.mu.Lock()
	defer c.box.mu.Unlock()
	if c.box.marked(dead) {
		return false
	}
	s := c.box.sides()
	w.next, s.waiters = s.waiters, w
	return true
}

// watched notes who wants to hear of this actor's end, from any goroutine: nothing waits for the turn, so
// a blocked actor holds its watchers and no more. False: the cell is dead.
func (c *cell) watched(w *Ref) bool {
	c.box.mu.Lock()
	defer c.box.mu.Unlock()
	if c.box.marked(dead) {
		return false
	}
	if w == nil {
		return true
	}
	s := c.box.sides()
	if s.watchers == nil {
		s.watchers = make(map[pidKey]*Ref)
	}
	s.watchers[keyOf(w)] = w
	return true
}

// unwatched takes a watcher back. False: the cell is dead.
func (c *cell) unwatched(w *Ref) bool {
	c.box.mu.Lock()
	defer c.box.mu.Unlock()
	if s := c.box.side; s != nil && w != nil {
		delete(s.watchers, keyOf(w))
	}
	return !c.box.marked(dead)
}

// takeWatchers gives the watchers, in the order of their keys, and the waiters. The caller holds box.mu.
func (c *cell) takeWatchers() (watchers []*Ref, waiters *waiter) {
	s := c.box.side
	if s == nil {
		return nil, nil
	}
	if len(s.watchers) > 0 {
		watchers = inOrder(s.watchers)
	}
	waiters = s.waiters
	s.watchers, s.waiters = nil, nil
	return watchers, waiters
}

// inOrder lists refs by their keys, so that what follows is the same in every run.
func inOrder(refs map[pidKey]*Ref) []*Ref {
	keys := slices.SortedFunc(maps.Keys(refs), func(a, b pidKey) int {
		return cmp.Or(cmp.Compare(a.member, b.member), cmp.Compare(a.id, b.id))
	})
	out := make([]*Ref, len(keys))
	for i, key := range keys {
		out[i] = refs[key]
	}
	return out
}

// watch asks to hear of the end of to. A watch that cannot be placed is answered at once.
func (c *cell) watch(to *Ref) {
	key := keyOf(to)
	m := c.extra()
	if _, known := m.watching[key]; known || to.local(c.ref.sys) == c {
		return
	}
	if m.watching == nil {
		m.watching = make(map[pidKey]*Ref)
	}
	m.watching[key] = to
	err := to.SendSystem(&Watch{Watcher: &c.ref})
	if err == nil {
		return
	}
	why := TerminatedNotFound
	switch {
	case errors.Is(err, core.ErrUnreachable):
		why = TerminatedUnreachable
	case errors.Is(err, core.ErrOverloaded), errors.Is(err, core.ErrUnsupported), errors.Is(err, core.ErrInvalid):
		why = TerminatedUnwatchable
	}
	c.postUrgent(item{kind: itemEnded, env: Envelope{Message: &Terminated{Who: to.PID(), Why: why}}})
}

func (c *cell) unwatch(to *Ref) {
	key := keyOf(to)
	if c.more == nil || c.more.watching[key] == nil {
		return
	}
	delete(c.more.watching, key)
	c.ref.sys.unwatch(to, &c.ref)
}

// unwatch takes a watch back; a target that is gone has nothing to take back.
func (s *System) unwatch(target, watcher *Ref) {
	_ = target.SendSystem(&Unwatch{Watcher: watcher})
}

// watchedEnded hands a Terminated to the actor if it still watches.
func (c *cell) watchedEnded(it *item) {
	who := it.env.Message.(*Terminated).Who
	key := pidKey{who.Member, who.ID}
	if c.more == nil || c.more.watching[key] == nil {
		return
	}
	delete(c.more.watching, key)
	c.deliver()
}

// tellTerminated tells a watcher, which may be gone by now.
func (s *System) tellTerminated(watcher *Ref, t *Terminated) {
	_ = watcher.SendSystem(t)
}
