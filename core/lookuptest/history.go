package lookuptest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
)

// happening is what a host recorded of one activation.
type happening uint8

const (
	started  happening = iota + 1 // the mailbox accepts messages
	stopped                       // the Stopped turn is over
	vanished                      // its process ended without a word
)

func (h happening) String() string {
	return [...]string{"?", "started", "stopped", "vanished"}[h]
}

// event is one line of a history.
type event struct {
	at   time.Duration
	what happening
	a    core.Activation
}

func (e event) String() string {
	return fmt.Sprintf("%v %s %s on %s, token %s", e.at, e.a.Identity, e.what, e.a.PID.Member, e.a.Token)
}

// history is what all hosts of one cluster recorded, in one order.
type history struct {
	start  time.Time
	mu     sync.Mutex // guards events
	events []event
}

func newHistory() *history { return &history{start: time.Now()} }

func (h *history) add(what happening, a core.Activation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, event{time.Since(h.start), what, a})
}

func (h *history) all() []event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.events)
}

// starts counts the activations of id so far.
func (h *history) starts(id core.Identity) int {
	n := 0
	for _, e := range h.all() {
		if e.what == started && e.a.Identity == id {
			n++
		}
	}
	return n
}

// overlaps tells of every activation that started while another of its identity ran.
func overlaps(events []event) []string {
	var out []string
	running := map[core.Identity][]core.Activation{}
	for _, e := range events {
		id := e.a.Identity
		if e.what != started {
			running[id] = slices.DeleteFunc(running[id], func(a core.Activation) bool { return a == e.a })
			continue
		}
		for _, a := range running[id] {
			out = append(out, fmt.Sprintf("%v: while token %s ran on %s", e, a.Token, a.PID.Member))
		}
		running[id] = append(running[id], e.a)
	}
	return out
}

// regressions tells of every activation whose token is not above all earlier ones of its identity.
func regressions(events []event) []string {
	var out []string
	greatest := map[core.Identity]core.Token{}
	for _, e := range events {
		if e.what != started {
			continue
		}
		if before := greatest[e.a.Identity]; e.a.Token.Compare(before) <= 0 {
			out = append(out, fmt.Sprintf("%v: not above %s", e, before))
			continue
		}
		greatest[e.a.Identity] = e.a.Token
	}
	return out
}
