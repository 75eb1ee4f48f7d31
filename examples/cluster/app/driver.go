package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/examples/cluster/history"
)

// driver starts the processes, makes the changes, and follows the run. One goroutine owns it; the
// children speak to it by events.
type driver struct {
	opts    Options
	parts   Parts
	out     io.Writer // for people
	stderr  io.Writer
	dir     string
	server  server
	cluster string // its name at the server
	rec     *history.Writer
	rng     *rand.Rand
	began   time.Time
	events  chan childEvent
	done    chan struct{} // nobody takes events any more
	members []*member     // alive and not asked to leave
	caller  *child
	all     []*child
	byChild map[*child]*member
	named   int
	ready   bool          // the caller
	swept   int           // sweeps that are complete
	sweeps  int           // sweeps that were ordered
	plain   time.Duration // that calling every identity took when nothing was wrong
	paused  bool          // the load has ended
	ending  bool
	cut     bool // the user ended the run, and that is recorded
	asked   askedAt
	broken  error // a process is gone that should be there
}

// askedAt is when the user ended the run, in nanoseconds since 1970; 0: not yet.
type askedAt struct{ atomic.Int64 }

// late reports whether that is longer ago than a time.
func (a *askedAt) late(than time.Duration) bool {
	at := a.Load()
	return at != 0 && time.Since(time.Unix(0, at)) > than
}

// member is a member process as the driver knows it.
type member struct {
	*child
	phase   string // history.Form, Join, Restart
	id      string
	gossip  string
	ready   bool
	hash    string
	listed  []string
	running int
	counted bool // running was told since it was asked for
	leaving bool
}

const (
	stopTimeout  = 30 * time.Second // of a node: a busy machine takes long to end ten thousands of activations
	processLimit = 35 * time.Second // for a process to end after it was asked to
	formLimit    = 60 * time.Second
	perIdentity  = 5 * time.Millisecond // to activate one, on a machine that does little else than other work
	agreeLimit   = 5 * time.Second      // to agree once more, before they are stopped
)

// newDriver opens the records of the run, and has its server. An error is one of use: there is no place for the
// records, or no server. There is none if the user has ended the run before.
func newDriver(ctx context.Context, o Options, people, stderr io.Writer, parts Parts) (*driver, error) {
	dir, err := recordFolder(o.History)
	if err != nil {
		return nil, err
	}
	if err := hold(dir); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	rec, err := history.Create(dir, "driver", true)
	if err != nil {
		return nil, err
	}
	d := &driver{opts: o, parts: parts, out: people, stderr: stderr, dir: dir, rec: rec, began: time.Now(),
		rng: rand.New(rand.NewPCG(o.Seed, 0)), byChild: map[*child]*member{}, cluster: newCluster(),
		events: make(chan childEvent, 256), done: make(chan struct{})}
	if d.server, err = obtain(ctx, o, dir); err != nil && ctx.Err() == nil {
		return nil, errors.Join(err, d.discard())
	}
	return d, nil
}

// discard removes what a run has written that does not take place.
func (d *driver) discard() error {
	err := errors.Join(d.rec.Close(), os.Remove(filepath.Join(d.dir, "driver.jsonl")), os.RemoveAll(filepath.Join(d.dir, "server")))
	if d.opts.History == "" {
		err = errors.Join(err, os.Remove(d.dir))
	}
	return err
}

// patience is for how long a process is waited for that is to end.
func (d *driver) patience() time.Duration { return cmp.Or(d.parts.Patience, processLimit) }

func (d *driver) say(format string, args ...any) {
	fmt.Fprintf(d.out, "%6.1fs  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

func (d *driver) record(event string, m *member, r history.Record) {
	r.Event = event
	r.Ns = cmp.Or(r.Ns, d.rec.Now())
	if m != nil {
		r.Member = m.id
	}
	d.rec.Write(r)
}

// run carries the plan out. Whatever goes wrong on the way, the processes are ended.
func (d *driver) run(ctx context.Context) {
	context.AfterFunc(ctx, func() { d.asked.Store(time.Now().UnixNano()) }) // once at most, whatever the run does
	config := d.opts.config()
	d.record(history.Configured, nil, history.Record{Config: &config})
	if err := d.plan(ctx); err != nil && ctx.Err() == nil {
		d.troubled(err)
	}
	d.end(ctx)
	if err := d.server.end(d.dir); err != nil {
		d.troubled(err)
	}
}

// troubled records what kept the run from its plan.
func (d *driver) troubled(err error) {
	d.record(history.Trouble, nil, history.Record{Text: err.Error()})
}

func (d *driver) plan(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s := d.server; s.own != nil {
		d.say("%s server at %s started, process %d", d.opts.Provider, s.address, s.own.Pid())
	}
	d.say("forming a cluster of %d processes, %s and %s, seed %d", d.opts.Members, d.opts.Provider, d.opts.Lookup, d.opts.Seed)
	if err := d.form(ctx); err != nil {
		return err
	}
	if err := d.startCaller(ctx); err != nil {
		return err
	}
	d.record(history.Load, nil, history.Record{Phase: history.Begin})
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
	if d.parts.Changes != nil {
		return d.parts.Changes(d)
	}
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

// judge computes the summary from the records alone. Only what kept the records themselves from
// being whole is added, and that the user did not wait for all of them to be read.
func (d *driver) judge() *history.Summary {
	closed := d.rec.Close()
	limit, cut := cmp.Or(d.parts.Hurried, hurriedEnd), false
	sum, err := history.JudgeUntil(d.dir, func() bool {
		cut = cut || d.asked.late(limit)
		return cut
	})
	if err != nil {
		sum = history.Failed(d.opts.config())
	}
	sum.Interrupted = sum.Interrupted || cut
	if d.opts.History == "" {
		err = errors.Join(err, os.RemoveAll(d.dir))
	}
	if err = errors.Join(closed, err); err != nil {
		sum.OK = false
		sum.Reasons = append(sum.Reasons, err.Error())
	}
	return sum
}
