package sim

import (
	"fmt"
	"time"
)

// Trace is what happened in a run, as a hash by which two runs are compared and, if wanted, as text.
type Trace struct {
	keep  bool
	hash  uint64
	lines []string
}

// NewTrace makes an empty one; with keep it holds the text too.
func NewTrace(keep bool) *Trace { return &Trace{keep: keep, hash: fnvBasis} }

const (
	fnvBasis = 14695981039346656037
	fnvPrime = 1099511628211
)

// Add appends one event: who did what, to or about whom, with numbers that tell it from others.
func (t *Trace) Add(at time.Duration, who, what, about string, numbers ...uint64) {
	t.number(uint64(at))
	t.text(who)
	t.text(what)
	t.text(about)
	for _, n := range numbers {
		t.number(n)
	}
	if t.keep {
		t.lines = append(t.lines, line(at, who, what, about, numbers))
	}
}

func line(at time.Duration, who, what, about string, numbers []uint64) string {
	s := fmt.Sprintf("%12.6f %-10s %-22s %s", at.Seconds(), who, what, about)
	for _, n := range numbers {
		s += fmt.Sprintf(" %d", n)
	}
	return s
}

// Hash covers all events and their order.
func (t *Trace) Hash() uint64 { return t.hash }

// Lines is the text, if it was kept.
func (t *Trace) Lines() []string { return t.lines }

func (t *Trace) text(s string) {
	for i := range len(s) {
		t.hash = (t.hash ^ uint64(s[i])) * fnvPrime
	}
	t.hash = (t.hash ^ 0xff) * fnvPrime // ends the string
}

func (t *Trace) number(n uint64) {
	for range 8 {
		t.hash = (t.hash ^ n&0xff) * fnvPrime
		n >>= 8
	}
}

// Tally counts by name.
type Tally map[string]int

// Add adds o to t.
func (t Tally) Add(o Tally) {
	for name, n := range o {
		t[name] += n
	}
}
