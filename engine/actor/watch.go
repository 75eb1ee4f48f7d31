package actor

import (
	"errors"
	"slices"

	"github.com/granary-go/granary/core"
)

// waiter wants its channel closed when the actor has ended.
type waiter chan struct{}

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

func (c *cell) wait(w waiter) {
	m := c.extra()
	m.waiters = append(m.waiters, w)
}

// watch asks to hear of the end of to. A watch that cannot be placed is answered at once.
func (c *cell) watch(to *Ref) {
	key := keyOf(to)
	m := c.extra()
	if _, known := m.watching[key]; known || to.local(c.sys) == c {
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
	c.sys.unwatch(to, &c.ref)
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
