package actor

import (
	"runtime"
	"unsafe"
)

// CellSize is what an actor takes at least.
const CellSize = unsafe.Sizeof(cell{})

// Settle waits until a local actor is idle.
func Settle(r *Ref) { HeldChunks(r) }

// HeldChunks is the number of chunks that a local actor's idle mailbox keeps.
func HeldChunks(r *Ref) int {
	c := r.cell.Load()
	for {
		c.box.mu.Lock()
		idle := !c.box.scheduled
		n := 0
		for ch := c.box.head; ch != nil; ch = ch.next {
			n++
		}
		if idle && c.current != nil {
			n++
		}
		c.box.mu.Unlock()
		if idle {
			return n
		}
		runtime.Gosched()
	}
}

// Timers is the number of timers that an idle local actor keeps.
func Timers(r *Ref) int {
	Settle(r)
	set := r.cell.Load().more.timers
	set.mu.Lock()
	defer set.mu.Unlock()
	return len(set.m)
}

// AwaitGuardAsleep waits until the dispatcher's guard has nothing to look after.
func AwaitGuardAsleep(s *System) {
	for s.dispatch.armed.Load() {
		runtime.Gosched()
	}
}
