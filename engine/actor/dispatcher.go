package actor

import "github.com/granary-go/granary/engine/internal/group"

// dispatcher gives ready cells a goroutine each, on demand.
type dispatcher struct {
	goroutines *group.Group
}

// worker runs turns on its goroutine.
type worker struct {
	d       *dispatcher
	item    item  // the message in hand, where it does not lie in a chunk
	running *cell // whose turn it is
}

// schedule finds a goroutine for c, which is ready. w is the worker on whose turn it became so, or nil.
func (d *dispatcher) schedule(c *cell, w *worker) {
	d.goroutines.Go("actor turns", func() { d.run(c) })
}

func (d *dispatcher) run(c *cell) {
	w := &worker{d: d}
	ended := false
	defer func() {
		if !ended { // runtime.Goexit in user code; the turn has dealt with it
			d.schedule(c, nil)
		}
	}()
	w.running = c
	for c.turn(w) {
	}
	ended = true
}

// flush hands on what the worker keeps for later, since user code is about to block.
func (w *worker) flush() {}
