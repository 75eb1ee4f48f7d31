package viewkeeper

import (
	"context"
	"errors"
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
	j := judge{ttl: p.cfg.TTL, grace: p.cfg.TTL * 3 / 20, trusts: p.backend.Watches(), seen: map[core.MemberID]sighting{}}
	wait := p.newPause()
	for ctx.Err() == nil {
		v, s, err := p.present(ctx)
		if err == nil {
			v, err = p.keepRow(ctx, v, s)
		}
		if err != nil {
			p.env.Logger.Warn("the view cannot be read", attrError(err))
			_ = wait(ctx) // over with ctx, as is the loop
			continue
		}
		wait = p.newPause()
		tell(v)
		silent, due := j.silent(v, s, p.selfID(), p.env.Clock.Elapsed())
		p.expire(ctx, silent)
		p.await(ctx, s, due)
	}
}

func (p *Provider) selfID() core.MemberID {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != member {
		return ""
	}
	return p.self.ID
}

// keepRow stores the row of self again where the backend has lost it, makes a lost lease again, and notes an
// eviction.
func (p *Provider) keepRow(ctx context.Context, v *core.View, s Snapshot) (*core.View, error) {
	id := p.selfID()
	if id == "" {
		return v, nil
	}
	if v != nil {
		if _, listed := v.Member(id); listed {
			p.mu.Lock()
			p.lineage = v.Lineage()
			p.mu.Unlock()
			return v, p.keepLease(ctx, id, s)
		}
	}
	if !p.wiped(v) {
		p.mu.Lock()
		p.evicted = true
		p.mu.Unlock()
		return v, nil
	}
	p.mu.Lock()
	self, evicted := p.self, p.evicted
	p.mu.Unlock()
	if evicted {
		return v, nil
	}
	p.env.Logger.Warn("the backend has lost this member, which is stored again")
	again, err := p.admit(ctx, self)
	if err == nil {
		p.mu.Lock()
		p.lineage = again.Lineage()
		p.mu.Unlock()
	}
	return again, err
}

// keepLease makes the lease of self again where the backend has taken it away and the row still stands, as after
// a pause of the backend. Where the lease is driven from outside, its end is final.
func (p *Provider) keepLease(ctx context.Context, id core.MemberID, s Snapshot) error {
	if _, held := s.Leases[id]; held || !p.backend.Watches() || p.isDriven() {
		return nil
	}
	p.env.Logger.Warn("the backend has taken the lease of this member away, and it is made again")
	return p.lease(ctx, id)
}

// expire takes silent members out.
func (p *Provider) expire(ctx context.Context, ids []core.MemberID) {
	if len(ids) == 0 || ctx.Err() != nil {
		return
	}
	p.env.Logger.Warn("members are silent and taken out", "members", ids)
	if err := p.remove(ctx, ids...); err != nil && ctx.Err() == nil {
		p.env.Logger.Warn("silent members are not taken out", attrError(err))
	}
	p.kick()
}

// await waits for news, at most for due and for a quarter of a TTL: a watch may be lost without a word.
func (p *Provider) await(ctx context.Context, s Snapshot, due time.Duration) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer p.env.Clock.AfterFunc(min(due, p.cfg.TTL/4), cancel)()
	news := make(chan struct{})
	p.env.Go(p.cfg.Name+".await", func() {
		defer close(news)
		if err := p.backend.Await(ctx, s); err != nil && ctx.Err() == nil {
			p.env.Logger.Warn("the watch has ended; it is polled", attrError(err))
			<-ctx.Done()
		}
	})
	select {
	case <-p.wake:
	case <-news:
	}
	cancel()
	<-news
}

func (p *Provider) isDriven() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.driven
}

// renewals extends the lease until ctx ends or somebody else does it.
func (p *Provider) renewals(ctx context.Context) {
	for {
		p.sleep(ctx, p.cfg.TTL*3/10)
		if ctx.Err() != nil || p.isDriven() {
			return
		}
		limit, cancel := context.WithTimeout(ctx, p.cfg.TTL*3/10)
		err := p.backend.Renew(limit, p.selfID())
		cancel()
		if errors.Is(err, core.ErrEvicted) {
			p.kick() // what it means is in the record
		} else if err != nil && ctx.Err() == nil {
			p.env.Logger.Warn("the lease is not renewed", attrError(err))
		}
	}
}

// sleep waits for d or for ctx.
func (p *Provider) sleep(ctx context.Context, d time.Duration) {
	over := make(chan struct{})
	stop := p.env.Clock.AfterFunc(d, func() { close(over) })
	defer stop()
	select {
	case <-over:
	case <-ctx.Done():
	}
}

// newPause is a back-off that doubles from 20 ms to 2 s, with jitter. It returns the error of ctx at its end.
func (p *Provider) newPause() func(context.Context) error {
	d := 20 * time.Millisecond
	return func(ctx context.Context) error {
		p.sleep(ctx, d/2+rand.N(d/2))
		d = min(2*d, 2*time.Second)
		return ctx.Err()
	}
}

// sighting is when a renewal was first seen, by the clock of whoever saw it; or, where the backend takes leases
// away, that there is none.
type sighting struct {
	renewal uint64
	at      time.Duration
}

// judge is what one member knows of the others' leases. It holds as many as there are members.
type judge struct {
	ttl    time.Duration
	grace  time.Duration // for a lease that the backend has taken away: it may be made again
	trusts bool          // the backend takes leases away
	last   time.Duration
	seen   map[core.MemberID]sighting
}

// silent are the members whose lease has run out, as far as self can tell at now, and how long it is until
// there may be one more.
func (j *judge) silent(v *core.View, s Snapshot, self core.MemberID, now time.Duration) (out []core.MemberID, due time.Duration) {
	if v == nil || self == "" {
		return nil, j.ttl
	}
	if now-j.last > j.ttl/2 {
		clear(j.seen) // what happened meanwhile nobody has seen
	}
	j.last, due = now, j.ttl
	for m := range v.All() {
		left := j.left(m.ID, s, now)
		switch {
		case m.ID == self:
		case left <= 0:
			out = append(out, m.ID)
		default:
			due = min(due, left)
		}
	}
	for id := range j.seen {
		if _, listed := v.Member(id); !listed {
			delete(j.seen, id)
		}
	}
	return out, due
}

// left is how long the member id still has at now, as far as its lease tells.
func (j *judge) left(id core.MemberID, s Snapshot, now time.Duration) time.Duration {
	renewal, held := s.Leases[id]
	limit := j.ttl
	if j.trusts {
		if held {
			delete(j.seen, id)
			return limit
		}
		limit = j.grace
	}
	known, ok := j.seen[id]
	if !ok || known.renewal != renewal {
		known = sighting{renewal, now}
		j.seen[id] = known
	}
	return limit - (now - known.at)
}
