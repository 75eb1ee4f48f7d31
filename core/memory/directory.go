package memory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
)

// directory knows where every identity of a hub lives. Each of its methods is one atomic step, so
// what happens to one identity is one sequence. Hosts carry an order out only between begin and
// finish, so a message that arrives late finds its order gone and does nothing.
//
// It holds one entry for each activation that runs or was ordered, and the set of hosts.
type directory struct {
	mu      sync.Mutex // guards what follows
	epoch   uint64     // of all tokens: Unix milliseconds of the first Start, so a later hub's are greater
	seq     uint64
	entries map[core.Identity]*entry
	hosts   map[core.MemberID]*hosted
}

// hosted is a member that may have entries.
type hosted struct {
	lookup *Lookup
	id     core.MemberID
	n      int // entries; which ones, they say themselves
}

// entry is the one order for an identity, carried out or not.
type entry struct {
	at    *hosted
	token core.Token
	// Of the PID, whose member is at: the process is empty until the host has activated it.
	address, process string
	was              core.Token // of an activation that may still run at the host; zero: none
	doubt            bool       // the host may run it under token, although it did not say so
	begun            bool       // a call of Activate for it is under way
	ended            bool       // released while begun
}

func (e *entry) placed() bool { return e.process != "" }

func (e *entry) pid() core.PID {
	return core.PID{Address: e.address, ID: e.process, Member: e.at.id}
}

func newDirectory() directory {
	return directory{entries: map[core.Identity]*entry{}, hosts: map[core.MemberID]*hosted{}}
}

// enlist makes l the lookup of member id, unless another is.
func (d *directory) enlist(id core.MemberID, l *Lookup, now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, taken := d.hosts[id]; taken {
		return fmt.Errorf("member %s is enlisted by another lookup: %w", id, core.ErrConflict)
	}
	if d.epoch == 0 {
		d.epoch = uint64(max(now.UnixMilli(), 1))
	}
	d.hosts[id] = &hosted{lookup: l, id: id}
	return nil
}

// next is a token above all earlier ones. d.mu is held.
func (d *directory) next() core.Token {
	d.seq++
	return core.Token{Epoch: d.epoch, Seq: d.seq}
}

// find is the order for id, if there is one.
func (d *directory) find(id core.Identity) (entry, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e, known := d.entries[id]; known {
		return *e, true
	}
	return entry{}, false
}

// order is the present order for id; if there is none it is made for host.
func (d *directory) order(id core.Identity, host core.MemberID) (entry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e, known := d.entries[id]; known {
		return *e, nil
	}
	at, listed := d.hosts[host]
	if !listed {
		return entry{}, fmt.Errorf("member %s is gone: %w", host, core.ErrNotOwner)
	}
	e := &entry{at: at, token: d.next()}
	d.entries[id] = e
	at.n++
	return *e, nil
}

// begin lets l carry the order for id under t out, if it still stands, is l's, and is not being
// carried out already: one call of Activate at a time, so that none can follow the end of what
// another one made. placed tells that there is nothing left to do.
func (d *directory) begin(id core.Identity, t core.Token, l *Lookup) (placed bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, known := d.entries[id]
	switch {
	case !known || e.token != t || e.at.lookup != l:
		return false, fmt.Errorf("the order for %s under %s does not stand: %w", id, t, core.ErrNotOwner)
	case e.placed():
		return true, nil
	case e.begun:
		return false, core.Retry(fmt.Errorf("%s is just being activated: %w", id, core.ErrBusy), soon)
	}
	e.begun = true
	return false, nil
}

// finish notes how Activate ended. doubt tells that the host may still run the activation; the caller
// then asks the host to stop it.
func (d *directory) finish(id core.Identity, t core.Token, p core.Placement, err error) (doubt bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, known := d.entries[id]
	if !known || e.token != t {
		return false // dropped meanwhile, with its member
	}
	e.begun = false
	switch {
	case e.ended:
		d.remove(id, e)
	case err == nil, (errors.Is(err, core.ErrConflict) || errors.Is(err, core.ErrFenced)) && !p.PID.IsZero():
		// A running activation is adopted under its own token: it is the one of this identity.
		e.token, e.address, e.process, e.was, e.doubt = p.Token, p.PID.Address, p.PID.ID, core.Token{}, false
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e.doubt = true
		return true
	case !e.doubt && e.was.IsZero():
		d.remove(id, e)
	}
	return false
}

// cancel takes back an order that nobody has carried out: it is as if it had never been made.
func (d *directory) cancel(id core.Identity, t core.Token) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, known := d.entries[id]
	if known && e.token == t && !e.placed() && e.was.IsZero() && !e.doubt && !e.begun {
		d.remove(id, e)
	}
}

// released notes that an activation has ended.
func (d *directory) released(a core.Activation) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, known := d.entries[a.Identity]
	if !known || e.at.id != a.PID.Member {
		return
	}
	switch {
	case e.token == a.Token:
		e.ended = e.begun
		e.process, e.doubt = "", false
	case e.was == a.Token:
		e.was = core.Token{}
	default:
		return
	}
	if !e.begun && !e.placed() && e.was.IsZero() && !e.doubt {
		d.remove(a.Identity, e)
	}
}

// suspect notes that nobody was found at stale: the next order goes to the same host, under a new
// token, and finds out whether the activation runs.
func (d *directory) suspect(id core.Identity, stale core.PID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e, known := d.entries[id]; known && e.placed() && e.pid() == stale && !e.begun {
		e.process, e.was, e.token = "", e.token, d.next()
	}
}

// drop forgets a member and all that lived there.
func (d *directory) drop(member core.MemberID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, listed := d.hosts[member]
	if !listed {
		return
	}
	delete(d.hosts, member)
	for id, e := range d.entries {
		if e.at == at {
			delete(d.entries, id)
		}
	}
}

// delist forgets a member on which nothing is left.
func (d *directory) delist(member core.MemberID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, listed := d.hosts[member]; listed && at.n == 0 {
		delete(d.hosts, member)
	}
}

// remove forgets an entry. d.mu is held.
func (d *directory) remove(id core.Identity, e *entry) {
	delete(d.entries, id)
	e.at.n--
}
