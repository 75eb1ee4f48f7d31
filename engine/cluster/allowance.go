package cluster

import (
	"context"
	"time"
)

// cutGrace is how long the rest of a stop may take once the ctx of Stop has ended.
const cutGrace = 500 * time.Millisecond

// allowance is the time of a stop: all of its steps share one end.
type allowance struct {
	n      *Node
	ctx    context.Context // of Stop
	end    time.Time
	cut    bool // ctx has ended, and so does the stop soon
	shares int  // of this step and of those to come
}

func (n *Node) newAllowance(ctx context.Context, undo []step) *allowance {
	a := &allowance{n: n, ctx: ctx, end: n.clock.Now().Add(n.cfg.StopTimeout)}
	for _, s := range undo {
		a.shares += s.share
	}
	return a
}

// limit is how long s may take from now: its share of what is left. What the steps before have saved
// goes to those after, up to a quarter of the whole: so neither a busy machine nor one part that hangs
// takes the time of the rest.
func (a *allowance) limit(s step) time.Duration {
	now := a.n.clock.Now()
	if !a.cut && a.ctx.Err() != nil {
		a.cut = true
		if end := now.Add(cutGrace); end.Before(a.end) {
			a.end = end
		}
	}
	rest := a.end.Sub(now) * time.Duration(s.share) / time.Duration(a.shares)
	most := max(a.n.cfg.StopTimeout*time.Duration(s.share)/100, a.n.cfg.StopTimeout/4)
	return max(0, min(rest, most))
}
