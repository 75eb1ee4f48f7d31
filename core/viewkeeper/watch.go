package viewkeeper

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/granary-go/granary/core"
)

// reports reads, judges and reports until ctx ends.
func (p *Provider) reports(ctx context.Context, stored *core.View, report func(*core.View)) {
	var told *core.View
	tell := func(v *core.View) {
		if v != nil && (told == nil || v.Compare(told) != core.Same) && ctx.Err() == nil {
			told = v
			report(v)
		}
	}
	tell(stored)
	j := newJudge(p.cfg.TTL, p.backend.Watches())
	wait := p.newPause()
	for ctx.Err() == nil {
		before := p.env.Clock.Elapsed()
		v, s, err := p.look(ctx)
		p.note(ctx, &p.reading, "the view cannot be read or stored", err)
		if err != nil {
			_ = wait(ctx) // over with ctx, as is the loop
			continue
		}
		wait = p.newPause()
		tell(v)
		silent, next := j.silent(v, s, p.selfID(), before, p.env.Clock.Elapsed(), p.lastRenewal())
		if p.expire(ctx, silent) {
			continue
		}
		p.await(ctx, s, min(next, p.poll()))
	}
}

// look reads the present view, and stores the row of self again where it was lost.
func (p *Provider) look(ctx context.Context) (*core.View, Snapshot, error) {
	limit, end := p.within(ctx, p.cfg.TTL/2)
	defer end()
	v, s, err := p.present(limit)
	if err == nil {
		v, err = p.keepRow(limit, v, s)
	}
	return v, s, err
}

// poll is how long nothing is read at most: a watch may be lost without a word, and where nobody but the
// members watches the leases, what is seen late is judged late.
func (p *Provider) poll() time.Duration {
	if p.backend.Watches() {
		return p.cfg.TTL / 4
	}
	return p.cfg.TTL / 16
}

func (p *Provider) selfID() core.MemberID {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != member {
		return ""
	}
	return p.self.ID
}

// keepRow stores row and lease of self again where the backend has lost them, and notes an eviction.
func (p *Provider) keepRow(ctx context.Context, v *core.View, s Snapshot) (*core.View, error) {
	id := p.selfID()
	if id == "" {
		return v, nil
	}
	if v != nil && p.lists(v, id) {
		return v, p.keepLease(ctx, v, s)
	}
	p.mu.Lock()
	self, known, lost := p.self, p.known, p.isWiped(v) && !p.evicted && !p.driven
	p.evicted = p.evicted || !lost
	p.mu.Unlock()
	if !lost {
		return v, nil
	}
	p.env.Logger.Warn("the backend has lost members, which are stored again")
	again, err := p.restore(ctx, self, known)
	if err == nil {
		p.saw(again)
	}
	return again, err
}

// lists reports whether v has the row of self. To whoever drives the lease one of another lineage, where somebody
// else has put it, is none.
func (p *Provider) lists(v *core.View, id core.MemberID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, listed := v.Member(id)
	return listed && (!p.driven || v.Lineage() == p.known.Lineage())
}

// keepLease makes the lease of a listed member anew where the backend has lost it, unless somebody counts on
// its loss being final.
func (p *Provider) keepLease(ctx context.Context, v *core.View, s Snapshot) error {
	p.saw(v)
	id := p.selfID()
	if _, held := s.Leases[id]; held || p.isDriven() {
		return nil
	}
	p.env.Logger.Warn("the backend has lost the lease of this member, which is made anew")
	return p.lease(ctx, id)
}

// saw notes the latest view that lists self.
func (p *Provider) saw(v *core.View) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = v
}

// expire takes silent members out. True: it has.
func (p *Provider) expire(ctx context.Context, silent map[core.MemberID]sighting) bool {
	if len(silent) == 0 || ctx.Err() != nil {
		return false
	}
	limit, end := p.within(ctx, p.cfg.TTL/2)
	defer end()
	gone, err := p.removeSilent(limit, silent)
	if len(gone) > 0 {
		p.env.Logger.Warn("members were silent and are taken out", "members", gone)
	}
	p.note(ctx, &p.expiring, "silent members are not taken out", err)
	return len(gone) > 0
}

// await waits for news, at most d.
func (p *Provider) await(ctx context.Context, s Snapshot, d time.Duration) {
	ctx, end := p.within(ctx, d)
	defer end()
	if !p.listen(end) {
		return
	}
	defer p.listen(nil)
	err := p.backend.Await(ctx, s)
	p.note(ctx, &p.watching, "the watch has ended; it is polled", err)
	if err != nil {
		<-ctx.Done()
	}
}

// listen has kick call end. False: there was a kick meanwhile, and end is not called.
func (p *Provider) listen(end func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	kicked := p.kicked
	p.kicked, p.interrupt = false, end
	return !kicked || end == nil
}

// kick has the backend read soon. It returns at once.
func (p *Provider) kick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kicked = p.interrupt == nil
	if p.interrupt != nil {
		p.interrupt()
	}
}

func (p *Provider) isDriven() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.driven
}

// renewals extends the lease until ctx ends or somebody else does it.
func (p *Provider) renewals(ctx context.Context) {
	d := p.renewal()
	for {
		p.sleep(ctx, d)
		if ctx.Err() != nil || p.isDriven() {
			return
		}
		limit, end := p.within(ctx, p.renewal())
		err := p.renew(limit, p.selfID())
		end()
		d = p.renewal()
		switch {
		case errors.Is(err, core.ErrEvicted):
			p.kick() // what it means is in the record
		case err != nil:
			d /= 3
		}
		p.note(ctx, &p.renewing, "the lease is not renewed", err)
	}
}

// renew extends the lease once.
func (p *Provider) renew(ctx context.Context, id core.MemberID) error {
	err := p.backend.Renew(ctx, id)
	if err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.renewed = p.env.Clock.Elapsed()
	}
	return err
}

// lastRenewal is when the own lease was renewed last.
func (p *Provider) lastRenewal() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.renewed
}

func (p *Provider) renewal() time.Duration { return p.cfg.TTL * 3 / 10 }

// note logs the first error of a row, and its end. what is used by one goroutine.
func (p *Provider) note(ctx context.Context, failing *bool, what string, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil && !*failing:
		*failing = true
		p.env.Logger.Warn(what, attrError(err))
	case err == nil && *failing:
		*failing = false
		p.env.Logger.Info("this is over: " + what)
	}
}

// within is ctx for at most d.
func (p *Provider) within(ctx context.Context, d time.Duration) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := p.env.Clock.AfterFunc(d, cancel)
	return ctx, func() { stop(); cancel() }
}

// sleep waits for d or for ctx.
func (p *Provider) sleep(ctx context.Context, d time.Duration) {
	ctx, end := p.within(ctx, d)
	defer end()
	<-ctx.Done()
}

// newPause is a back-off that doubles from 20 ms to 2 s, or an eighth of a TTL, with jitter. It returns the error
// of ctx at its end.
func (p *Provider) newPause() func(context.Context) error {
	d := 20 * time.Millisecond
	return func(ctx context.Context) error {
		p.sleep(ctx, d/2+rand.N(d/2))
		d = min(2*d, 2*time.Second, max(p.cfg.TTL/8, 20*time.Millisecond))
		return ctx.Err()
	}
}

func attrError(err error) slog.Attr { return slog.String("error", err.Error()) }
