package membership

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
)

// model is what a Reducer without an order should do, written as plainly as can be: maps by ID, and no
// thought of speed. The steps of joining are unique, so that the newest at an address is never in doubt.
type model struct {
	grace   time.Duration
	last    map[core.MemberID]core.Member // reported
	view    map[core.MemberID]core.Member
	retired map[core.MemberID]bool
	came    map[core.MemberID]int // the step in which an ID was first seen
	steps   int
	missing map[core.MemberID]time.Time // since
	banned  map[core.MemberID]time.Time // until
}

func newModel(grace time.Duration) *model {
	return &model{
		grace: grace, view: map[core.MemberID]core.Member{}, retired: map[core.MemberID]bool{},
		came: map[core.MemberID]int{}, missing: map[core.MemberID]time.Time{}, banned: map[core.MemberID]time.Time{},
	}
}

func (m *model) refused() map[core.MemberID]bool {
	out := maps.Clone(m.retired)
	for id := range m.banned {
		out[id] = true
	}
	delete(out, "s")
	return out
}

func (m *model) step(now time.Time) {
	maps.DeleteFunc(m.banned, func(_ core.MemberID, until time.Time) bool { return !now.Before(until) })
	if m.last == nil {
		return
	}
	next := maps.Clone(m.last)
	maps.DeleteFunc(next, func(id core.MemberID, _ core.Member) bool { return m.refused()[id] })
	maps.DeleteFunc(m.missing, func(id core.MemberID, _ time.Time) bool {
		_, there := next[id]
		return there
	})
	taken := map[string]bool{}
	for _, row := range next {
		taken[row.Address] = true
	}
	for id, row := range m.view {
		if _, there := next[id]; there {
			continue
		}
		if _, known := m.missing[id]; !known && m.grace > 0 {
			m.missing[id] = now
		}
		since := m.missing[id]
		if id == "s" || m.grace > 0 && row.Status != core.Leaving && !m.refused()[id] && !taken[row.Address] && now.Sub(since) < m.grace {
			next[id] = row
		}
		if _, stays := next[id]; !stays || id == "s" {
			delete(m.missing, id)
		}
	}
	m.steps++
	for id := range next {
		if m.came[id] == 0 {
			m.came[id] = m.steps
		}
	}
	for id, row := range next { // one member an address: this one, or else the newest
		for other, o := range next {
			if id != other && row.Address == o.Address && id != "s" && (other == "s" || o.Joined > row.Joined) {
				m.retired[id] = true
			}
		}
	}
	maps.DeleteFunc(next, func(id core.MemberID, _ core.Member) bool { return m.retired[id] })
	for id, row := range m.view { // whoever was followed before anybody saw both
		if _, stays := next[id]; stays {
			continue
		}
		for other, o := range next {
			if o.Address != row.Address {
				continue
			}
			if m.came[id] > m.came[other] { // an old report
				m.retired[other] = true
			} else {
				m.retired[id] = true
			}
		}
	}
	maps.DeleteFunc(next, func(id core.MemberID, _ core.Member) bool { return m.retired[id] && id != "s" })
	m.view = next
}

// lab runs a Reducer and its model side by side over one random schedule.
type lab struct {
	t       *testing.T
	seed    uint64
	rand    *rand.Rand
	now     time.Time
	grace   time.Duration
	truth   map[core.MemberID]core.Member
	hidden  map[core.MemberID]bool // members that the provider does not see at the moment
	names   []core.MemberID
	r       *Reducer
	m       *model
	replay  core.Members
	blocked map[core.MemberID]bool
	waiting map[core.MemberID]bool
	steps   *int
}

func TestReducerAgainstTheModel(t *testing.T) {
	schedules, steps := uint64(600), 0
	for seed := range schedules {
		r := rand.New(rand.NewPCG(seed, 7))
		grace := []time.Duration{0, time.Second, DefaultGrace}[r.IntN(3)]
		l := &lab{
			t: t, seed: seed, rand: r, now: time.Now(), grace: grace,
			truth:  map[core.MemberID]core.Member{"s": self},
			hidden: map[core.MemberID]bool{}, names: []core.MemberID{"s", "nobody"},
			r: NewReducer(unordered("s", grace)), m: newModel(grace),
			blocked: map[core.MemberID]bool{}, waiting: map[core.MemberID]bool{}, steps: &steps,
		}
		for range 60 {
			l.step()
		}
	}
	t.Logf("%d steps", steps)
}

func (l *lab) step() {
	*l.steps++
	l.now = l.now.Add(time.Duration(l.rand.Int64N(int64(time.Second))))
	switch l.rand.IntN(10) {
	case 0:
		l.change()
	case 1, 2:
		l.flap()
	}
	in := Input(Tick{})
	switch n := l.rand.IntN(10); {
	case n < 6:
		l.m.last = l.reported()
		rec := core.ViewRecord{Members: slices.Collect(maps.Values(l.m.last))}
		in = Report{View: view(l.t, rec)}
	case n == 6:
		in = l.ban()
	case n == 7:
		if at, ok := l.r.Next(); ok && at.After(l.now) {
			l.now = at
		}
	}
	if ban, ok := in.(Ban); ok {
		if until := l.now.Add(ban.length()); until.After(l.m.banned[ban.ID]) {
			l.m.banned[ban.ID] = until
		}
	}
	l.m.step(l.now)
	l.check(l.r.Step(l.now, in))
}

func (l *lab) change() {
	n := len(l.names)
	id := core.MemberID(fmt.Sprintf("m%d-%d", l.rand.IntN(100), n))
	m := row(string(id), fmt.Sprintf("h:%d", 9+l.rand.IntN(5)), uint64(n))
	old := l.names[l.rand.IntN(n)]
	switch o, there := l.truth[old]; l.rand.IntN(3) {
	case 0:
		l.truth[id], l.names = m, append(l.names, id)
	case 1:
		delete(l.truth, old)
	case 2:
		if there {
			o.Status = core.Status(1 + l.rand.IntN(3))
			l.truth[old] = o
		}
	}
}

func (l *lab) flap() {
	id := l.names[l.rand.IntN(len(l.names))]
	l.hidden[id] = !l.hidden[id]
}

func (l *lab) reported() map[core.MemberID]core.Member {
	out := maps.Clone(l.truth)
	maps.DeleteFunc(out, func(id core.MemberID, _ core.Member) bool { return l.hidden[id] })
	return out
}

func (l *lab) ban() Ban {
	return Ban{ID: l.names[l.rand.IntN(len(l.names))], For: time.Duration(1 + l.rand.Int64N(int64(20*time.Second)))}
}

func (l *lab) check(e Effect) {
	l.t.Helper()
	if e.Outcome == Installed {
		left := core.NewMembers(e.Topology.Left...)
		l.replay = l.replay.Difference(left).Union(e.Topology.Joined).Union(e.Topology.Changed)
	}
	want := core.NewMembers(slices.Collect(maps.Values(l.m.view))...)
	got := core.Members(slices.Collect(all(l.r.View())))
	same := func(a, b core.Member) bool { return a.ID == b.ID && a.Status == b.Status && a.Address == b.Address }
	if !slices.EqualFunc(got, want, same) {
		l.t.Fatalf("seed %d: the view has %v, the model %v", l.seed, ids(got), ids(want))
	}
	if !slices.EqualFunc(l.replay, want, same) {
		l.t.Fatalf("seed %d: the topologies lead to %v, not to %v", l.seed, ids(l.replay), ids(want))
	}
	follow(l, "blocked", l.blocked, e.Blocked, e.Unblocked, l.m.refused())
	lost := maps.Clone(l.waiting)
	for id := range lost { // let go, not returned
		if _, stays := l.m.view[id]; !stays {
			delete(l.waiting, id)
		}
	}
	missing := map[core.MemberID]bool{}
	for id := range l.m.missing {
		missing[id] = true
	}
	started := slices.DeleteFunc(slices.Clone(e.Missing), func(id core.MemberID) bool { return !missing[id] })
	follow(l, "missing", l.waiting, started, e.Returned, missing)
}

// follow applies what an effect said came and went, each once, and compares with what should be.
func follow(l *lab, what string, have map[core.MemberID]bool, came, went []core.MemberID, want map[core.MemberID]bool) {
	l.t.Helper()
	if !slices.IsSorted(came) || !slices.IsSorted(went) {
		l.t.Fatalf("seed %d: %s: not sorted: %v, %v", l.seed, what, came, went)
	}
	for _, id := range went {
		if !have[id] || slices.Contains(came, id) {
			l.t.Fatalf("seed %d: %s: %s ended without a beginning", l.seed, what, id)
		}
		delete(have, id)
	}
	for _, id := range came {
		if have[id] {
			l.t.Fatalf("seed %d: %s: %s was told twice", l.seed, what, id)
		}
		have[id] = true
	}
	if !maps.Equal(have, want) {
		l.t.Fatalf("seed %d: %s: %v, the model has %v", l.seed, what, sorted(have), sorted(want))
	}
}

// TestOrderedReducerAgainstTheModel: an ordered view is the latest report that follows, whatever is
// banned or missing; bans only refuse and accuse.
func TestOrderedReducerAgainstTheModel(t *testing.T) {
	for seed := range uint64(300) {
		c := &cluster{rand: rand.New(rand.NewPCG(seed, 3)), rows: map[core.MemberID]core.Member{"s": row("s", "h:0", 0)}}
		x := newTester(t, ReducerConfig{Config: Config{Self: "s", Ordered: true}, Grace: DefaultGrace})
		accused := map[core.MemberID]bool{}
		var newest core.ViewRecord
		for range 40 {
			c.change(true)
			x.after(time.Duration(c.rand.IntN(1000)) * time.Millisecond)
			in := Input(Tick{})
			if n := c.rand.IntN(len(c.history)); c.rand.IntN(3) > 0 {
				n = max(n, len(c.history)-1-c.rand.IntN(2))
				in = Report{View: view(t, c.history[n])}
				if c.history[n].Epoch > newest.Epoch {
					newest = c.history[n]
				}
			} else if len(newest.Members) > 0 {
				in = Ban{ID: newest.Members[c.rand.IntN(len(newest.Members))].ID, For: time.Second}
			}
			e := x.step(in)
			if len(newest.Members) > 0 && x.r.View().Hash() != view(t, newest).Hash() {
				t.Fatalf("seed %d: the view is not the newest report", seed)
			}
			for _, id := range e.Absolved {
				delete(accused, id)
			}
			for _, id := range e.Accused {
				accused[id] = true
			}
			for m := range all(x.r.View()) {
				if want := banned(x.r, x.now, m.ID) || x.r.list.retired.has(m.ID); accused[m.ID] != want {
					t.Fatalf("seed %d: %s accused: %v, want %v", seed, m.ID, accused[m.ID], want)
				}
			}
		}
	}
}
