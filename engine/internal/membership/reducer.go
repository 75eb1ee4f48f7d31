package membership

import (
	"maps"
	"slices"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
	"github.com/granary-go/granary/engine/internal/convert"
)

// DefaultGrace is for how long a row that is missing from the reports of a provider without an order
// is kept: a fifth of a lease of 10 s.
const DefaultGrace = 2 * time.Second

// ReducerConfig is what a Reducer judges by.
type ReducerConfig struct {
	Config

	// Grace is for how long a member stays in the view that the provider reports no more, unless it
	// has announced its leave or another has its address. Only without an order: an ordered view is
	// installed as it is reported. 0: not at all.
	Grace time.Duration

	// MaxBans bounds the bans that are remembered. 0: DefaultMaxBans.
	MaxBans int
}

// Reducer is a List with a memory in time: the reports of a provider and bans go in, and what is to be
// installed, refused and proposed comes out. One goroutine owns it. It takes time from its caller, and
// compares it by its monotonic reading only.
type Reducer struct {
	cfg     ReducerConfig
	list    *List
	bans    bans
	last    *core.View // unordered: the latest report
	missing map[core.MemberID]time.Time
	accused []core.MemberID
	told    map[core.MemberID]bool // rejected
}

// NewReducer makes a Reducer that has installed nothing.
func NewReducer(cfg ReducerConfig) *Reducer {
	if cfg.MaxBans == 0 {
		cfg.MaxBans = DefaultMaxBans
	}
	return &Reducer{
		cfg: cfg, list: New(cfg.Config), bans: bans{max: cfg.MaxBans},
		missing: map[core.MemberID]time.Time{}, told: map[core.MemberID]bool{},
	}
}

// Input is what happens to a Reducer: a Report, a Ban, an Unban, what it was Told, or a Tick.
type Input interface{ input() }

// Report is one view of the provider. A nil View is ignored.
type Report struct{ View *core.View }

// Tick says that the time of Next has come. It does no harm at any other.
type Tick struct{}

func (Report) input() {}
func (Ban) input()    {}
func (Unban) input()  {}
func (Told) input()   {}
func (Tick) input()   {}

// View is the installed view; nil before the first.
func (r *Reducer) View() *core.View { return r.list.View() }

// Step takes one input at the time now, which never goes back. After Evicted there is no other effect.
func (r *Reducer) Step(now time.Time, in Input) Effect {
	if r.list.evicted {
		return Effect{}
	}
	var e Effect
	e.Unblocked = r.freed(r.bans.expire(now))
	switch in := in.(type) {
	case Ban:
		r.ban(now, in, &e)
	case Unban:
		r.lift(now, "", func(id core.MemberID) bool { return id == in.ID }, &e)
	case Told:
		r.lift(now, in.From, func(id core.MemberID) bool { return !slices.Contains(in.IDs, id) }, &e)
	}
	report, _ := in.(Report)
	if r.cfg.Ordered {
		r.ordered(report.View, &e)
	} else {
		r.unordered(now, report.View, &e)
	}
	r.finish(&e)
	return e
}

// Next is when to send a Tick; false: nothing waits for time to pass.
func (r *Reducer) Next() (deadline time.Time, ok bool) {
	if r.list.evicted {
		return time.Time{}, false
	}
	deadline, ok = r.bans.next()
	for _, until := range r.missing {
		if !ok || until.Before(deadline) {
			deadline, ok = until, true
		}
	}
	return deadline, ok
}

// ordered hands the report to the list as it is.
func (r *Reducer) ordered(report *core.View, e *Effect) {
	if report == nil {
		return
	}
	r.keep(e, r.list.Step(report))
	e.Rejected = r.reject(report)
}

// unordered hands the list the latest report without the refused, and with those that are missing for
// a short while only.
func (r *Reducer) unordered(now time.Time, report *core.View, e *Effect) {
	if report != nil {
		r.last = report
		e.Rejected = r.reject(report)
	}
	if r.last == nil {
		return
	}
	rows := r.usable()
	rows = append(rows, r.held(now, rows, e)...)
	view, err := core.NewView(core.ViewRecord{Members: rows})
	if err != nil { // the rows are those of checked views, so only a bug of the provider leads here
		e.Outcome, e.Reason = Held, err.Error()
		return
	}
	r.keep(e, r.list.Step(view))
}

// usable are the reported rows that this node may install.
func (r *Reducer) usable() (rows []core.Member) {
	for m := range r.last.All() {
		if r.refused(m.ID) || m.ID != r.cfg.Self && unreachable(m.Address) != "" {
			continue
		}
		rows = append(rows, m)
	}
	return rows
}

// held are the installed rows that are not among rows and that the grace keeps.
func (r *Reducer) held(now time.Time, rows []core.Member, e *Effect) (kept []core.Member) {
	listed, addresses := core.Members(rows), addressesOf(rows)
	for _, id := range sorted(r.missing) {
		if listed.Has(id) {
			delete(r.missing, id)
			e.Returned = append(e.Returned, id)
		}
	}
	for m := range all(r.View()) {
		if m.ID == r.cfg.Self || listed.Has(m.ID) {
			continue
		}
		if !r.mayReturn(m, addresses) {
			delete(r.missing, m.ID)
			continue
		}
		if r.waits(now, m.ID, e) {
			kept = append(kept, m)
		}
	}
	return kept
}

// mayReturn reports whether a flap of the provider can be why m is not reported: it has not said that
// it leaves, is not refused, and nobody has followed it at its address.
func (r *Reducer) mayReturn(m core.Member, taken map[string]bool) bool {
	return r.cfg.Grace > 0 && !simbug.On("flap-moves") && m.Status != core.Leaving && !r.refused(m.ID) && !taken[m.Address]
}

// waits reports whether the grace of id still runs; it begins with the first call.
func (r *Reducer) waits(now time.Time, id core.MemberID, e *Effect) bool {
	until, known := r.missing[id]
	if !known {
		until = now.Add(r.cfg.Grace)
		r.missing[id] = until
		e.Missing = append(e.Missing, id)
	}
	if now.Before(until) || simbug.On("missing-member-kept") {
		return true
	}
	delete(r.missing, id)
	return false
}

// keep takes what the list has made of a report into e.
func (r *Reducer) keep(e *Effect, of Effect) {
	e.Outcome, e.Topology, e.Retired, e.Reason = of.Outcome, of.Topology, of.Retired, of.Reason
	for _, id := range of.Retired {
		if !r.bans.has(id) {
			e.Blocked = append(e.Blocked, id)
		}
	}
}

// finish fills what follows from all the rest.
func (r *Reducer) finish(e *Effect) {
	slices.Sort(e.Blocked)
	slices.Sort(e.Unblocked)
	e.Blocked, e.Unblocked = without(e.Blocked, e.Unblocked), without(e.Unblocked, e.Blocked)
	gone := func(id core.MemberID) bool { return !r.lists(id) }
	e.Missing, e.Returned = slices.DeleteFunc(e.Missing, gone), slices.DeleteFunc(e.Returned, gone)
	maps.DeleteFunc(r.missing, func(id core.MemberID, _ time.Time) bool { return gone(id) })
	e.Accused, e.Absolved = r.accuse()
	if e.Outcome == Installed {
		e.Hash, e.Banned = WireHash(r.View()), r.bans.all(r.cfg.Self)
	}
}

// lists reports whether id is in the installed view: who came back together with a follower at its
// address is not.
func (r *Reducer) lists(id core.MemberID) bool {
	if r.View() == nil {
		return false
	}
	_, listed := r.View().Member(id)
	return listed
}

// refused reports whether the traffic of id is: it is banned, or retired by another at its address.
// This member itself never is.
func (r *Reducer) refused(id core.MemberID) bool {
	return id != r.cfg.Self && (r.bans.has(id) || r.list.retired.has(id))
}

// accuse finds who is accused now, and returns who came and who went.
func (r *Reducer) accuse() (came, went []core.MemberID) {
	var now []core.MemberID
	for m := range all(r.View()) {
		if m.ID == r.cfg.Self && r.bans.has(m.ID) || r.cfg.Ordered && r.refused(m.ID) {
			now = append(now, m.ID)
		}
	}
	came, went = without(now, r.accused), without(r.accused, now)
	r.accused = now
	return came, went
}

// WireHash is Proto.Actor's hash of the members of v, as it stands in its topology messages.
func WireHash(v *core.View) uint64 {
	ids := make([]core.MemberID, 0, v.Len())
	for m := range v.All() {
		ids = append(ids, m.ID)
	}
	return convert.TopologyHash(ids)
}
