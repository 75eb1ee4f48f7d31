package actor

import (
	"errors"
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
	if c.dead.Load() {
		return false
	}
	w.next, c.waiters = c.waiters, w
	return true
}

// watched notes who wants to hear of this actor's end.
func (c *cell) watched(w *Ref) {
	if w == nil {
		return
	}
	m := c.extra()
	key := keyOf(w)
	if !slices.ContainsFunc(m.watchers, func(o *Ref) bool { return keyOf(o) == key }) {
		m.watchers = append(m.watchers, w)
	}
}

func (c *cell) unwatched(w *Ref) {
	if c.more == nil || w == nil {
		return
	}
	key := keyOf(w)
	c.more.watchers = slices.DeleteFunc(c.more.watchers, func(o *Ref) bool { return keyOf(o) == key })
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
	if errors.Is(err, core.ErrUnreachable) {
		why = TerminatedUnreachable
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
