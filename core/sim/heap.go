package sim

import "time"

// Heap is virtual time: what is to happen, in order. Events of one instant happen in the order in
// which they were added. It is for one goroutine.
type Heap struct {
	Limit int // of all events; 0: none

	now   time.Duration
	seq   uint64
	queue []*Timer
	steps int
}

// Timer is one event to come.
type Timer struct {
	at   time.Duration
	seq  uint64
	f    func() // nil: stopped, or over
	heap *Heap
}

// Now is the time since the beginning.
func (h *Heap) Now() time.Duration { return h.now }

// Steps counts the events that have happened.
func (h *Heap) Steps() int { return h.steps }

// After has f called d from now; a negative d counts as zero.
func (h *Heap) After(d time.Duration, f func()) *Timer {
	h.seq++
	t := &Timer{at: h.now + max(d, 0), seq: h.seq, f: f, heap: h}
	h.queue = append(h.queue, t)
	h.up(len(h.queue) - 1)
	return t
}

// Stop keeps the event from happening; it reports whether it would have.
func (t *Timer) Stop() bool {
	was := t.f != nil
	t.f = nil
	return was
}

// Run lets happen what comes up to the time end, which is Now afterwards. It is false if Limit events
// were not enough: something goes round in circles.
func (h *Heap) Run(end time.Duration) bool {
	for len(h.queue) > 0 && h.queue[0].at <= end {
		if h.Limit > 0 && h.steps >= h.Limit {
			return false
		}
		h.step()
	}
	h.now = max(h.now, end)
	return true
}

func (h *Heap) step() {
	t := h.pop()
	if t.f == nil {
		return
	}
	h.now = t.at
	h.steps++
	f := t.f
	t.f = nil
	f()
}

func (t *Timer) before(o *Timer) bool {
	return t.at < o.at || t.at == o.at && t.seq < o.seq
}

func (h *Heap) pop() *Timer {
	first, last := h.queue[0], len(h.queue)-1
	h.queue[0] = h.queue[last]
	h.queue[last] = nil
	h.queue = h.queue[:last]
	h.down(0)
	return first
}

func (h *Heap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.queue[i].before(h.queue[parent]) {
			return
		}
		h.queue[i], h.queue[parent] = h.queue[parent], h.queue[i]
		i = parent
	}
}

func (h *Heap) down(i int) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(h.queue); c++ {
			if h.queue[c].before(h.queue[least]) {
				least = c
			}
		}
		if least == i {
			return
		}
		h.queue[i], h.queue[least] = h.queue[least], h.queue[i]
		i = least
	}
}
