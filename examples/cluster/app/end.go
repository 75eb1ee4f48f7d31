package app

import (
	"context"
	"time"

	"github.com/granary-go/granary/examples/cluster/history"
)

// How long each step of the end may take once the user has asked for it: 7 s in all, and what is left until
// hurriedEnd is for judging, so that the program has ended within 10 s. Without that, calls have the time
// that they were given, processes processLimit, and the judge all that it takes.
const (
	hurriedEnd    = 8 * time.Second // after the interruption the judge stops reading
	hurriedPause  = time.Second
	cancelLimit   = time.Second
	hurriedLeave  = 5 * time.Second
	hurriedStop   = 3 * time.Second // of a node that is told so; it takes half a second more
	pauseOverhead = 2 * time.Second // for calls that end at their very deadline to be written
)

// end ends the load and every process, and records how many would not. It goes on when the user
// interrupts, only faster.
func (d *driver) end(ctx context.Context) {
	d.ending = true
	d.interrupted(ctx)
	d.record(history.Load, nil, history.Record{Phase: history.End})
	d.endLoad(ctx)
	d.agreeAtEnd(ctx)
	left := d.endProcesses(ctx)
	d.interrupted(ctx)
	d.record(history.Left, nil, history.Record{Count: left})
}

// agreeAtEnd waits until the members agree once more. That they do not is for the judge to say.
func (d *driver) agreeAtEnd(ctx context.Context) {
	_ = d.wait(ctx, agreeLimit, "the members to agree at the end", func() bool { return d.broken != nil || d.agreed() })
}

// interrupted records, once, that the user has ended the run.
func (d *driver) interrupted(ctx context.Context) {
	if ctx.Err() != nil && !d.cut {
		d.cut = true
		d.record(history.Interrupted, nil, history.Record{})
		d.say("interrupted")
	}
}

// endLoad waits for the outstanding calls; those that take too long for the user are cancelled.
func (d *driver) endLoad(ctx context.Context) {
	if d.caller == nil {
		return
	}
	d.caller.tell(order{Do: doPause})
	idle := func() bool { return d.paused || d.caller.gone }
	err := d.finish(ctx, d.opts.Timeout+pauseOverhead, hurriedPause, "the calls to end", idle)
	if err == nil {
		return
	}
	if ctx.Err() == nil {
		d.troubled(err)
	}
	d.caller.tell(order{Do: doCancel})
	if err := d.finish(ctx, cancelLimit, cancelLimit, "the calls to end after they were cancelled", idle); err != nil {
		d.troubled(err)
	}
}

// endProcesses asks all to end, kills those that do not, and tells how many that were.
func (d *driver) endProcesses(ctx context.Context) (left int) {
	d.say("ending %d processes", d.running())
	for _, m := range d.members {
		m.leaving = true
		if m.id != "" {
			d.record(history.Stopping, m, history.Record{})
		}
	}
	if d.awaitEnds(ctx) != nil {
		left = d.running()
		for _, c := range d.all {
			if !c.gone {
				d.say("%s does not end, and is killed", c.name)
				_ = c.kill() // it may end by itself this moment
			}
		}
	}
	for d.running() > 0 {
		d.take(<-d.events)
	}
	close(d.done)
	return left
}

// awaitEnds asks all processes to end and waits until they have; once the user waits, to hurry.
func (d *driver) awaitEnds(ctx context.Context) error {
	ended := func() bool { return d.running() == 0 }
	d.stopAll(ctx.Err() != nil)
	err := d.wait(ctx, d.patience(), "the processes to end", ended)
	if err == nil || ctx.Err() == nil {
		return err
	}
	d.stopAll(true)
	return d.wait(context.WithoutCancel(ctx), min(d.patience(), hurriedLeave), "the processes to end", ended)
}

func (d *driver) stopAll(hurried bool) {
	for _, c := range d.all {
		c.tell(order{Do: doStop, Hurried: hurried})
	}
}

// finish is wait with a limit of its own for a user who has no patience any more.
func (d *driver) finish(ctx context.Context, limit, hurried time.Duration, what string, holds func() bool) error {
	began := time.Now()
	err := d.wait(ctx, limit, what, holds)
	if err != nil && ctx.Err() != nil {
		err = d.wait(context.WithoutCancel(ctx), min(hurried, limit-time.Since(began)), what, holds)
	}
	return err
}

func (d *driver) running() (n int) {
	for _, c := range d.all {
		if !c.gone {
			n++
		}
	}
	return n
}
