package memory

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/viewedit"
)

// DefaultTTL is that of leases.
const DefaultTTL = 10 * time.Second

// Config sets up a Hub. The zero value is what NewHub uses.
type Config struct {
	// TTL is after how long a member that vanished is taken out, at the earliest; a quarter of it
	// later at the latest. 0: 10 s. Tests with a real clock use 2 s.
	TTL time.Duration

	// Lie makes the hub's providers break one promise, so that tests can see that it is noticed.
	Lie Lie
}

// Hub is the backend that the nodes of one process share. Safe for concurrent use.
type Hub struct {
	ttl   time.Duration
	lie   Lie
	store *Store
	dir   directory

	mu        sync.Mutex // guards what follows
	view      *core.View // nil: nothing was ever stored
	before    *core.View // the view before; only lies look at it
	leases    map[core.MemberID]*lease
	listeners map[*Provider]struct{}
}

// lease is one member's. A member that never renewed is held by its being here, as a connection
// would; from its first renewal on, and after a crash, only renewals keep it.
type lease struct {
	renewals uint64
	counts   bool // it runs out unless renewed
}

// New makes a hub. It returns core.ErrInvalid for a negative TTL or an unknown Lie.
func New(cfg Config) (*Hub, error) {
	var errs []error
	if cfg.TTL < 0 {
		errs = append(errs, fmt.Errorf("memory: the TTL is %v: %w", cfg.TTL, core.ErrInvalid))
	}
	if cfg.Lie > lastLie {
		errs = append(errs, fmt.Errorf("memory: unknown lie %d: %w", cfg.Lie, core.ErrInvalid))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	h := NewHub()
	h.lie = cfg.Lie
	if cfg.TTL > 0 {
		h.ttl = cfg.TTL
	}
	return h, nil
}

// NewHub makes a hub with the defaults of Config.
func NewHub() *Hub {
	return &Hub{
		ttl:       DefaultTTL,
		store:     NewStore(),
		dir:       newDirectory(),
		leases:    map[core.MemberID]*lease{},
		listeners: map[*Provider]struct{}{},
	}
}

// Provider makes the membership provider of one more node.
func (h *Hub) Provider() *Provider {
	return &Provider{hub: h, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
}

// Lookup makes the identity lookup of one more node.
func (h *Hub) Lookup() *Lookup { return newLookup(&h.dir) }

// Store is the hub's store: the same for all nodes.
func (h *Hub) Store() *Store { return h.store }

// present is the view as stored, and the one stored before it.
func (h *Hub) present() (view, before *core.View) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.view, h.before
}

// listen has p woken after each write, from now on.
func (h *Hub) listen(p *Provider) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners[p] = struct{}{}
	p.kick()
}

func (h *Hub) unlisten(p *Provider) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.listeners, p)
}

// write stores what edit makes of the present record. h.mu is held.
func (h *Hub) write(s viewedit.Stamp, edit func(core.ViewRecord) (core.ViewRecord, error)) error {
	var record core.ViewRecord
	if h.view != nil {
		record = h.view.Record()
		s.WriteID = fmt.Sprintf("%s/%d", record.Lineage, record.Revision+1)
	} else {
		s.WriteID = s.Lineage + "/1"
	}
	next, err := edit(record)
	if err != nil {
		return err
	}
	v, err := viewedit.Next(h.view, next, s)
	if err != nil {
		return err
	}
	h.before, h.view = h.view, v
	for id := range h.leases {
		if _, listed := v.Member(id); !listed {
			delete(h.leases, id)
		}
	}
	for p := range h.listeners {
		p.kick()
	}
	return nil
}

// admit stores the row of a joiner. wait is true while nobody may join.
func (h *Hub) admit(env core.Env, self core.Member) (wait bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.view != nil && viewedit.Full(h.view.Record()) {
		return true, nil
	}
	if h.lie == LieID {
		h.forgetDepartures()
	}
	stamp := viewedit.Stamp{Now: env.Clock.Now(), Guard: h.ttl}
	if h.view == nil {
		stamp.Lineage = newLineage(env.Rand)
	}
	err = h.write(stamp, func(r core.ViewRecord) (core.ViewRecord, error) { return viewedit.Admit(r, self) })
	if err == nil {
		h.leases[self.ID] = &lease{}
	}
	return false, err
}

// forgetDepartures is what LieID needs.
func (h *Hub) forgetDepartures() {
	if h.view == nil {
		return
	}
	r := h.view.Record()
	r.Departed = nil
	if v, err := core.NewView(r); err == nil {
		h.view = v
	}
}

// newLineage is 128 random bits as text.
func newLineage(r *rand.Rand) string {
	var b strings.Builder
	for range 2 {
		fmt.Fprintf(&b, "%016x", r.Uint64())
	}
	return b.String()
}

// update replaces a row.
func (h *Hub) update(self core.Member) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.write(viewedit.Stamp{}, func(r core.ViewRecord) (core.ViewRecord, error) {
		next, listed := viewedit.Replace(r, self)
		if !listed {
			return r, fmt.Errorf("member %q is not listed any more: %w", self.ID, core.ErrEvicted)
		}
		return next, nil
	})
}

// errSame ends an edit that would change nothing.
var errSame = errors.New("nothing to change")

// remove takes a row out, if it is there, with no guard: nothing of the member acts any more.
func (h *Hub) remove(id core.MemberID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l, listed := h.leases[id]; listed && h.lie == LieLeave {
		l.counts = false
		return
	}
	if h.view == nil {
		return
	}
	// Taking a row out of a valid record leaves a valid one, so errSame is the only error.
	_ = h.write(viewedit.Stamp{}, func(r core.ViewRecord) (core.ViewRecord, error) {
		next, listed := viewedit.Remove(r, id, 0)
		if !listed {
			return r, errSame
		}
		return next, nil
	})
}
