package disthash

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
)

var noon = time.Unix(1_700_000_000, 0)

// after installs views one after the other for the member self.
func after(t testing.TB, self core.MemberID, views ...*core.View) *state {
	t.Helper()
	var s *state
	for _, v := range views {
		s = s.next(self, newTable(v, false), false, noon, time.Second)
	}
	return s
}

func with(m core.Member, change func(*core.Member)) core.Member {
	change(&m)
	return m
}

func TestWhoIsWaitedFor(t *testing.T) {
	up := func(i int) core.Member { return member(i, "Cart") }
	status := func(i int, s core.Status) core.Member {
		return with(up(i), func(m *core.Member) { m.Status = s })
	}
	for _, tc := range []struct {
		name   string
		before []core.Member
		after  []core.Member
		want   []core.MemberID
	}{
		{"nothing changed", []core.Member{up(0), up(1)}, []core.Member{up(0), up(1)}, nil},
		{"this member turned up", []core.Member{status(0, core.Joining), up(1), up(2)}, []core.Member{up(0), up(1), up(2)}, []core.MemberID{"member-1", "member-2"}},
		{"another turned up", []core.Member{up(0), status(1, core.Joining)}, []core.Member{up(0), up(1)}, nil},
		{"another came", []core.Member{up(0)}, []core.Member{up(0), up(1)}, nil},
		{"another died", []core.Member{up(0), up(1), up(2)}, []core.Member{up(0), up(2)}, nil},
		{"another leaves", []core.Member{up(0), up(1), up(2)}, []core.Member{up(0), status(1, core.Leaving), up(2)}, []core.MemberID{"member-1"}},
		{"this member leaves", []core.Member{up(0), up(1)}, []core.Member{status(0, core.Leaving), up(1)}, nil},
		{"another lost weight", []core.Member{up(0), up(1)}, []core.Member{up(0), with(up(1), func(m *core.Member) { m.Weight = 10 })}, []core.MemberID{"member-1"}},
		{"weight 0 is 100", []core.Member{up(0), up(1)}, []core.Member{up(0), with(up(1), func(m *core.Member) { m.Weight = 100 })}, nil},
		{"this member gained weight", []core.Member{up(0), up(1)}, []core.Member{with(up(0), func(m *core.Member) { m.Weight = 200 }), up(1)}, []core.MemberID{"member-1"}},
		{"another dropped a kind", []core.Member{up(0), member(1, "Cart", "Other")}, []core.Member{up(0), member(1, "Other")}, []core.MemberID{"member-1"}},
		{"one that never hosted", []core.Member{status(0, core.Joining), member(1)}, []core.Member{up(0), member(1)}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := after(t, "member-0", view(t, tc.before...), view(t, tc.after...))
			if got, _ := s.waiting(); !slices.Equal(got, tc.want) {
				t.Errorf("waits for %v, want %v", got, tc.want)
			}
			for i := range 300 {
				was, _ := newTable(view(t, tc.before...), false).owner(identity(i))
				moved := was != nil && was.ID != "member-0" && slices.Contains(tc.want, was.ID)
				if s.now.owns("member-0", identity(i)) && s.held(identity(i)) != moved {
					t.Fatalf("%v: held %v, it came from %v", identity(i), s.held(identity(i)), was)
				}
			}
		})
	}
}

func TestSettledAndGivenUp(t *testing.T) {
	joining := with(member(0, "Cart"), func(m *core.Member) { m.Status = core.Joining })
	s := after(t, "member-0", view(t, joining, member(1, "Cart"), member(2, "Cart")), view(t, members(3)...))
	if s.overdue(noon.Add(999*time.Millisecond)) != nil {
		t.Error("given up too soon")
	}
	if got := s.overdue(noon.Add(time.Second)); !slices.Equal(got, []core.MemberID{"member-1", "member-2"}) {
		t.Errorf("overdue: %v", got)
	}
	half := s.settled(noon.Add(time.Minute), "member-1")
	if got, _ := half.waiting(); !slices.Equal(got, []core.MemberID{"member-2"}) || len(half.before) != 1 {
		t.Errorf("waits for %v with %d tables", got, len(half.before))
	}
	done := half.settled(noon.Add(time.Minute), "member-2")
	if got, first := done.waiting(); len(got) != 0 || !first.IsZero() || len(done.before) != 0 {
		t.Errorf("waits for %v with %d tables", got, len(done.before))
	}
	if got, _ := s.waiting(); len(got) != 2 {
		t.Error("a state was changed in place")
	}
}

// TestWhatSettledIsRemembered from view to view: who has stopped all it lost is asked no further back than that.
func TestWhatSettledIsRemembered(t *testing.T) {
	joining := with(member(0, "Cart"), func(m *core.Member) { m.Status = core.Joining })
	s := after(t, "member-0", view(t, joining, member(1, "Cart"), member(2, "Cart")), view(t, members(3)...))
	s = s.settled(noon, "member-1", "member-2")
	for _, v := range []*core.View{view(t, members(4)...), view(t, member(0, "Cart"), member(1, "Cart"), member(3, "Cart"))} { // one comes, one dies
		s = s.next("member-0", newTable(v, false), false, noon, time.Second)
	}
	if w := s.waits["member-1"]; w.from != 1 {
		t.Errorf("waits for what member-1 owned since table %d, want 1: %v", w.from, s.waits)
	}
}

// TestPatienceDoesNotBeginAnew: however many views come, a member is waited for no longer than once.
func TestPatienceDoesNotBeginAnew(t *testing.T) {
	joining := with(member(0, "Cart"), func(m *core.Member) { m.Status = core.Joining })
	s := after(t, "member-0", view(t, joining, member(1, "Cart")), view(t, members(2)...))
	for i := range 5 {
		v := view(t, member(0, "Cart"), member(1, "Cart"), member(2+i, "Cart"))
		s = s.next("member-0", newTable(v, false), false, noon.Add(time.Duration(i+1)*100*time.Millisecond), time.Second)
		if ids, first := s.waiting(); !slices.Equal(ids, []core.MemberID{"member-1"}) || !first.Equal(noon.Add(time.Second)) {
			t.Fatalf("after %d further views %v are waited for until %v after the first", i+1, ids, first.Sub(noon))
		}
	}
}

func TestCompatWaitsForNobody(t *testing.T) {
	joining := with(member(0, "Cart"), func(m *core.Member) { m.Status = core.Joining })
	var s *state
	for _, v := range []*core.View{view(t, joining, member(1, "Cart")), view(t, members(2)...)} {
		s = s.next("member-0", newTable(v, true), true, noon, time.Second)
	}
	if ids, _ := s.waiting(); len(ids) != 0 {
		t.Errorf("waits for %v", ids)
	}
}

// Views change faster than members settle; tables are then bounded.
func TestTablesAreBounded(t *testing.T) {
	s := after(t, "member-0", view(t, with(member(0, "Cart"), func(m *core.Member) { m.Status = core.Joining }), member(1, "Cart")))
	for i := range 3 * maxBefore {
		s = s.next("member-0", newTable(view(t, member(0, "Cart"), with(member(1, "Cart"), func(m *core.Member) { m.Weight = uint16(100 + i) })), false), false, noon, time.Second)
	}
	if len(s.before) != maxBefore {
		t.Errorf("%d tables are kept", len(s.before))
	}
}

// The model knows, for each member, what it may still run: what it owned under any view since it was
// last known to be settled. What is owned here and not held may run nowhere else.
func TestHeldAgainstTheModel(t *testing.T) {
	const size, keys = 5, 40
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		rows := map[int]core.Member{0: with(member(0, "Cart"), func(m *core.Member) { m.Status = core.Joining })}
		mayRun := map[core.MemberID]map[core.Identity]bool{}
		var s *state
		for step := range 7 {
			if step > 0 {
				change(r, rows, size)
			}
			v := view(t, slices.Collect(maps.Values(rows))...)
			s = s.next("member-0", newTable(v, false), false, noon, time.Second)
			for i := range keys {
				if owner, ok := s.now.owner(identity(i)); ok {
					if mayRun[owner.ID] == nil {
						mayRun[owner.ID] = map[core.Identity]bool{}
					}
					mayRun[owner.ID][identity(i)] = true
				}
			}
			settle(r, s, mayRun)
			if ids, _ := s.waiting(); len(ids) > 0 && r.IntN(3) == 0 {
				id := ids[r.IntN(len(ids))]
				s = s.settled(noon, id)
				drop(s, mayRun, id)
			}
			for i := range keys {
				if !s.now.owns("member-0", identity(i)) || s.held(identity(i)) {
					continue
				}
				for id, runs := range mayRun {
					if _, there := v.Member(id); there && id != "member-0" && runs[identity(i)] {
						t.Fatalf("seed %d, step %d: %v is not held, and %s may run it", seed, step, identity(i), id)
					}
				}
			}
		}
	}
}

// change alters one row, or adds or removes a member. IDs are not used again.
func change(r *rand.Rand, rows map[int]core.Member, size int) {
	i := r.IntN(size)
	m, there := rows[i]
	switch what := r.IntN(4); {
	case !there:
		fresh := member(i, "Cart")
		fresh.ID = core.MemberID(fmt.Sprintf("member-%d-%d", i, r.Uint32()))
		fresh.Status = core.Status(1 + r.IntN(2))
		rows[i] = fresh
	case what == 0 && i != 0:
		delete(rows, i)
	case what == 1:
		m.Weight = uint16(50 * (1 + r.IntN(4)))
		rows[i] = m
	case m.Status == core.Joining:
		m.Status = core.Up
		rows[i] = m
	case what == 2 && i != 0:
		m.Status = core.Leaving
		rows[i] = m
	}
}

// settle lets members that nobody waits for stop what they lost: nobody can have noticed.
func settle(r *rand.Rand, s *state, mayRun map[core.MemberID]map[core.Identity]bool) {
	for id := range mayRun {
		if _, waited := s.waits[id]; !waited && id != "member-0" && r.IntN(2) == 0 {
			drop(s, mayRun, id)
		}
	}
}

// drop leaves a member what it owns.
func drop(s *state, mayRun map[core.MemberID]map[core.Identity]bool, id core.MemberID) {
	maps.DeleteFunc(mayRun[id], func(i core.Identity, _ bool) bool { return !s.now.owns(id, i) })
}

func TestLosers(t *testing.T) {
	s := after(t, "member-0", view(t, members(3)...))
	var running []core.Activation
	for i := range 300 {
		running = append(running, core.Activation{Identity: identity(i)})
	}
	running = append(running, core.Activation{Identity: core.Identity{Kind: "Nobody", Key: "k"}})
	lost := s.losers("member-0", slices.Values(running))
	for _, a := range running {
		if s.now.owns("member-0", a.Identity) == slices.Contains(lost, a) {
			t.Errorf("%v is owned here and lost, or neither", a.Identity)
		}
	}
}
