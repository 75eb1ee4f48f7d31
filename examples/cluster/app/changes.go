package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/granary-go/granary/examples/cluster/history"
)

// form starts the first member, then the others with it as their seed, and waits until all agree.
func (d *driver) form(ctx context.Context) error {
	for i := range d.opts.Members {
		m, err := d.startMember(history.Form)
		if err != nil {
			return err
		}
		if i == 0 {
			if err := d.wait(ctx, formLimit, "the first member to start", func() bool { return m.ready }); err != nil {
				return err
			}
		}
	}
	if err := d.wait(ctx, formLimit, "the members to agree", d.agreed); err != nil {
		return err
	}
	d.say("all %d members agree on the topology", len(d.members))
	return nil
}

func (d *driver) startMember(phase string) (*member, error) {
	d.named++
	m := &member{phase: phase}
	var err error
	if m.child, err = d.spawn(roleMember, fmt.Sprintf("m%d", d.named)); err != nil {
		return nil, err
	}
	d.members = append(d.members, m)
	d.byChild[m.child] = m
	return m, nil
}

// spawn starts a process with the present members as its seeds.
func (d *driver) spawn(role, name string) (*child, error) {
	born := d.rec.Now()
	c, err := spawn(start{Role: role, Name: name, Dir: d.dir, Seeds: d.seeds(), Server: d.server.address, Cluster: d.cluster, Options: d.opts}, d.stderr, d.events, d.done)
	if err != nil {
		return nil, err
	}
	c.born = born
	d.all = append(d.all, c)
	d.say("%s started, process %d", name, c.cmd.Process.Pid)
	return c, nil
}

func (d *driver) seeds() (seeds []string) {
	for _, m := range d.members {
		if m.gossip != "" {
			seeds = append(seeds, m.gossip)
		}
	}
	return seeds
}

func (d *driver) startCaller(ctx context.Context) error {
	var err error
	if d.caller, err = d.spawn(roleCaller, "caller"); err != nil {
		return err
	}
	if err := d.wait(ctx, formLimit, "the caller to be ready", func() bool { return d.ready }); err != nil {
		return err
	}
	d.say("%d callers begin", d.opts.Callers)
	began := time.Now()
	err = d.settleWithin(ctx, formLimit+time.Duration(d.opts.Identities)*perIdentity, "after forming", began)
	d.plain = time.Since(began)
	return err
}

// settle is settleWithin for a change. There is no point in waiting much longer than the bound of a
// recovery, to which the judge adds what it takes to call every identity.
func (d *driver) settle(ctx context.Context, when string, since time.Time) error {
	return d.settleWithin(ctx, d.opts.Recovery+3*d.plain+2*time.Second, when, since)
}

// settleWithin waits for what makes a change recovered: the members agree, and every identity answers.
func (d *driver) settleWithin(ctx context.Context, limit time.Duration, when string, since time.Time) error {
	d.sweeps++
	number, agreed, swept := d.sweeps, false, false
	d.caller.tell(order{Do: doSweep, Sweep: number})
	err := d.wait(ctx, limit, "the members to agree and every identity to answer "+when, func() bool {
		if !agreed && d.agreed() {
			agreed = true
			d.say("the %d members agree %s: %.1f s", len(d.members), when, time.Since(since).Seconds())
		}
		if !swept && d.swept >= number {
			swept = true
			d.say("all %d identities answer %s: %.1f s", d.opts.Identities, when, time.Since(since).Seconds())
		}
		return agreed && swept
	})
	if err != nil {
		return err
	}
	return d.tellShares(ctx)
}

// tellShares shows how the activations are spread.
func (d *driver) tellShares(ctx context.Context) error {
	for _, m := range d.members {
		m.counted = false
		m.tell(order{Do: doCount})
	}
	err := d.wait(ctx, agreeLimit, "the members to tell their activations", func() bool {
		return !slices.ContainsFunc(d.members, func(m *member) bool { return !m.counted })
	})
	if err == nil {
		d.say("activations: %s", d.shares())
	}
	return err
}

func (d *driver) shares() string {
	var running []string
	for _, m := range d.members {
		running = append(running, fmt.Sprintf("%s %d", m.name, m.running))
	}
	return strings.Join(running, ", ")
}

func (d *driver) killOne(ctx context.Context) error {
	victim := d.members[d.rng.IntN(len(d.members))]
	if err := d.kill(victim); err != nil {
		return err
	}
	return d.settle(ctx, "after the kill", time.Now())
}

// kill ends a member's process as a power cut would.
func (d *driver) kill(victim *member) error {
	d.part(victim)
	before := d.rec.Now()
	if err := victim.kill(); err != nil {
		return fmt.Errorf("kill %s: %w", victim.name, err)
	}
	d.record(history.Killed, victim, history.Record{Start: before})
	d.say("%s killed with SIGKILL; nobody tells the others", victim.name)
	return nil
}

// part takes a member out of those that are to agree.
func (d *driver) part(m *member) {
	m.leaving = true
	d.members = slices.DeleteFunc(d.members, func(o *member) bool { return o == m })
}

func (d *driver) joinOne(ctx context.Context) error {
	return d.add(ctx, history.Join, "after the join")
}

func (d *driver) add(ctx context.Context, phase, when string) error {
	since := time.Now()
	m, err := d.startMember(phase)
	if err != nil {
		return err
	}
	if err := d.wait(ctx, formLimit, m.name+" to be ready", func() bool { return m.ready }); err != nil {
		return err
	}
	return d.settle(ctx, when, since)
}

func (d *driver) restartAll(ctx context.Context) error {
	for _, m := range slices.Clone(d.members) {
		if err := d.restart(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// restart has a member leave, and another take its place.
func (d *driver) restart(ctx context.Context, m *member) error {
	d.record(history.Stopping, m, history.Record{})
	d.say("%s is asked to leave", m.name)
	since := time.Now()
	d.part(m)
	m.tell(order{Do: doStop})
	if err := d.wait(ctx, d.patience(), m.name+" to leave", func() bool { return m.gone }); err != nil {
		return err
	}
	d.say("%s has left: %.1f s", m.name, time.Since(since).Seconds())
	return d.add(ctx, history.Restart, "after the restart of "+m.name)
}
