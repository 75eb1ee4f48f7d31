package viewkeeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
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
	v, err := parse(s.Record)
	return v, s, err
}

func parse(record []byte) (*core.View, error) {
	if record == nil {
		return nil, nil
	}
	var r core.ViewRecord
	if err := json.Unmarshal(record, &r); err != nil {
		return nil, fmt.Errorf("the view record cannot be read; mend it, or remove it to begin anew: %w: %w", err, core.ErrInvalid)
	}
	return core.NewView(r)
}

// store writes next in place of old, and returns what is stored then.
func (p *Provider) store(ctx context.Context, old *core.View, next core.ViewRecord, guard time.Duration) (*core.View, error) {
	stamp := viewedit.Stamp{WriteID: newID(), Lineage: newID(), Now: p.env.Clock.Now(), Guard: guard}
	v, err := viewedit.Next(old, next, stamp)
	if err != nil {
		return nil, err
	}
	record, err := json.Marshal(v.Record())
	if err != nil {
		return nil, err
	}
	was := ""
	if old != nil {
		was = old.Record().WriteID
	}
	return v, p.backend.Write(ctx, was, core.Diff(old, v), record)
}

// newID is 128 random bits as text.
func newID() string { return fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()) }

// errSame ends an edit that would change nothing.
var errSame = errors.New("nothing to change")

// edit stores what change makes of the present record, again while others come first.
func (p *Provider) edit(ctx context.Context, guard time.Duration, change func(*core.View, core.ViewRecord) (core.ViewRecord, error)) (*core.View, error) {
	for wait := p.newPause(); ; {
		old, _, err := p.present(ctx)
		if err != nil {
			return nil, err
		}
		var record core.ViewRecord
		if old != nil {
			record = old.Record()
		}
		if record, err = change(old, record); err != nil {
			return old, err
		}
		v, err := p.store(ctx, old, record, guard)
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
func (p *Provider) admit(ctx context.Context, self core.Member) (*core.View, error) {
	tried := false // a try of ours may have stored the row
	for wait := p.newPause(); ; {
		err := p.lease(ctx, self.ID)
		if err == nil {
			var v *core.View
			v, err = p.edit(ctx, p.cfg.TTL, func(old *core.View, r core.ViewRecord) (core.ViewRecord, error) {
				if old != nil && tried {
					if row, listed := old.Member(self.ID); listed && row.Address == self.Address {
						return r, errSame
					}
				}
				if viewedit.Full(r) {
					return r, fmt.Errorf("the record is full of departures whose guards run: %w", core.ErrBusy)
				}
				r, err := viewedit.Admit(r, self)
				if err == nil {
					tried = true
					p.setWritten()
				}
				return r, err
			})
			if err == nil || errors.Is(err, errSame) {
				return v, nil
			}
		}
		if final(err) {
			return nil, err
		}
		p.env.Logger.Warn("join is tried again", attrError(err))
		if over := wait(ctx); over != nil {
			return nil, fmt.Errorf("%w: %w", over, err)
		}
	}
}

// lease makes the lease of self.
func (p *Provider) lease(ctx context.Context, id core.MemberID) error {
	p.mu.Lock()
	p.leased = true
	p.mu.Unlock()
	return p.backend.Lease(ctx, id)
}

func (p *Provider) setWritten() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.written = true
}

// final reports whether another try of a join would end no better.
func final(err error) bool {
	return errors.Is(err, core.ErrConflict) || errors.Is(err, core.ErrInvalid) || errors.Is(err, core.ErrUnsupported)
}

// replace changes the row of self.
func (p *Provider) replace(ctx context.Context, self core.Member) error {
	_, err := p.edit(ctx, 0, func(old *core.View, r core.ViewRecord) (core.ViewRecord, error) {
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

// wiped reports whether a view without self is one of a backend that has lost its data.
func (p *Provider) wiped(v *core.View) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return v == nil || v.Lineage() != p.lineage && !viewedit.Departed(v.Record(), p.self.ID)
}

// remove takes a row out, if it is there, with no guard: nothing of the member acts any more.
func (p *Provider) remove(ctx context.Context, ids ...core.MemberID) error {
	_, err := p.edit(ctx, 0, func(_ *core.View, r core.ViewRecord) (core.ViewRecord, error) {
		found := false
		for _, id := range ids {
			var listed bool
			r, listed = viewedit.Remove(r, id, 0)
			found = found || listed
		}
		if !found {
			return r, errSame
		}
		return r, nil
	})
	if errors.Is(err, errSame) {
		return nil
	}
	return err
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
	v, err := p.store(ctx, now, next, p.cfg.TTL)
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
