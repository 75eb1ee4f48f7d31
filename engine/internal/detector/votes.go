package detector

import (
	"maps"
	"slices"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
)

// count takes in which votes the view lists, and since when. A vote ends when the view lists it no more.
func (d *Detector) count(now time.Time) {
	listed := map[core.Suspicion]bool{}
	for s := range d.view.Suspicions() {
		listed[s] = true
		if _, known := d.seen[s]; !known {
			d.seen[s] = now
		}
	}
	maps.DeleteFunc(d.seen, func(s core.Suspicion, _ time.Time) bool { return !listed[s] })
}

// votes asks the provider for what should be and is not: own votes, and evictions. What is asked was
// asked for once in this round and under this view.
func (d *Detector) votes(now time.Time, out []Effect) []Effect {
	if d.view == nil {
		return out
	}
	out = d.self(now, out)
	if _, listed := d.view.Member(d.cfg.Self); !listed || !d.cfg.Store {
		return out
	}
	d.look()
	budget := d.budget(now)
	for _, p := range d.order {
		want := d.votesAgainst(now, p)
		out = d.vote(now, p.id, want, out)
		if want && budget > 0 && 1+d.others(now, p.id) >= d.needed() {
			budget--
			out = d.ask(Evict, p.id, out)
		}
	}
	return out
}

// vote asks for the own vote against id to be written or taken back. One that has ended is renewed: it
// is written again once it is gone.
func (d *Detector) vote(now time.Time, id core.MemberID, want bool, out []Effect) []Effect {
	since, voted := d.own(id)
	switch {
	case voted && (!want || now.Sub(since) >= d.cfg.VoteLife):
		return d.ask(Withdraw, id, out)
	case want && !voted:
		return d.ask(Vote, id, out)
	}
	return out
}

func (d *Detector) ask(t Type, id core.MemberID, out []Effect) []Effect {
	r := request{t, id}
	if d.asked[r] {
		return out
	}
	d.asked[r] = true
	return append(out, Effect{Type: t, ID: id})
}

// votesAgainst reports whether this node is to vote against p: it is banned, or it was heard before
// and has fallen silent, for third members too unless nobody listens at its address any more.
func (d *Detector) votesAgainst(now time.Time, p *peer) bool {
	switch {
	case p.accused:
		return true
	case !p.ever || d.blind:
		return false
	case p.refused:
		return true
	}
	return p.misses >= d.patience() && (p.relayed.IsZero() || now.Sub(p.relayed) >= d.hearsay())
}

// hearsay is for how long the word of a third member counts: less than patience, by as much as a last
// heartbeat may still be passed around after the end of its member.
func (d *Detector) hearsay() time.Duration {
	return max(d.cfg.Probe, time.Duration(d.cfg.Misses-1)*d.cfg.Probe)
}

// look finds out whether this node is blind. Once it sees again, it has to miss the others anew before
// it votes: when a cut heals, some are heard a little sooner than the rest.
func (d *Detector) look() {
	was := d.blind
	d.blind = !d.sees()
	if !was || d.blind {
		return
	}
	for _, p := range d.order {
		p.misses = 0
	}
}

// sees reports whether this node still hears the larger part of the cluster, or the half with the
// smallest ID: else it is the one who is cut off, and votes against nobody. Members of which it knows
// that nobody listens there are gone, not cut off. Two members are equal.
func (d *Detector) sees() bool {
	present, heard, smallest, hears := 1, 1, d.cfg.Self, true
	for _, p := range d.order {
		if p.refused {
			continue
		}
		present++
		if !p.suspect {
			heard++
		}
		if p.id < smallest {
			smallest, hears = p.id, !p.suspect
		}
	}
	return 2*heard > present || 2*heard == present && (hears || present == 2)
}

// needed is how many votes evict.
func (d *Detector) needed() int {
	if simbug.On("suspicion-removes") {
		return 1
	}
	return min(d.cfg.Votes, (d.view.Len()+1)/2)
}

// own is since when the view lists this node's vote against id.
func (d *Detector) own(id core.MemberID) (since time.Time, voted bool) {
	for s, at := range d.seen {
		if s.Suspect == id && s.Voter == d.cfg.Self && (!voted || at.After(since)) {
			since, voted = at, true
		}
	}
	return since, voted
}

// others is how many live votes others have cast against id.
func (d *Detector) others(now time.Time, id core.MemberID) int {
	voters := map[core.MemberID]bool{}
	for s, since := range d.seen {
		_, listed := d.view.Member(s.Voter)
		if s.Suspect == id && s.Voter != d.cfg.Self && s.Voter != id && listed && now.Sub(since) < d.cfg.VoteLife {
			voters[s.Voter] = true
		}
	}
	return len(voters)
}

// budget is how many members may be evicted now.
func (d *Detector) budget(now time.Time) int {
	d.gone = slices.DeleteFunc(d.gone, func(at time.Time) bool { return now.Sub(at) >= d.cfg.Window })
	return max(1, (d.view.Len()+len(d.gone))/10) - len(d.gone)
}

// self tells when others begin and cease to vote against this node.
func (d *Detector) self(now time.Time, out []Effect) []Effect {
	accused := d.cfg.Self != "" && d.others(now, d.cfg.Self) > 0
	if accused == d.accused {
		return out
	}
	d.accused = accused
	if accused {
		return append(out, Effect{Type: Accused})
	}
	return append(out, Effect{Type: Absolved})
}

// Edit makes the record that carries out the Vote, Withdraw and Evict among effects: what to hand to
// SwapView together with view. False: there is nothing to write. Votes of whoever is not in the view
// go along the way.
func Edit(view *core.View, self core.MemberID, effects []Effect) (next core.ViewRecord, changed bool) {
	next = view.Record()
	for _, e := range effects {
		_, listed := view.Member(e.ID)
		switch mine := votedBy(next.Suspicions, self, e.ID); {
		case e.Type == Vote && listed && !mine:
			next.Suspicions, changed = append(next.Suspicions, core.Suspicion{Suspect: e.ID, Voter: self, Epoch: view.Epoch()}), true
		case e.Type == Withdraw && mine:
			next.Suspicions, changed = slices.DeleteFunc(next.Suspicions, func(s core.Suspicion) bool { return s.Suspect == e.ID && s.Voter == self }), true
		case e.Type == Evict && listed:
			next.Members, changed = slices.DeleteFunc(next.Members, func(m core.Member) bool { return m.ID == e.ID }), true
		}
	}
	members := core.Members(next.Members)
	next.Suspicions = slices.DeleteFunc(next.Suspicions, func(s core.Suspicion) bool { return !members.Has(s.Suspect) || !members.Has(s.Voter) })
	return next, changed
}

func votedBy(votes []core.Suspicion, voter, suspect core.MemberID) bool {
	return slices.ContainsFunc(votes, func(s core.Suspicion) bool { return s.Suspect == suspect && s.Voter == voter })
}
