package actor

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Directive is what happens to an actor that failed.
type Directive uint8

// The directives.
const (
	Restart  Directive = iota // a new incarnation handles the following messages; the one in hand is lost
	Resume                    // the same incarnation goes on with the following messages
	Halt                      // the actor is stopped
	Escalate                  // the supervisor fails itself; without one above, the actor is stopped
)

// String is the name of the directive in lower case.
func (d Directive) String() string {
	switch d {
	case Restart:
		return "restart"
	case Resume:
		return "resume"
	case Halt:
		return "halt"
	case Escalate:
		return "escalate"
	}
	return "invalid"
}

// Verdict is a Strategy's answer to a Failure.
type Verdict struct {
	Directive Directive
	All       bool          // for all children of the supervisor, not only the one that failed
	After     time.Duration // before a restart; the actor's messages wait
}

// Failure is what a Strategy is told.
type Failure struct {
	Child   *Ref
	Err     error // a *PanicError, an *EscalatedError, or what made Props.New fail
	Message any   // in hand at that moment; nil for a failure at start
	Now     time.Time
	History []Crash // of this actor, the latest last, this one included; the last 128
}

// Crash is one failure in an actor's life.
type Crash struct {
	At time.Time
	Up time.Duration // how long the incarnation had run; 0 for the first incarnation
}

// historyLimit bounds Failure.History.
const historyLimit = 128

// Recent is the number of failures within the last window, this one included.
func (f *Failure) Recent(window time.Duration) (n int) {
	for _, c := range f.History {
		if f.Now.Sub(c.At) < window {
			n++
		}
	}
	return n
}

// Streak is the number of failures in a row, this one included, between which the actor never ran as
// long as healthy.
func (f *Failure) Streak(healthy time.Duration) int {
	n := 0
	for i := len(f.History) - 1; i >= 0; i-- {
		n++
		if f.History[i].Up >= healthy {
			break
		}
	}
	return n
}

// Strategy decides what happens to an actor that failed. It is called on the turn of the supervising
// actor, or, for an actor without a parent, on the actor's own; one value may serve many actors at
// once. It must not keep f. A panic in it stops the actor that failed.
type Strategy interface {
	Decide(f *Failure) Verdict
}

// StrategyFunc is a Strategy as a function.
type StrategyFunc func(f *Failure) Verdict

// Decide calls f.
func (s StrategyFunc) Decide(f *Failure) Verdict { return s(f) }

// OneForOne deals with each child apart. Its zero value restarts a child at once, up to 10 times in
// 10 s, and then stops it.
type OneForOne struct {
	MaxRestarts int           // in Window; 0: 10; negative: none; over 127: no bound
	Window      time.Duration // 0: 10 s

	// Choose picks by cause; nil: always Restart. Only restarts are counted against MaxRestarts.
	Choose func(err error) Directive
}

// Decide implements Strategy.
func (s OneForOne) Decide(f *Failure) Verdict {
	d := Restart
	if s.Choose != nil {
		d = s.Choose(f.Err)
	}
	if d == Restart && !allowed(f, s.MaxRestarts, s.Window) {
		d = Halt
	}
	return Verdict{Directive: d}
}

// AllForOne deals with all children when one fails. Otherwise it is like OneForOne.
type AllForOne OneForOne

// Decide implements Strategy.
func (s AllForOne) Decide(f *Failure) Verdict {
	v := OneForOne(s).Decide(f)
	v.All = v.Directive != Escalate
	return v
}

func allowed(f *Failure, restarts int, window time.Duration) bool {
	restarts = cmp.Or(restarts, 10)
	return restarts >= historyLimit || f.Recent(cmp.Or(window, 10*time.Second)) <= restarts
}

// Backoff restarts a child after a time that doubles with each failure in a row: Initial, 2×Initial,
// 4×Initial, … up to Max. Its zero value starts at 100 ms, goes up to 30 s, and never gives up.
type Backoff struct {
	Initial     time.Duration // 0: 100 ms
	Max         time.Duration // 0: 30 s
	Healthy     time.Duration // a child that ran this long starts at Initial again; 0: Max
	Jitter      float64       // share of the time that is drawn at random and taken off: 0 to 1
	MaxRestarts int           // failures in a row after which the child is stopped; 0: no bound; at most 128
}

// Decide implements Strategy.
func (s Backoff) Decide(f *Failure) Verdict {
	initial, limit := s.Initial, s.Max
	if initial <= 0 {
		initial = 100 * time.Millisecond
	}
	if limit <= 0 {
		limit = 30 * time.Second
	}
	healthy := s.Healthy
	if healthy <= 0 {
		healthy = limit
	}
	n := f.Streak(healthy)
	if s.MaxRestarts > 0 && n > min(s.MaxRestarts, historyLimit-1) {
		return Verdict{Directive: Halt}
	}
	wait := limit
	if double := float64(initial) * math.Pow(2, float64(n-1)); double < float64(limit) {
		wait = time.Duration(double)
	}
	if j := min(max(s.Jitter, 0), 1); j > 0 {
		wait -= time.Duration(j * rand.Float64() * float64(wait))
	}
	return Verdict{Directive: Restart, After: wait}
}

// AlwaysHalt is the Strategy that stops an actor at its first failure.
type AlwaysHalt struct{}

// Decide implements Strategy.
func (AlwaysHalt) Decide(*Failure) Verdict { return Verdict{Directive: Halt} }

// EscalatedError is the failure of an actor whose child's failure was escalated.
type EscalatedError struct {
	Child *Ref
	Err   error
}

// Error names the child and the cause.
func (e *EscalatedError) Error() string {
	return fmt.Sprintf("actor: child %s failed: %v", e.Child, e.Err)
}

// Unwrap is the failure of the child.
func (e *EscalatedError) Unwrap() error { return e.Err }

// crash is a failure on its way to the supervisor.
type crash struct {
	err error
	msg any
}

type (
	childFailed struct {
		child   *cell
		failure Failure
	}
	verdict    Verdict
	restartNow struct{ incarnation uint64 }
)

// fail marks the cell failed; the next step of its turn tells the supervisor. Until the verdict its
// messages wait.
func (c *cell) fail(err error, msg any) {
	switch {
	case c.phase == leaving:
		return // it asked to be stopped, and is
	case c.phase >= restarting:
		c.postControl(goOn{}) // a lifecycle message ended the goroutine: what it interrupted goes on
		return
	}
	m := c.extra()
	now := c.ref.sys.clock.Now()
	var up time.Duration
	if m.begunAt != 0 {
		up = time.Duration(now.UnixNano() - m.begunAt)
	}
	if len(m.history) == historyLimit {
		m.history = append(m.history[:0], m.history[1:]...)
	}
	m.history = append(m.history, Crash{At: now, Up: up})
	m.crash = &crash{err, msg}
	c.phase = failed
	c.box.suspend(true)
}

// tellSupervisor asks the parent, or the guardian of an actor without one, for a verdict.
func (c *cell) tellSupervisor() {
	m := c.more
	f := Failure{Child: &c.ref, Err: m.crash.err, Message: m.crash.msg, Now: c.ref.sys.clock.Now(), History: append([]Crash(nil), m.history...)}
	m.crash = nil
	c.phase = judged
	if c.parent != nil {
		if !c.parent.postControl(&childFailed{c, f}) {
			c.beginStop()
		}
		return
	}
	s := c.props.Guardian
	if s == nil {
		s = c.props.Supervisor
	}
	v := c.ref.sys.decide(s, &f)
	if v.Directive == Escalate {
		c.ref.sys.log.Error("actor: failure escalated above the top: the actor is stopped", "actor", c.ref.id, "error", f.Err)
		v.Directive = Halt
	}
	c.apply(verdict(v))
}

// superviseChild decides about a child, on the parent's turn.
func (c *cell) superviseChild(m *childFailed) {
	if c.phase >= stopping {
		m.child.postControl(verdict{Directive: Halt})
		return
	}
	s := c.props.Supervisor
	if own, ok := c.actor.(Strategy); ok {
		s = own
	}
	v := c.ref.sys.decide(s, &m.failure)
	if v.Directive == Escalate {
		if c.phase == live || c.phase == leaving {
			c.fail(&EscalatedError{Child: m.failure.Child, Err: m.failure.Err}, m.failure.Message)
		}
		return // the child waits: it is stopped or resumed with its parent
	}
	if !v.All {
		m.child.postControl(verdict(v))
		return
	}
	for _, child := range c.more.children {
		child.postControl(verdict(v))
	}
}

// apply carries out a verdict on this cell.
func (c *cell) apply(v verdict) {
	switch {
	case c.phase >= restarting:
	case v.Directive == Halt:
		c.beginStop()
	case v.Directive == Resume:
		c.resume()
	case v.Directive == Restart && c.phase != born:
		c.ref.sys.log.Warn("actor: restart", "actor", c.ref.id, "after", v.After)
		if v.After <= 0 {
			c.restart()
			return
		}
		c.phase = judged
		c.box.suspend(true)
		m := c.extra()
		now := restartNow{m.incarnation}
		m.unjudge = c.ref.sys.clock.AfterFunc(v.After, func() { c.postControl(now) })
	}
}

// resume goes on with the present incarnation. Without one, since New failed, there is only a restart.
func (c *cell) resume() {
	if c.phase != judged || c.extra().unjudge != nil {
		return // what a back-off waits for stays a restart
	}
	if c.actor == nil {
		c.restart()
		return
	}
	c.phase = live
	c.box.suspend(false)
	if c.more != nil {
		for _, child := range c.more.children { // those whose failure was escalated wait too
			child.postControl(verdict{Directive: Resume})
		}
	}
}

// decide asks a strategy, which is user code.
func (s *System) decide(strategy Strategy, f *Failure) (v Verdict) {
	if strategy == nil {
		strategy = OneForOne{}
	}
	v = Verdict{Directive: Halt}
	_ = s.protect(f.Child, "Strategy.Decide", func() { v = strategy.Decide(f) }) // logged; the verdict stands
	if s.events.active() {
		s.events.Publish(Failed{Who: f.Child, Err: f.Err, Verdict: v})
	}
	return v
}

// Failed is published on the event stream for each failure of an actor.
type Failed struct {
	Who     *Ref
	Err     error
	Verdict Verdict
}
