package app

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/granary-go/granary/examples/cluster/history"
)

// driver starts the processes, makes the changes, and follows the run. One goroutine owns it; the
// children speak to it by events.
type driver struct {
	opts    Options
	out     io.Writer // for people
	stderr  io.Writer
	dir     string
	rec     *history.Writer
	rng     *rand.Rand
	began   time.Time
	events  chan childEvent
	done    chan struct{}
	members []*member // alive
	caller  *child
	all     []*child
	ready   bool // the caller
	swept   int
	named   int
	loaded  bool
	paused  bool
	trouble []string
}

// member is a member process as the driver knows it.
type member struct {
	*child
	id      string
	gossip  string
	ready   bool
	hash    string
	listed  []string
	running int
	leaving bool
}

const (
	processLimit = 12 * time.Second // for a process to end after it was asked to
	formLimit    = 60 * time.Second
)

func newDriver(o Options, people, stderr io.Writer) (*driver, error) {
	dir := o.History
	var err error
	if dir == "" {
		dir, err = os.MkdirTemp("", "granary-cluster-")
	} else {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return nil, err
	}
	rec, err := history.Create(dir, "driver", true)
	if err != nil {
		return nil, err
	}
	return &driver{opts: o, out: people, stderr: stderr, dir: dir, rec: rec, began: time.Now(),
		rng:    rand.New(rand.NewPCG(o.Seed, 0)),
		events: make(chan childEvent, 256), done: make(chan struct{})}, nil
}

func (d *driver) config() history.Config {
	o := d.opts
	return history.Config{Seed: o.Seed, Provider: o.Provider, Lookup: o.Lookup, Level: o.Level, Members: o.Members,
		Callers: o.Callers, Identities: o.Identities, TimeoutSeconds: o.Timeout.Seconds(),
		RecoverySeconds: recoveryBounds[o.Provider].Seconds(), Kill: o.Kill, Join: o.Join, Rolling: o.Rolling}
}

func (d *driver) say(format string, args ...any) {
	fmt.Fprintf(d.out, "%6.1fs  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

func (d *driver) record(event string, m *member, r history.Record) {
	r.Event = event
	if r.Ns == 0 {
		r.Ns = d.rec.Now()
	}
	if m != nil {
		r.Member = m.id
	}
	d.rec.Write(r)
}

// run carries the plan out. Whatever goes wrong on the way, the processes are ended.
func (d *driver) run(ctx context.Context) {
	config := d.config()
	d.record(history.Configured, nil, history.Record{Config: &config})
	if err := d.plan(ctx); err != nil && ctx.Err() == nil {
		d.trouble = append(d.trouble, err.Error())
	}
	d.end()
}

func (d *driver) plan(ctx context.Context) error {
	d.say("forming a cluster of %d processes, %s and %s, seed %d", d.opts.Members, d.opts.Provider, d.opts.Lookup, d.opts.Seed)
	if err := d.form(ctx); err != nil {
		return err
	}
	if err := d.startCaller(ctx); err != nil {
		return err
	}
	d.record(history.Load, nil, history.Record{Phase: "begin"})
	d.loaded = true
	d.caller.tell(order{Do: doLoad})
	start := time.Now()
	for _, c := range d.changes() {
		if err := d.until(ctx, start.Add(c.at)); err != nil {
			return err
		}
		if err := c.do(ctx); err != nil {
			return err
		}
	}
	return d.until(ctx, start.Add(d.opts.For))
}

// planned is one change at its planned time.
type planned struct {
	at time.Duration
	do func(context.Context) error
}

func (d *driver) changes() []planned {
	var list []planned
	if d.opts.Kill {
		list = append(list, planned{d.opts.For / 3, d.killOne})
	}
	if d.opts.Rolling {
		list = append(list, planned{d.opts.For / 2, d.restartAll})
	}
	if d.opts.Join {
		list = append(list, planned{d.opts.For * 2 / 3, d.joinOne})
	}
	return list
}

// form starts the first member, then the others with it as their seed, and waits until all agree.
func (d *driver) form(ctx context.Context) error {
	for i := range d.opts.Members {
		m, err := d.startMember()
		if err != nil {
			return err
		}
		if i == 0 {
			if err := d.wait(ctx, formLimit, "the first member to start", func() bool { return m.gossip != "" }); err != nil {
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

func (d *driver) startMember() (*member, error) {
	d.named++
	name := fmt.Sprintf("m%d", d.named)
	m := &member{}
	born := d.rec.Now()
	c, err := spawn(start{Role: "member", Name: name, Dir: d.dir, Seeds: d.seeds(), Options: d.opts}, d.stderr, d.events, d.done)
	if err != nil {
		return nil, err
	}
	c.born = born
	m.child = c
	d.members = append(d.members, m)
	d.all = append(d.all, c)
	d.say("%s started, process %d", name, c.cmd.Process.Pid)
	return m, nil
}

func (d *driver) seeds() []string {
	var seeds []string
	for _, m := range d.members {
		if m.gossip != "" && !m.leaving {
			seeds = append(seeds, m.gossip)
		}
	}
	return seeds
}

func (d *driver) startCaller(ctx context.Context) error {
	c, err := spawn(start{Role: "caller", Name: "caller", Dir: d.dir, Seeds: d.seeds(), Options: d.opts}, d.stderr, d.events, d.done)
	if err != nil {
		return err
	}
	d.caller = c
	d.all = append(d.all, c)
	d.say("caller started, process %d, %d callers", c.cmd.Process.Pid, d.opts.Callers)
	if err := d.wait(ctx, formLimit, "the caller to be ready", func() bool { return d.ready }); err != nil {
		return err
	}
	return d.sweep(ctx, formLimit, "after forming")
}

// sweep has the caller call every identity until each has answered since now.
func (d *driver) sweep(ctx context.Context, limit time.Duration, when string) error {
	number := d.swept + 1
	from := time.Now()
	d.caller.tell(order{Do: doSweep, Sweep: number})
	if err := d.wait(ctx, limit, "every identity to answer "+when, func() bool { return d.swept == number }); err != nil {
		return err
	}
	d.say("all %d identities answer %s, %.1f s", d.opts.Identities, when, time.Since(from).Seconds())
	return nil
}

// settle waits for what makes a change recovered: agreement, and every identity answering.
func (d *driver) settle(ctx context.Context, when string) error {
	limit := recoveryBounds[d.opts.Provider] + d.opts.Timeout + 5*time.Second
	if err := d.sweep(ctx, limit, when); err != nil {
		return err
	}
	return d.wait(ctx, limit, "the members to agree "+when, d.agreed)
}

func (d *driver) killOne(ctx context.Context) error {
	i := d.rng.IntN(len(d.members))
	victim := d.members[i]
	d.members = slices.Delete(d.members, i, i+1)
	victim.leaving = true
	if err := victim.kill(); err != nil {
		return fmt.Errorf("kill %s: %w", victim.name, err)
	}
	d.record(history.Killed, victim, history.Record{})
	d.say("%s killed with SIGKILL; nobody tells the others", victim.name)
	return d.settle(ctx, "after the kill")
}

func (d *driver) joinOne(ctx context.Context) error {
	m, err := d.startMember()
	if err != nil {
		return err
	}
	if err := d.wait(ctx, formLimit, m.name+" to be ready", func() bool { return m.ready }); err != nil {
		return err
	}
	return d.settle(ctx, "after the join")
}

func (d *driver) restartAll(ctx context.Context) error {
	for _, m := range slices.Clone(d.members) {
		d.record(history.Stopping, m, history.Record{})
		d.say("%s is asked to leave", m.name)
		m.leaving = true
		d.members = slices.DeleteFunc(d.members, func(o *member) bool { return o == m })
		m.tell(order{Do: doStop})
		if err := d.wait(ctx, processLimit, m.name+" to leave", func() bool { return d.isGone(m.child) }); err != nil {
			return err
		}
		if err := d.joinOne(ctx); err != nil {
			return err
		}
	}
	return nil
}
