package membership

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/granary-go/granary/core"
)

// tester steps a Reducer on a clock that is turned by hand.
type tester struct {
	t   *testing.T
	r   *Reducer
	now time.Time
}

func newTester(t *testing.T, cfg ReducerConfig) *tester {
	t.Helper()
	return &tester{t: t, r: NewReducer(cfg), now: time.Now()}
}

func unordered(self string, grace time.Duration) ReducerConfig {
	return ReducerConfig{Config: Config{Self: core.MemberID(self)}, Grace: grace}
}

func (x *tester) after(d time.Duration) *tester { x.now = x.now.Add(d); return x }

func (x *tester) step(in Input) Effect { return x.r.Step(x.now, in) }

func (x *tester) report(ms ...core.Member) Effect {
	x.t.Helper()
	return x.step(Report{View: view(x.t, core.ViewRecord{Members: ms})})
}

func (x *tester) ordered(rec core.ViewRecord) Effect {
	x.t.Helper()
	return x.step(Report{View: view(x.t, rec)})
}

func (x *tester) wantView(want ...core.MemberID) {
	x.t.Helper()
	if got := ids(slices.Collect(all(x.r.View()))); !slices.Equal(got, want) {
		x.t.Fatalf("the view has %v, want %v", got, want)
	}
}

func (x *tester) wantIDs(what string, got []core.MemberID, want ...core.MemberID) {
	x.t.Helper()
	if !slices.Equal(got, want) {
		x.t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

// wantNext checks that the next deadline is in d; 0: there is none.
func (x *tester) wantNext(d time.Duration) {
	x.t.Helper()
	at, ok := x.r.Next()
	if ok != (d > 0) || ok && !at.Equal(x.now.Add(d)) {
		x.t.Fatalf("next is in %v (%v), want in %v", at.Sub(x.now), ok, d)
	}
}

var (
	self = row("s", "h:9", 1)
	b    = row("b", "h:1", 2)
	c    = row("c", "h:2", 3)
)

func leaving(m core.Member) core.Member { m.Status = core.Leaving; return m }

func TestFlapShorterThanTheGraceMovesNothing(t *testing.T) {
	x := newTester(t, unordered("s", DefaultGrace))
	x.report(self, b, c)
	epoch := x.r.View().Epoch()
	for range 5 {
		e := x.after(time.Second).report(self, c)
		if e.Outcome != Ignored {
			t.Fatalf("a missing row: %v %+v", e.Outcome, e.Topology)
		}
		x.wantIDs("missing", e.Missing, "b")
		x.wantNext(DefaultGrace)
		if e = x.after(DefaultGrace - 1).step(Tick{}); e.Outcome != Ignored {
			t.Fatalf("a tick before the end of the grace: %v", e.Outcome)
		}
		e = x.report(self, b, c)
		if e.Outcome != Ignored {
			t.Fatalf("the row is back: %v", e.Outcome)
		}
		x.wantIDs("returned", e.Returned, "b")
		x.wantNext(0)
	}
	if x.r.View().Epoch() != epoch {
		t.Errorf("flaps moved the epoch from %d to %d", epoch, x.r.View().Epoch())
	}
}

func TestMissingLongerThanTheGraceIsOut(t *testing.T) {
	x := newTester(t, unordered("s", time.Second))
	x.report(self, b, c)
	x.report(self, c)
	x.after(400*time.Millisecond).report(self, c) // the grace does not begin anew
	x.wantNext(600 * time.Millisecond)
	e := x.after(600 * time.Millisecond).step(Tick{})
	x.wantIDs("left", ids(e.Topology.Left), "b")
	x.wantView("c", "s")
	x.wantNext(0)

	e = x.after(time.Hour).report(self, b, c) // served again
	x.wantIDs("joined", ids(e.Topology.Joined), "b")
	if e.Blocked != nil || x.r.refused("b") {
		t.Error("a member that went missing is blocked")
	}
}

func TestAnnouncedLeaveIsNotHeld(t *testing.T) {
	x := newTester(t, unordered("s", DefaultGrace))
	x.report(self, b, c)
	x.report(self, leaving(b), c)
	e := x.report(self, c)
	x.wantIDs("left", ids(e.Topology.Left), "b")
	if e.Blocked != nil || x.r.refused("b") {
		t.Error("a member that left in order is blocked")
	}
}

func TestFollowerEndsTheGrace(t *testing.T) {
	x := newTester(t, unordered("s", DefaultGrace))
	x.report(self, b, c)
	x.report(self, c)
	next := row("n", "h:1", 1) // an earlier clock
	e := x.after(time.Second).report(self, next, c)
	x.wantIDs("left", ids(e.Topology.Left), "b")
	x.wantIDs("joined", ids(e.Topology.Joined), "n")
	x.wantIDs("blocked", e.Blocked, "b")
	x.wantNext(0)
	if e = x.report(self, b, c); len(e.Missing) != 1 {
		t.Fatalf("the stale row: %+v", e)
	}
	x.wantView("c", "n", "s")
}

func TestNoGraceTakesOutAtOnce(t *testing.T) {
	x := newTester(t, unordered("s", 0))
	x.report(self, b)
	x.report(self)
	x.wantView("s")
	x.wantNext(0)
}

func TestBanFiltersAnUnorderedView(t *testing.T) {
	x := newTester(t, unordered("s", DefaultGrace))
	x.report(self, b, c)
	e := x.step(Ban{ID: "b", For: time.Minute, Reason: "test"})
	x.wantIDs("left", ids(e.Topology.Left), "b")
	x.wantIDs("blocked", e.Blocked, "b")
	x.wantIDs("banned", e.Banned, "b")
	x.wantIDs("accused", e.Accused)
	if e = x.step(Ban{ID: "b", For: time.Second}); e.Blocked != nil {
		t.Errorf("blocked twice: %v", e.Blocked)
	}
	x.wantNext(time.Minute)
	x.report(self, b, c)
	x.wantView("c", "s")

	// Whoever follows at the address is served.
	x.report(self, c, row("n", "h:1", 9))
	x.wantView("c", "n", "s")
	x.report(self, leaving(row("n", "h:1", 9)), b, c)
	x.report(self, b, c)

	if e = x.after(time.Minute - 1).step(Tick{}); e.Unblocked != nil {
		t.Fatal("unblocked before the end")
	}
	x.wantView("c", "s")
	e = x.after(1).step(Tick{})
	x.wantIDs("unblocked", e.Unblocked, "b")
	x.wantIDs("joined", ids(e.Topology.Joined), "b")
	x.wantIDs("banned", e.Banned)
	x.wantNext(0)
}

func TestBanOfARetiredMemberBlocksOnce(t *testing.T) {
	x := newTester(t, unordered("s", DefaultGrace))
	x.report(self, b)
	e := x.report(self, b, row("n", "h:1", 9))
	x.wantIDs("blocked", e.Blocked, "b")
	e = x.step(Ban{ID: "b", For: time.Minute})
	x.wantIDs("blocked again", e.Blocked)
	e = x.after(time.Minute).step(Tick{})
	x.wantIDs("unblocked", e.Unblocked) // it is still retired
}

func TestBanThatFollowsOnAnotherUnblocksNobody(t *testing.T) {
	x := newTester(t, unordered("s", DefaultGrace))
	x.report(self, b)
	x.step(Ban{ID: "b", For: time.Minute})
	e := x.after(time.Minute).step(Ban{ID: "b", For: time.Minute})
	x.wantIDs("blocked", e.Blocked)
	x.wantIDs("unblocked", e.Unblocked)
	x.wantView("s")
}

func TestBanNeverEditsAnOrderedView(t *testing.T) {
	x := newTester(t, ReducerConfig{Config: Config{Self: "s", Ordered: true}, Grace: DefaultGrace})
	x.ordered(stored("L", 2, self, b, c))
	before := x.r.View()
	e := x.step(Ban{ID: "b", For: time.Minute})
	if e.Outcome != Ignored || x.r.View() != before {
		t.Fatalf("%v: the view was changed", e.Outcome)
	}
	x.wantIDs("blocked", e.Blocked, "b")
	x.wantIDs("accused", e.Accused, "b")
	e = x.ordered(stored("L", 3, self, b))
	x.wantIDs("accused again", e.Accused)
	x.wantView("b", "s") // c is out at once: the grace of an ordered view is its provider's
	e = x.after(time.Minute).step(Tick{})
	x.wantIDs("absolved", e.Absolved, "b")
	x.wantIDs("unblocked", e.Unblocked, "b")

	x.step(Ban{ID: "b", For: time.Minute})
	e = x.ordered(stored("L", 4, self))
	x.wantIDs("absolved with its row", e.Absolved, "b")
	e = x.ordered(stored("L", 5, self, row("n", "h:1", 7), row("o", "h:1", 6)))
	x.wantIDs("the older at one address is accused", e.Accused, "o")
}

func TestBanOfThisMemberChangesNothingButItsKnowledge(t *testing.T) {
	for _, cfg := range []ReducerConfig{unordered("s", 0), {Config: Config{Self: "s", Ordered: true}}} {
		x := newTester(t, cfg)
		x.ordered(stored(map[bool]string{true: "L"}[cfg.Ordered], 2, self, b))
		e := x.step(Ban{ID: "s", From: "b", For: time.Minute})
		x.wantIDs("accused", e.Accused, "s")
		x.wantIDs("blocked", e.Blocked)
		x.wantView("b", "s")
		e = x.after(time.Minute).step(Tick{})
		x.wantIDs("absolved", e.Absolved, "s")
		x.wantIDs("unblocked", e.Unblocked)
	}
}

func TestBansAreBounded(t *testing.T) {
	const most = 5
	for _, own := range []bool{true, false} {
		from := map[bool]core.MemberID{false: "c"}[own]
		x := newTester(t, ReducerConfig{Config: Config{Self: "s"}, MaxBans: most})
		for i := range most - 1 {
			x.step(Ban{ID: core.MemberID(fmt.Sprint("x", i)), For: time.Duration(100-i) * time.Second, From: from})
		}
		if n := len(x.r.bans.by); n != most-1 {
			t.Fatalf("%d bans one below the bound", n)
		}
		if e := x.step(Ban{ID: "last", For: time.Second, From: from}); e.Unblocked != nil {
			t.Fatalf("at the bound %v had to yield", e.Unblocked)
		}
		e := x.step(Ban{ID: "one more", For: time.Hour, From: from})
		x.wantIDs("yielded", e.Unblocked, "last") // it would have ended first
		x.wantIDs("blocked", e.Blocked, "one more")
		e = x.step(Ban{ID: "one more", For: 2 * time.Hour, From: from})
		x.wantIDs("an extension drives nobody out", e.Unblocked)
		if n := len(x.r.bans.by); n != most {
			t.Fatalf("%d bans, at most %d", n, most)
		}
	}
}

func TestPeersCannotDriveOutOwnBans(t *testing.T) {
	x := newTester(t, ReducerConfig{Config: Config{Self: "s"}, MaxBans: 2})
	x.step(Ban{ID: "mine", For: time.Second})
	x.step(Ban{ID: "theirs", From: "b"})
	for i := range 100 {
		x.step(Ban{ID: core.MemberID(fmt.Sprint("flood", i)), From: "b"})
	}
	if !banned(x.r, x.now, "mine") || len(x.r.bans.by) != 2 {
		t.Fatalf("bans %v", sorted(x.r.bans.by))
	}
	e := x.step(Ban{ID: "mine too", For: time.Second})
	x.wantIDs("yielded", e.Unblocked, "flood99")
	e = x.step(Ban{ID: "more of theirs", From: "b"})
	x.wantIDs("blocked", e.Blocked)
	e = x.step(Ban{ID: "mine three", For: time.Minute})
	x.wantIDs("yielded to an own one", e.Unblocked, "mine")
}

func TestLengthOfBans(t *testing.T) {
	tests := []struct {
		name string
		give []time.Duration
		want time.Duration // 0: no ban
	}{
		{"default", []time.Duration{0}, DefaultBan},
		{"negative", []time.Duration{-1}, 0},
		{"one nanosecond", []time.Duration{1}, 1},
		{"the longest", []time.Duration{MaxBan}, MaxBan},
		{"beyond the longest", []time.Duration{math.MaxInt64}, MaxBan},
		{"a shorter one changes nothing", []time.Duration{time.Minute, time.Second}, time.Minute},
		{"a longer one extends", []time.Duration{time.Second, time.Minute}, time.Minute},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			x := newTester(t, unordered("s", 0))
			for _, d := range test.give {
				x.step(Ban{ID: "b", For: d})
			}
			x.wantNext(test.want)
			if test.want > 0 && !banned(x.r, x.now.Add(test.want-1), "b") || banned(x.r, x.now.Add(test.want), "b") {
				t.Error("the ban does not end when it should")
			}
		})
	}
}

// Members that tell each other what they know of a ban must not keep it alive.
func TestBansArePassedOnByWhoSaidThemOnly(t *testing.T) {
	one, two := newTester(t, unordered("s", 0)), newTester(t, unordered("b", 0))
	one.step(Ban{ID: "x", For: time.Minute, Reason: "why"})
	for range 70 {
		for _, ban := range one.r.Bans(one.now) {
			ban.From = "s"
			two.step(ban)
		}
		for _, ban := range two.r.Bans(two.now) {
			ban.From = "b"
			one.step(ban)
		}
		one.after(time.Second).step(Tick{})
		two.after(time.Second).step(Tick{})
	}
	if banned(one.r, one.now, "x") || banned(two.r, two.now, "x") {
		t.Error("the ban outlived its time")
	}
}

// shiftWall moves the wall clock reading of at, and leaves the monotonic one as it is: what the clock of
// the machine does when it is set.
func shiftWall(t *testing.T, at time.Time, d time.Duration) time.Time {
	t.Helper()
	out := at
	wall := (*uint64)(unsafe.Pointer(&out)) // 1 bit: has a monotonic reading; 33 bits: seconds; 30 bits: nanoseconds
	*wall += uint64(int64(d/time.Second)) << 30
	if out.Sub(at) != 0 || out.Round(0).Sub(at.Round(0)) != d.Truncate(time.Second) {
		t.Fatalf("the layout of time.Time has changed: %v is %v away", out, out.Round(0).Sub(at.Round(0)))
	}
	return out
}

func TestWallClockIsIrrelevant(t *testing.T) {
	for _, shift := range []time.Duration{time.Hour, -time.Hour} {
		x := newTester(t, unordered("s", DefaultGrace))
		x.report(self, b, c)
		x.step(Ban{ID: "c", For: time.Minute})
		x.report(self, c) // b is missing
		x.now = shiftWall(t, x.now, shift)
		x.step(Tick{})
		x.wantView("b", "s")
		x.after(DefaultGrace - 1).step(Tick{})
		x.wantView("b", "s")
		x.after(1).step(Tick{})
		x.wantView("s")
		if !banned(x.r, x.now, "c") {
			t.Errorf("shifted by %v: the ban has ended", shift)
		}
		x.now = shiftWall(t, x.now, -shift)
		x.after(time.Minute - DefaultGrace - 1).step(Tick{})
		x.wantView("s")
		x.after(1).step(Tick{})
		x.wantView("c", "s")
	}
}

func TestHashIsThatOfTheWire(t *testing.T) {
	x := newTester(t, unordered("", 0))
	if e := x.report(); e.Hash != 0 {
		t.Errorf("of nobody: %d", e.Hash)
	}
	e := x.report(row("member-c", "h:1", 1), row("member-a", "h:2", 1), row("member-b", "h:3", 1))
	if e.Hash != 0x610d38815288282c {
		t.Errorf("hash %#x", e.Hash)
	}
	if !slices.IsSorted(ids(slices.Collect(x.r.View().All()))) {
		t.Error("the members are not sorted")
	}
}

// banned reports whether a ban of id is in force.
func banned(r *Reducer, now time.Time, id core.MemberID) bool {
	return slices.ContainsFunc(r.Standing(now), func(s Standing) bool { return s.ID == id && now.Before(s.Until) })
}

// TestUnban: what this member has said ends; what others have said stays until they take it back.
func TestUnban(t *testing.T) {
	x := newTester(t, unordered("s", 0))
	x.step(Ban{ID: "a", For: time.Hour})
	x.step(Ban{ID: "b", For: time.Hour})
	x.step(Ban{ID: "b", For: time.Minute, From: "p"})
	x.step(Ban{ID: "b", For: 2 * time.Minute, From: "q"})
	want := []Standing{{ID: "a", Until: x.now.Add(time.Hour), Own: true}, {ID: "b", Until: x.now.Add(time.Hour), Own: true, From: []core.MemberID{"p", "q"}}}
	if got := x.r.Standing(x.now); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	x.wantIDs("unblocked", x.step(Unban{ID: "a"}).Unblocked, "a")
	x.wantIDs("unblocked again", x.step(Unban{ID: "a"}).Unblocked)
	x.wantIDs("unblocked, with other bans", x.step(Unban{ID: "b"}).Unblocked)
	if len(x.r.Bans(x.now)) > 0 || !banned(x.r, x.now.Add(119*time.Second), "b") {
		t.Errorf("own bans %v, in force %v", x.r.Bans(x.now), x.r.Standing(x.now))
	}
	x.wantNext(2 * time.Minute)
	x.wantIDs("one takes it back", x.step(Told{From: "q", IDs: []core.MemberID{"a"}}).Unblocked)
	x.wantNext(time.Minute)
	x.wantIDs("one who never said it", x.step(Told{From: "r"}).Unblocked)
	x.wantIDs("the other says it still", x.step(Told{From: "p", IDs: []core.MemberID{"c", "b"}}).Unblocked)
	x.wantIDs("the other takes it back", x.step(Told{From: "p", IDs: []core.MemberID{"c"}}).Unblocked, "b")
	x.wantNext(0)
	x.step(Ban{ID: "c", For: time.Second, From: "p"})
	x.step(Ban{ID: "c", For: time.Hour})
	x.after(time.Minute)
	if got := x.r.Standing(x.now); len(got) != 1 || len(got[0].From) > 0 {
		t.Errorf("what p said has ended: %+v", got)
	}
	x.wantIDs("of another's ban that has ended", x.step(Unban{ID: "c"}).Unblocked, "c")
}

// TestUnbanLetsIn the row that the provider still has.
func TestUnbanLetsIn(t *testing.T) {
	x := newTester(t, unordered("s", 0))
	x.report(self, b, c)
	x.step(Ban{ID: "b", For: time.Hour})
	x.wantView("c", "s")
	e := x.step(Unban{ID: "b"})
	x.wantView("b", "c", "s")
	x.wantIDs("joined", ids(e.Topology.Joined), "b")
}

// TestNextIsTheFirstToEnd, in whatever order the bans came.
func TestNextIsTheFirstToEnd(t *testing.T) {
	x := newTester(t, unordered("s", time.Second))
	for _, minutes := range []int{20, 10, 30} {
		x.step(Ban{ID: core.MemberID(fmt.Sprint(minutes)), For: time.Duration(minutes) * time.Minute})
	}
	x.wantNext(10 * time.Minute)
	x.wantIDs("unblocked", x.after(10*time.Minute).step(Tick{}).Unblocked, "10")
	x.wantNext(10 * time.Minute)
}

// TestWhoComesBackBesideItsFollower is not told as returned: it is out.
func TestWhoComesBackBesideItsFollower(t *testing.T) {
	x := newTester(t, unordered("s", time.Second))
	x.report(self, b)
	x.wantIDs("missing", x.report(self).Missing, "b")
	x.wantIDs("returned", x.report(self, b, row("n", b.Address, 9)).Returned)
	x.wantView("n", "s")
}
