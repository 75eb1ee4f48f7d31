package actor

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/group"
)

// The dispatcher gives ready cells a goroutine, on demand: a worker, which runs one turn after another.
//
// Few workers run at once (active, up to limit), because handing a cell to one that runs anyway is much
// cheaper than waking another. But user code may block for any time, and that must hold up nobody: a
// guard looks on while anything waits, and whatever waited for a tick or two gets a worker more. A worker
// whose turn outlasts a tick no longer counts as active. So there is no fixed number of goroutines, and
// no cell waits longer than two ticks for one.
type dispatcher struct {
	goroutines *group.Group
	limit      int // of active workers

	mu      sync.Mutex
	head    *cell // ready cells, linked by cell.ready
	tail    *cell
	taken   uint64 // cells ever taken from the queue
	active  int    // workers awake, without those that the guard set apart
	idle    *worker
	idles   int
	all     map[*worker]struct{}
	stopped bool

	armed  atomic.Bool // the guard's timer runs
	timer  *time.Timer
	seen   uint64    // taken, at the guard's last look
	looked time.Time // the guard's last look
	quiet  int       // looks in a row at which nothing waited
	burst  int       // workers to add if the queue does not move
}

const (
	workersPerProc = 4  // active ones: some may wait for locks or caches of others
	idleWorkers    = 64 // kept asleep for the next burst; 2 to 8 KiB each
	nextInARow     = 64 // cells run ahead of the queue, then it is looked at
	guardTick      = 200 * time.Microsecond
	guardLate      = 5 * guardTick
	guardQuiet     = 50 // looks without need before the guard sleeps
)

// worker runs turns on its goroutine.
type worker struct {
	d       *dispatcher
	item    item                 // the message in hand, where it does not lie in a chunk
	running *cell                // whose turn it is
	next    atomic.Pointer[cell] // made ready by the present turn: runs right after it; the guard may take it
	turns   atomic.Uint64        // odd while a turn runs
	wake    chan *cell

	// Guarded by the dispatcher's mu.
	asleep *worker // the next in the stack of idle workers
	seen   uint64  // turns, at the guard's last look
	apart  bool    // not counted as active: its turn is a long one
}

func (d *dispatcher) init(g *group.Group) {
	d.goroutines = g
	d.limit = workersPerProc * runtime.GOMAXPROCS(0)
	d.all = make(map[*worker]struct{})
}

// schedule finds a goroutine for c, which is ready. w is the worker on whose turn it became so, or nil.
func (d *dispatcher) schedule(c *cell, w *worker) {
	if w != nil && w.next.CompareAndSwap(nil, c) {
		d.arm()
		return
	}
	d.mu.Lock()
	if d.head != nil { // those who waited longer go first
		d.push(c)
		c = d.pop()
	}
	if d.active >= d.limit {
		d.push(c)
		d.mu.Unlock()
		d.arm()
		return
	}
	d.start(c)
}

// start gives c to a worker more. It unlocks mu.
func (d *dispatcher) start(c *cell) {
	d.active++
	w := d.idle
	if w != nil {
		d.idle, w.asleep = w.asleep, nil
		d.idles--
		d.mu.Unlock()
		w.wake <- c
		return
	}
	w = &worker{d: d, wake: make(chan *cell, 1)}
	d.all[w] = struct{}{}
	d.mu.Unlock()
	d.goroutines.Go("actor worker", func() { w.loop(c) })
}

// push puts c at the end of the queue; mu is held.
func (d *dispatcher) push(c *cell) {
	if d.tail == nil {
		d.head = c
	} else {
		d.tail.ready = c
	}
	d.tail = c
}

// pop takes the first of the queue, or nil; mu is held.
func (d *dispatcher) pop() *cell {
	c := d.head
	if c == nil {
		return nil
	}
	d.taken++
	if d.head, c.ready = c.ready, nil; d.head == nil {
		d.tail = nil
	}
	return c
}

func (w *worker) loop(c *cell) {
	defer w.exit()
	row := 0
	for c != nil {
		w.running = c
		w.turns.Add(1)
		again := c.turn(w)
		w.turns.Add(1)
		w.running = nil
		var next *cell
		if w.next.Load() != nil {
			next = w.next.Swap(nil)
		}
		if row++; next != nil && !again && row < nextInARow {
			c = next
			continue
		}
		row = 0
		if !again {
			c = nil
		}
		c = w.following(next, c)
	}
}

// following gives the cell to run next; next and again are ready ones that this worker still has. It
// sleeps until there is one. Nil: the worker ends.
func (w *worker) following(next, again *cell) *cell {
	d := w.d
	d.mu.Lock()
	if next != nil {
		d.push(next)
	}
	if again != nil {
		d.push(again)
	}
	if w.apart && d.active < d.limit {
		w.apart = false
		d.active++
	}
	if !w.apart {
		if c := d.pop(); c != nil {
			d.mu.Unlock()
			return c
		}
		d.active--
	}
	w.apart = false
	waits := d.head != nil // others are active, but they may be about to block
	ends := d.stopped || d.idles >= idleWorkers
	if ends {
		delete(d.all, w)
	} else {
		w.asleep, d.idle = d.idle, w
		d.idles++
	}
	d.mu.Unlock()
	if waits {
		d.arm()
	}
	if ends {
		return nil
	}
	return <-w.wake
}

// exit is for a worker whose goroutine was ended by user code: somebody else goes on with its cells.
func (w *worker) exit() {
	c := w.running
	if c == nil {
		return
	}
	d := w.d
	d.mu.Lock()
	delete(d.all, w)
	if !w.apart {
		d.active--
	}
	d.mu.Unlock()
	d.schedule(c, nil)
	w.flush()
}

// flush hands on what would run after the present turn, since that may take long now.
func (w *worker) flush() {
	if c := w.next.Swap(nil); c != nil {
		w.d.schedule(c, nil)
	}
}

// arm makes sure that the guard looks on.
func (d *dispatcher) arm() {
	if d.armed.Load() || !d.armed.CompareAndSwap(false, true) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.quiet, d.looked = 0, core.SystemClock{}.Now()
	if d.timer == nil {
		d.timer = time.AfterFunc(guardTick, d.look)
		return
	}
	d.timer.Reset(guardTick)
}

// look is one look of the guard.
func (d *dispatcher) look() {
	d.mu.Lock()
	if d.stopped {
		d.mu.Unlock()
		return
	}
	waits := d.rescue()
	if waits {
		d.quiet = 0
	} else {
		d.quiet++
	}
	if d.quiet < guardQuiet {
		d.timer.Reset(guardTick)
		d.mu.Unlock()
		return
	}
	d.mu.Unlock()
	d.armed.Store(false)
	d.mu.Lock()
	waits = d.waits() // what came before armed was false may have relied on it
	d.mu.Unlock()
	if waits {
		d.arm()
	}
}

// waits reports whether a ready cell waits for somebody; mu is held.
func (d *dispatcher) waits() bool {
	if d.head != nil {
		return true
	}
	for w := range d.all {
		if w.next.Load() != nil {
			return true
		}
	}
	return false
}

// rescue finds what waited for a tick and gives it workers. It reports whether anything waits. mu is
// held, but let go of in between.
func (d *dispatcher) rescue() bool {
	now := core.SystemClock{}.Now()
	late := now.Sub(d.looked) > guardLate // so the workers lack processors: more of them would not help
	d.looked = now
	waits := false
	for w := range d.all {
		turns := w.turns.Load()
		if turns == w.seen { // in the same turn as a tick ago, or asleep since
			if turns%2 == 1 && !w.apart {
				w.apart = true
				d.active--
			}
			if c := w.next.Swap(nil); c != nil {
				d.push(c)
			}
		}
		w.seen = turns
		waits = waits || w.next.Load() != nil
	}
	if d.head == nil {
		d.seen, d.burst = d.taken, 1
		return waits
	}
	add := max(d.limit-d.active, 0)
	switch {
	case late || d.taken != d.seen: // busy processors, or the queue moves
		d.burst = 1
	default:
		add = max(add, d.burst)
		d.burst *= 2
	}
	add = max(add, 1)
	for range add {
		c := d.pop()
		if c == nil {
			break
		}
		d.start(c)
		d.mu.Lock()
	}
	d.seen = d.taken
	return true
}

// stop ends the sleeping workers, and those that fall asleep from now on.
func (d *dispatcher) stop() {
	d.mu.Lock()
	d.stopped = true
	w := d.idle
	d.idle, d.idles = nil, 0
	for v := w; v != nil; v = v.asleep {
		delete(d.all, v)
	}
	if d.timer != nil {
		d.timer.Stop()
	}
	d.mu.Unlock()
	for w != nil {
		after := w.asleep
		w.asleep = nil
		w.wake <- nil
		w = after
	}
}
