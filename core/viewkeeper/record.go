package viewkeeper

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/viewedit"
)

// present reads the stored view; nil: there is none.
func (p *Provider) present(ctx context.Context) (*core.View, Snapshot, error) {
	s, err := p.backend.Read(ctx)
	if err != nil {
		return nil, s, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.parsed == nil || !bytes.Equal(s.Record, p.record) {
		v, err := parse(s.Record)
		if err != nil {
			return nil, s, err
		}
		p.parsed, p.record = v, s.Record
	}
	return p.parsed, s, nil
}

func parse(record []byte) (*core.View, error) {
	if record == nil {
		return nil, nil
	}
	var r core.ViewRecord
	err := json.Unmarshal(record, &r)
	if err == nil && (r.Lineage == "" || r.WriteID == "") {
		err = errors.New("it has no lineage or no write ID")
	}
	var v *core.View
	if err == nil {
		v, err = core.NewView(r)
	}
	if err != nil {
		return nil, fmt.Errorf("the view record cannot be read; mend it, or remove it to begin anew: %w: %w", err, core.ErrInvalid)
	}
	return v, nil
}

// store writes next in place of old, and returns what is stored then.
func (p *Provider) store(ctx context.Context, old *core.View, next core.ViewRecord) (*core.View, error) {
	was := ""
	if old != nil {
		r := old.Record()
		if was = r.WriteID; r.Format != core.RecordFormat {
			return nil, fmt.Errorf("the view record is of format %d, and this version writes format %d; run the version that its other members run: %w",
				r.Format, core.RecordFormat, core.ErrUnsupported)
		}
	}
	v, err := viewedit.Next(old, next, p.stamp())
	if err != nil {
		return nil, err
	}
	record, err := json.Marshal(v.Record())
	if err != nil {
		return nil, err
	}
	return v, p.backend.Write(ctx, was, core.Diff(old, v), record)
}

// stamp is that of the next write. A new lineage begins above all epochs that were seen here. A member that is
// replaced has a guard only where leases are counted on: nobody else would ever count it to its end.
func (p *Provider) stamp() viewedit.Stamp {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := viewedit.Stamp{WriteID: newID(), Lineage: newID(), Now: p.env.Clock.Now()}
	if p.known != nil {
		floor := time.UnixMilli(int64(p.known.Epoch() + 1)) // #nosec G115 -- Unix milliseconds and some
		s.Now = slices.MaxFunc([]time.Time{s.Now, floor}, time.Time.Compare)
	}
	if p.driven {
		s.Guard = p.cfg.TTL
	}
	return s
}

// newID is 128 random bits as text.
func newID() string { return fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()) }

// errSame ends an edit that would change nothing.
var errSame = errors.New("nothing to change")

// change makes the next record of the present one. old is nil and r empty where there is none.
type change func(old *core.View, r core.ViewRecord, s Snapshot) (core.ViewRecord, error)

// edit stores what change makes of the present record, again while others come first.
func (p *Provider) edit(ctx context.Context, change change) (*core.View, error) {
	for wait := p.newPause(); ; {
		old, s, err := p.present(ctx)
		if err != nil {
			return nil, err
		}
		var record core.ViewRecord
		if old != nil {
			record = old.Record()
		}
		if record, err = change(old, record, s); err != nil {
			return old, err
		}
		v, err := p.store(ctx, old, record)
		if err == nil {
			return v, nil
		}
		if !errors.Is(err, core.ErrConflict) {
			return nil, err
		}
		if err := wait(ctx); err != nil {
			return nil, err
		}
	}
}

// admit stores the row of self, and tries again while the backend is away or the record is full.
func (p *Provider) admit(ctx context.Context, self core.Member) (v *core.View, err error) {
	tried := false // a try of ours may have stored the row
	err = p.insist(ctx, "the join", func() error {
		err := p.lease(ctx, self.ID)
		if err != nil {
			return err
		}
		v, err = p.edit(ctx, func(old *core.View, r core.ViewRecord, _ Snapshot) (core.ViewRecord, error) {
			if tried && stored(old, self) {
				return r, errSame
			}
			if viewedit.Full(r) {
				return r, fmt.Errorf("the record is full of departures whose guards run: %w", core.ErrBusy)
			}
			r, err := viewedit.Admit(r, self)
			if err == nil {
				tried = true
				p.setWritten(self, true)
			}
			return r, err
		})
		if errors.Is(err, errSame) {
			err = nil
		}
		return err
	})
	return v, err
}

// lease makes the lease of self.
func (p *Provider) lease(ctx context.Context, id core.MemberID) error {
	p.mu.Lock()
	p.leased = true
	p.mu.Unlock()
	return p.backend.Lease(ctx, id)
}

// restore stores self again where data were lost, and with it all that the view known lists: if each stored only
// itself, the views until the last has done so would lack members that are there, and calls to these would fail.
// Who is not there any more goes as its lease is not renewed.
func (p *Provider) restore(ctx context.Context, self core.Member, known *core.View) (*core.View, error) {
	if err := p.lease(ctx, self.ID); err != nil {
		return nil, err
	}
	v, err := p.edit(ctx, func(old *core.View, r core.ViewRecord, _ Snapshot) (core.ViewRecord, error) {
		if stored(old, self) {
			return r, errSame
		}
		if old == nil {
			r.Departed = known.Record().Departed
		}
		r, err := viewedit.Admit(r, self)
		if err != nil {
			return r, err
		}
		taken := map[string]bool{}
		for _, m := range r.Members {
			taken[m.Address] = true
		}
		for m := range known.All() {
			if next, err := viewedit.Admit(r, m); err == nil && !taken[m.Address] {
				r = next
			}
		}
		return r, nil
	})
	if errors.Is(err, errSame) {
		err = nil
	}
	return v, err
}

// stored reports whether v lists self at its address.
func stored(v *core.View, self core.Member) bool {
	if v == nil {
		return false
	}
	row, listed := v.Member(self.ID)
	return listed && row.Address == self.Address
}

// setWritten notes whether a row of self may be stored.
func (p *Provider) setWritten(self core.Member, maybe bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.self, p.written = self, maybe
}

// final reports whether another try would end no better.
func final(err error) bool {
	return errors.Is(err, core.ErrConflict) || errors.Is(err, core.ErrInvalid) || errors.Is(err, core.ErrUnsupported)
}

// replace changes the row of self.
func (p *Provider) replace(ctx context.Context, self core.Member) error {
	_, err := p.edit(ctx, func(old *core.View, r core.ViewRecord, _ Snapshot) (core.ViewRecord, error) {
		next, listed := viewedit.Replace(r, self)
		switch {
		case listed:
			return next, nil
		case p.wiped(old):
			return r, fmt.Errorf("the record was lost and is being stored again: %w", core.ErrUnreachable)
		}
		return r, fmt.Errorf("member %q is not listed any more: %w", self.ID, core.ErrEvicted)
	})
	if err == nil {
		p.mu.Lock()
		p.self = self
		p.mu.Unlock()
	}
	return err
}

// wiped reports whether a view without self is one of a backend that has lost its data, and nobody counts on
// the lease.
func (p *Provider) wiped(v *core.View) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.driven && p.isWiped(v)
}

// isWiped reports whether v, which does not list self, is what data that were lost have left: nothing, another
// lineage, or an older epoch than one that listed it. p.mu is held.
func (p *Provider) isWiped(v *core.View) bool {
	return v == nil || (v.Lineage() != p.known.Lineage() || v.Epoch() < p.known.Epoch()) && !viewedit.Departed(v.Record(), p.self.ID)
}

// remove takes the row of this member out, with no guard: nothing of it acts any more. Where a write of a join
// may be under way it writes even if there is no row, so that the one under way finds another record.
func (p *Provider) remove(ctx context.Context, id core.MemberID, joined bool) error {
	_, err := p.edit(ctx, func(old *core.View, r core.ViewRecord, _ Snapshot) (core.ViewRecord, error) {
		next, listed := viewedit.Remove(r, id, 0)
		if !listed && (joined || old == nil) {
			return r, errSame
		}
		return next, nil
	})
	if errors.Is(err, errSame) {
		return nil
	}
	return err
}

// removeSilent takes out those who still are as they were judged.
func (p *Provider) removeSilent(ctx context.Context, silent map[core.MemberID]sighting) (gone []core.MemberID, err error) {
	_, err = p.edit(ctx, func(_ *core.View, r core.ViewRecord, s Snapshot) (core.ViewRecord, error) {
		gone = nil
		for id, seen := range silent {
			next, listed := viewedit.Remove(r, id, 0)
			if listed && seen.same(id, s) {
				r, gone = next, append(gone, id)
			}
		}
		if len(gone) == 0 {
			return r, errSame
		}
		slices.Sort(gone)
		return r, nil
	})
	if errors.Is(err, errSame) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return gone, nil
}

// swap stores next in place of old.
func (p *Provider) swap(ctx context.Context, old *core.View, next core.ViewRecord) (*core.View, error) {
	now, _, err := p.present(ctx)
	if err != nil {
		return nil, err
	}
	if old == nil || now == nil || now.Compare(old) != core.Same {
		return now, fmt.Errorf("the record is not the old one any more: %w", core.ErrConflict)
	}
	v, err := p.store(ctx, now, next)
	if errors.Is(err, core.ErrConflict) {
		if now, _, bad := p.present(ctx); bad == nil {
			return now, err
		}
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}
