package cluster

import "time"

// sweepPeriod is how often activations are looked over for passivation: often enough for the kind of
// the shortest idle time. Zero: no kind has one.
func (n *Node) sweepPeriod() time.Duration {
	var shortest time.Duration
	for _, k := range n.kinds {
		if k.idle > 0 && (shortest == 0 || k.idle < shortest) {
			shortest = k.idle
		}
	}
	if shortest == 0 {
		return 0
	}
	return min(max(shortest/8, 5*time.Millisecond), 10*time.Second)
}

// idleAt reports whether a has been idle for its kind's time at the coarse time now. Uses are noted by
// the coarse time as well, which may be a sweep behind: so a sweep more has to pass.
func (a *activation) idleAt(now int64) bool {
	return a.kind.idle > 0 && now-a.last.Load() >= int64(a.kind.idle+a.node.sweep)
}

// sweepIdle looks over all activations and asks those that were idle for long enough to end. There
// is no timer an activation.
func (n *Node) sweepIdle(stop <-chan struct{}) {
	due := make(chan struct{}, 1)
	var cancel func() bool
	arm := func() {
		cancel = n.clock.AfterFunc(n.sweep, func() { due <- struct{}{} })
	}
	arm()
	for {
		select {
		case <-due:
		case <-stop:
			cancel()
			return
		}
		now := int64(n.clock.Now().Sub(n.made))
		n.coarse.Store(now)
		for a := range n.acts.all() {
			if a.idleAt(now) {
				_ = n.sys.Nudge(a.ref, idleCheck{}) // it may be ending already
			}
		}
		arm()
	}
}
