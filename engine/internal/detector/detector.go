package detector

import (
	"slices"
	"time"

	"github.com/granary-go/granary/core"
)

// Config is what a Detector judges by. The zero value of each field but Self and Store is its default.
type Config struct {
	Self core.MemberID // empty for a client: it suspects for itself, and never votes

	Probe  time.Duration // a round. Default 1 s
	Misses int           // rounds in a row without an answer that make a suspect. Default 3
	TTL    time.Duration // of leases; own timers later than a quarter of it make this node sick. Default 10 s

	Store    bool          // there is a core.ViewStore: votes and evictions are decided too
	Votes    int           // how many votes evict, at most. Default 2
	VoteLife time.Duration // how long a vote counts. Default 60 s
	Window   time.Duration // in which max(1, a tenth) of the members may be evicted. Default 10 s
}

func (c Config) complete() Config {
	c.Probe, c.TTL = orDefault(c.Probe, time.Second), orDefault(c.TTL, 10*time.Second)
	c.Misses, c.Votes = orDefault(c.Misses, 3), orDefault(c.Votes, 2)
	c.VoteLife, c.Window = orDefault(c.VoteLife, time.Minute), orDefault(c.Window, 10*time.Second)
	return c
}

func orDefault[T ~int | ~int64](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// Detector is the machine. One goroutine owns it.
type Detector struct {
	cfg   Config
	view  *core.View
	peers map[core.MemberID]*peer
	order []*peer   // of the view, ascending by ID
	due   time.Time // of the next round; zero before the first view

	sick   bool
	inTime int // rounds in a row that were, while sick

	seen    map[core.Suspicion]time.Time // votes in the view, since when
	gone    []time.Time                  // when members vanished without having announced it, within Window
	asked   map[request]bool             // of this round and this view
	accused bool
	blind   bool // this node sees too few of the others
}

// peer is one other member of the view.
type peer struct {
	id      core.MemberID
	status  core.Status
	heard   bool      // in this round
	ever    bool      // at all
	probed  bool      // at the begin of this round
	misses  int       // in a row, since it was heard, or since this node could see again
	silent  bool      // it missed too many, and was not heard since
	refused bool      // a reconnect was, since it was heard last
	relayed time.Time // when another member last heard of it; zero: never
	accused bool      // by a ban
	suspect bool
}

// request is what is asked of the provider.
type request struct {
	Type Type
	ID   core.MemberID
}

// New makes a Detector that knows no member yet.
func New(cfg Config) *Detector {
	return &Detector{cfg: cfg.complete(), peers: map[core.MemberID]*peer{}, seen: map[core.Suspicion]time.Time{}, asked: map[request]bool{}}
}

// Input is what happens to a Detector: Installed, Heard, Relayed, Refused, Accuse, Absolve, or Tick. Those about
// members that the view does not list are ignored.
type Input interface{ input() }

// Installed says that a view was installed, or that the installed one was revised; it is also how the
// present view that came with ErrConflict of a swap is told.
type Installed struct{ View *core.View }

// Heard says that something came from the member itself: traffic, gossip, or the answer to a Probe.
type Heard struct{ ID core.MemberID }

// Relayed says that a third member has heard the member's heartbeat: its version grew.
type Relayed struct{ ID core.MemberID }

// Refused says that a connection to the member was refused: nobody listens there.
type Refused struct {
	ID core.MemberID
	// Ever says that something has come from it before, be it too short a time ago for a round: then it was
	// there, and is not any more.
	Ever bool
}

// Accuse says that the member is refused for good, and to be evicted whether it is heard or not.
type Accuse struct{ ID core.MemberID }

// Absolve takes an Accuse back.
type Absolve struct{ ID core.MemberID }

// Tick says that the time of Next has come. It does no harm at any other.
type Tick struct{}

func (Installed) input() {}
func (Heard) input()     {}
func (Relayed) input()   {}
func (Refused) input()   {}
func (Accuse) input()    {}
func (Absolve) input()   {}
func (Tick) input()      {}

// Type says what an Effect is.
type Type uint8

// The types.
const (
	Probe    Type = iota + 1 // send the member something that it must answer
	Suspect                  // nothing new is to be placed there, and calls try another way
	Clear                    // it is no suspect any more
	Vote                     // write this node's vote against it
	Withdraw                 // take it back
	Evict                    // take its row out
	Sick                     // this node's own timers are late: it is not ready
	Well                     // they are in time again
	Accused                  // others vote against this node
	Absolved                 // they do no more
)

// String is the type as a word.
func (t Type) String() string {
	words := [...]string{"unknown", "probe", "suspect", "clear", "vote", "withdraw", "evict", "sick", "well", "accused", "absolved"}
	if int(t) < len(words) {
		return words[t]
	}
	return words[0]
}

// Effect is one thing to be done. Vote, Withdraw and Evict are asked for again in each round, and after
// each view, until the view shows them; Edit turns them into a record.
type Effect struct {
	Type Type
	ID   core.MemberID // of the other member; empty with what is about this node
}

// Step takes one input at the time now, which never goes back, and appends what is to be done.
func (d *Detector) Step(now time.Time, in Input, out []Effect) []Effect {
	changed := d.take(now, in)
	if !d.due.IsZero() && !now.Before(d.due) {
		out, changed = d.round(now, out), true
	}
	if !changed { // what is heard of the healthy costs next to nothing
		return out
	}
	return d.votes(now, d.judge(out))
}

// take notes what happened, and reports whether it may lead to something before the round ends.
func (d *Detector) take(now time.Time, in Input) (changed bool) {
	switch in := in.(type) {
	case Installed:
		return d.install(now, in.View)
	case Heard:
		return d.with(in.ID, (*peer).hear)
	case Relayed:
		return d.with(in.ID, func(p *peer) bool { p.relayed = now; return false })
	case Refused:
		return d.with(in.ID, func(p *peer) bool { p.refused, p.ever = true, p.ever || in.Ever; return true })
	case Accuse:
		return d.with(in.ID, func(p *peer) bool { p.accused = true; return true })
	case Absolve:
		return d.with(in.ID, func(p *peer) bool { p.accused = false; return true })
	}
	return false
}

// Next is when to send a Tick; false before the first view.
func (d *Detector) Next() (deadline time.Time, ok bool) { return d.due, !d.due.IsZero() }

func (d *Detector) with(id core.MemberID, note func(*peer) bool) (changed bool) {
	p := d.peers[id]
	return p != nil && note(p)
}

// hear ends all doubt in p but a ban.
func (p *peer) hear() (changed bool) {
	p.heard, p.ever, p.refused, p.silent, p.misses = true, true, false, false, 0
	return p.suspect
}

// install takes over the members of v, and remembers who vanished.
func (d *Detector) install(now time.Time, v *core.View) (changed bool) {
	if v == nil {
		return false
	}
	if d.due.IsZero() {
		d.due = now.Add(d.cfg.Probe)
	}
	d.view, d.order = v, nil
	for m := range v.All() {
		if m.ID != d.cfg.Self {
			d.order = append(d.order, d.meet(m))
		}
	}
	for id, p := range d.peers {
		if _, listed := v.Member(id); !listed {
			delete(d.peers, id)
			d.vanish(now, p)
		}
	}
	clear(d.asked)
	d.count(now)
	return true
}

func (d *Detector) meet(m core.Member) *peer {
	p := d.peers[m.ID]
	if p == nil {
		p = &peer{id: m.ID}
		d.peers[m.ID] = p
	}
	p.status = m.Status
	return p
}

// vanish counts one who is out without having announced it; those who vanished before the window are
// counted no more.
func (d *Detector) vanish(now time.Time, p *peer) {
	d.gone = slices.DeleteFunc(d.gone, func(at time.Time) bool { return now.Sub(at) >= d.cfg.Window })
	if p.status != core.Leaving {
		d.gone = append(d.gone, now)
	}
}

// round ends one round and begins the next.
func (d *Detector) round(now time.Time, out []Effect) []Effect {
	late := now.Sub(d.due)
	d.due = now.Add(d.cfg.Probe)
	clear(d.asked)
	out = d.health(late, out)
	listened := late <= d.cfg.Probe/2
	for _, p := range d.order {
		if listened && p.probed && !p.heard {
			p.misses = min(p.misses+1, 2*d.cfg.Misses)
		}
		p.probed = !p.heard
		p.heard = false
		if p.probed {
			out = append(out, Effect{Type: Probe, ID: p.id})
		}
	}
	return out
}

// health judges this node by how late its own timer was. Sick comes at once, and goes after as many
// rounds in time as make a suspect.
func (d *Detector) health(late time.Duration, out []Effect) []Effect {
	if late > d.cfg.TTL/4 {
		d.inTime = 0
		if !d.sick {
			d.sick = true
			out = append(out, Effect{Type: Sick})
		}
		return out
	}
	if d.inTime++; d.sick && d.inTime >= d.cfg.Misses {
		d.sick = false
		out = append(out, Effect{Type: Well})
	}
	return out
}

// patience is how many misses make a suspect: twice as many while this node is sick itself.
func (d *Detector) patience() int {
	if d.sick {
		return 2 * d.cfg.Misses
	}
	return d.cfg.Misses
}

// judge makes and clears suspects.
func (d *Detector) judge(out []Effect) []Effect {
	for _, p := range d.order {
		p.silent = p.silent || p.misses >= d.patience()
		suspect := p.accused || p.refused || p.silent
		if suspect == p.suspect {
			continue
		}
		p.suspect = suspect
		t := Clear
		if suspect {
			t = Suspect
		}
		out = append(out, Effect{Type: t, ID: p.id})
	}
	return out
}
