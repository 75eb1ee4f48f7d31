package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/granary-go/granary/examples/cluster/history"
)

// until follows the run until a time.
func (d *driver) until(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	for d.broken == nil {
		select {
		case e := <-d.events:
			d.take(e)
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return d.broken
}

// wait follows the run until a condition holds.
func (d *driver) wait(ctx context.Context, limit time.Duration, what string, holds func() bool) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for !holds() {
		if d.broken != nil && !d.ending {
			return d.broken
		}
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
	e.from.gone = e.last
	if e.Error != "" {
		d.troubled(fmt.Errorf("%s: %s", e.from.name, e.Error))
	}
	if m := d.byChild[e.from]; m != nil {
		d.takeMember(m, e)
	} else {
		d.takeCaller(e)
	}
}

func (d *driver) takeCaller(e childEvent) {
	switch {
	case e.last && !d.ending:
		d.broken = errors.New("the caller process ended, and nobody had asked it to")
	case e.Ready:
		d.ready = true
	case e.Swept > 0:
		d.swept = e.Swept
	case e.Paused:
		d.paused = true
	case e.Load != nil:
		d.say("%7d calls/s  p50 %6.0f µs  p99 %7.0f µs  %d errors  %d members  activations: %s",
			e.Load.Calls, e.Load.P50, e.Load.P99, e.Load.Errors, len(d.members), d.shares())
	}
}

func (d *driver) takeMember(m *member, e childEvent) {
	switch {
	case e.last:
		d.takeGone(m)
	case e.Member != "":
		m.id, m.gossip = e.Member, e.Gossip
		d.record(history.Spawned, m, history.Record{Ns: m.born, Phase: m.phase})
		if m.leaving { // it was asked to end before it had a name
			d.record(history.Stopping, m, history.Record{})
		}
	case e.Ready:
		m.ready = true
		d.say("%s is ready, member %s", m.name, m.id)
	case e.Hash != "":
		m.hash, m.listed = e.Hash, e.Members
	case e.Running != nil:
		m.running, m.counted = *e.Running, true
	}
}

func (d *driver) takeGone(m *member) {
	if m.id != "" {
		d.record(history.Exited, m, history.Record{})
	}
	if m.leaving {
		return
	}
	d.broken = fmt.Errorf("%s ended, and nobody had asked it to", m.name)
	d.say("%v", d.broken)
	d.part(m)
}

// agreed reports whether all members are ready and report one topology that lists just them.
func (d *driver) agreed() bool {
	for _, m := range d.members {
		if !m.ready || m.hash == "" || m.hash != d.members[0].hash || len(m.listed) != len(d.members) {
			return false
		}
		for _, other := range d.members {
			if !slices.Contains(m.listed, other.id) {
				return false
			}
		}
	}
	return len(d.members) > 0
}
