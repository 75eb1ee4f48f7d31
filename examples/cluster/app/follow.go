package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/granary-go/granary/examples/cluster/history"
)

// until follows the run until a time.
func (d *driver) until(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	for {
		select {
		case e := <-d.events:
			d.take(e)
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wait follows the run until a condition holds.
func (d *driver) wait(ctx context.Context, limit time.Duration, what string, holds func() bool) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for !holds() {
		select {
		case e := <-d.events:
			d.take(e)
		case <-timer.C:
			return fmt.Errorf("waited %v in vain for %s", limit, what)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// take is one event of a child.
func (d *driver) take(e childEvent) {
	if e.Error != "" {
		d.trouble = append(d.trouble, fmt.Sprintf("%s: %s", e.from.name, e.Error))
	}
	if e.from == d.caller {
		d.takeCaller(e)
		return
	}
	for _, m := range d.members {
		if m.child == e.from {
			d.takeMember(m, e)
		}
	}
}

func (d *driver) takeCaller(e childEvent) {
	switch {
	case e.gone:
		d.trouble = append(d.trouble, "the caller process is gone")
	case e.Ready:
		d.ready = true
	case e.Swept > 0:
		d.swept = e.Swept
	case e.Paused:
		d.paused = true
	case e.Load != nil:
		d.say("%s", d.liveLine(*e.Load))
	}
}

func (d *driver) liveLine(l load) string {
	var running []string
	for _, m := range d.members {
		running = append(running, fmt.Sprintf("%s %d", m.name, m.running))
	}
	return fmt.Sprintf("%7d calls/s  p50 %6.0f µs  p99 %7.0f µs  %d errors  %d members  activations: %s",
		l.Calls, l.P50, l.P99, l.Errors, len(d.members), strings.Join(running, ", "))
}

func (d *driver) takeMember(m *member, e childEvent) {
	switch {
	case e.gone:
		d.record(history.Exited, m, history.Record{})
		d.say("%s is gone, and nobody asked it to", m.name)
		d.members = slices.DeleteFunc(d.members, func(o *member) bool { return o == m })
	case e.Gossip != "":
		m.id, m.gossip = e.Member, e.Gossip
		d.record(history.Spawned, m, history.Record{Ns: m.born})
	case e.Ready:
		m.ready = true
		d.say("%s is ready, member %s", m.name, m.id)
	case e.Hash != "":
		m.hash, m.listed = e.Hash, e.Members
	case e.Running != nil:
		m.running = *e.Running
	}
}

// agreed reports whether all members are ready and report one topology that lists just them.
func (d *driver) agreed() bool {
	for _, m := range d.members {
		if !m.ready || m.hash == "" || m.hash != d.members[0].hash || len(m.listed) != len(d.members) {
			return false
		}
		if !slices.Contains(m.listed, d.members[0].id) {
			return false
		}
	}
	return len(d.members) > 0
}

// end pauses the load, ends every process, and records how many would not.
func (d *driver) end() {
	ctx := context.Background() // the run is over, also when it was interrupted: this is the way out
	if d.caller != nil {
		d.record(history.Load, nil, history.Record{Phase: "end"})
		d.caller.tell(order{Do: doPause})
		if err := d.wait(ctx, d.opts.Timeout+5*time.Second, "the calls to end", func() bool { return d.paused || d.isGone(d.caller) }); err != nil {
			d.trouble = append(d.trouble, err.Error())
		}
	}
	d.say("ending %d processes", d.running())
	for _, m := range d.members {
		d.record(history.Stopping, m, history.Record{})
	}
	for _, c := range d.all {
		c.tell(order{Do: doStop})
	}
	close(d.done)
	deadline := time.After(processLimit)
	left := 0
	for _, c := range d.all {
		if !c.waitUntil(deadline) {
			left++
			_ = c.kill()
			<-c.exited
		}
	}
	d.record(history.Left, nil, history.Record{Count: left})
}

func (d *driver) isGone(c *child) bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

func (d *driver) running() int {
	n := 0
	for _, c := range d.all {
		if !d.isGone(c) {
			n++
		}
	}
	return n
}
