package detector

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/granary-go/granary/core"
)

// tester steps one Detector on a clock that is turned by hand.
type tester struct {
	t     *testing.T
	d     *Detector
	now   time.Time
	epoch uint64
	rev   uint64
}

// newTester makes the detector of the member a, in a view of a and the others.
func newTester(t *testing.T, cfg Config, others ...string) *tester {
	t.Helper()
	if cfg.Self == "" {
		cfg.Self = "a"
	}
	x := &tester{t: t, d: New(cfg), now: time.Now()}
	x.install(nil, append([]string{"a"}, others...)...)
	return x
}

func (x *tester) install(votes []core.Suspicion, members ...string) string {
	x.t.Helper()
	return x.step(Installed{x.view(votes, members...)})
}

func (x *tester) view(votes []core.Suspicion, members ...string) *core.View {
	x.t.Helper()
	x.epoch++
	x.rev++
	rec := core.ViewRecord{Lineage: "L", Epoch: x.epoch, Revision: x.rev, WriteID: "w", Suspicions: votes}
	for i, id := range members {
		m := core.Member{ID: core.MemberID(strings.TrimSuffix(id, "~")), Address: fmt.Sprintf("h:%d", 1+i), Status: core.Up}
		if strings.HasSuffix(id, "~") {
			m.Status = core.Leaving
		}
		rec.Members = append(rec.Members, m)
	}
	v, err := core.NewView(rec)
	if err != nil {
		x.t.Fatal(err)
	}
	return v
}

// step returns the effects but for probes, as text.
func (x *tester) step(in Input) string {
	x.t.Helper()
	var out []string
	for _, e := range x.d.Step(x.now, in, nil) {
		if e.Type != Probe {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%v %s", e.Type, e.ID)))
		}
	}
	return strings.Join(out, ", ")
}

// rounds lets n rounds pass in time, in which the given members are heard.
func (x *tester) rounds(n int, heard ...core.MemberID) string {
	x.t.Helper()
	var out []string
	for range n {
		for _, id := range heard {
			if got := x.step(Heard{id}); got != "" {
				out = append(out, got)
			}
		}
		at, ok := x.d.Next()
		if !ok {
			x.t.Fatal("nothing is next")
		}
		x.now = at
		if got := x.step(Tick{}); got != "" {
			out = append(out, got)
		}
	}
	return strings.Join(out, ", ")
}

func (x *tester) want(what, got, want string) {
	x.t.Helper()
	if got != want {
		x.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func vote(suspect, voter string) core.Suspicion {
	return core.Suspicion{Suspect: core.MemberID(suspect), Voter: core.MemberID(voter), Epoch: 1}
}

func TestSilenceMakesASuspect(t *testing.T) {
	x := newTester(t, Config{}, "b", "c")
	x.want("heard", x.rounds(20, "b", "c"), "")
	x.want("one probe and two misses", x.rounds(3, "c"), "")
	x.want("three misses", x.rounds(1, "c"), "suspect b")
	x.want("told once", x.rounds(20, "c"), "")
	if got := x.d.Suspects(); !slices.Equal(got, []core.MemberID{"b"}) || !x.d.Suspected("b") || x.d.Suspected("c") || x.d.Suspected("x") {
		t.Errorf("suspects %v", got)
	}
	x.want("heard again", x.step(Heard{"b"}), "clear b")
	x.want("two misses at a time", x.rounds(3, "c")+x.step(Heard{"b"})+x.rounds(3, "c")+x.step(Heard{"b"}), "")
}

func TestTheSilentAreProbed(t *testing.T) {
	x := newTester(t, Config{}, "b", "c")
	x.rounds(1, "b", "c")
	x.step(Heard{"c"})
	x.now, _ = x.d.Next()
	got := x.d.Step(x.now, Tick{}, nil)
	if want := []Effect{{Type: Probe, ID: "b"}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got = x.d.Step(x.now, Tick{}, got[:0]); len(got) != 0 {
		t.Errorf("a tick too many: %v", got)
	}
}

func TestRefusedCountsAtOnce(t *testing.T) {
	x := newTester(t, Config{Store: true}, "b", "c")
	x.rounds(3, "b", "c")
	x.step(Relayed{"b"}) // its last heartbeat is still under way
	x.want("refused", x.step(Refused{ID: "b"}), "suspect b, vote b")
	x.want("heard", x.step(Heard{"b"}), "clear b")
	x.want("a stranger", x.step(Refused{ID: "x"}), "")
}

// TestRefusedBeforeTheFirstRound: who was there, and is not any more, is voted against however young it is;
// whoever was never heard may only be out of reach from here.
func TestRefusedBeforeTheFirstRound(t *testing.T) {
	x := newTester(t, Config{Store: true}, "b", "c")
	x.want("never heard", x.step(Refused{ID: "b"}), "suspect b")
	x.want("heard once", x.step(Refused{ID: "c", Ever: true}), "suspect c, vote c")
}

func TestVotesAndEviction(t *testing.T) {
	x := newTester(t, Config{Store: true}, "b", "c")
	x.rounds(3, "b", "c")
	x.want("silent", x.rounds(4, "c"), "suspect b, vote b")
	x.want("asked again in the next round", x.rounds(1, "c"), "vote b")
	x.want("written", x.install([]core.Suspicion{vote("b", "a")}, "a", "b", "c"), "")
	x.want("one vote of two", x.rounds(5, "c"), "")
	x.want("the other vote", x.install([]core.Suspicion{vote("b", "a"), vote("b", "c")}, "a", "b", "c"), "evict b")
	x.want("asked again", x.rounds(1, "c"), "evict b")
	x.want("the view was not", x.install([]core.Suspicion{vote("b", "a"), vote("b", "c")}, "a", "b", "c"), "evict b")
	x.want("out", x.install(nil, "a", "c"), "")
	x.want("peace", x.rounds(5, "c"), "")
}

func TestVoteIsTakenBack(t *testing.T) {
	x := newTester(t, Config{Store: true}, "b", "c")
	x.rounds(3, "b", "c")
	x.rounds(4, "c")
	x.install([]core.Suspicion{vote("b", "a")}, "a", "b", "c")
	x.want("heard", x.step(Heard{"b"}), "clear b, withdraw b")
	x.want("until it is gone", x.rounds(1, "b", "c"), "withdraw b")
	x.want("gone", x.install(nil, "a", "b", "c"), "")
	x.want("peace", x.rounds(5, "b", "c"), "")
}

func TestWordOfAThirdHoldsTheVoteBack(t *testing.T) {
	x := newTester(t, Config{Store: true}, "b", "c")
	x.rounds(3, "b", "c")
	for i := range 10 {
		x.step(Relayed{"b"})
		x.want("relayed", x.rounds(1, "c"), map[bool]string{true: "suspect b"}[i == 3])
	}
	x.want("silent there too", x.rounds(3, "c"), "vote b, vote b, vote b")
}

func TestNeverHeardIsNotVotedAgainst(t *testing.T) {
	x := newTester(t, Config{Store: true}, "b", "c")
	x.want("silent from the start", x.rounds(20, "c"), "suspect b")
	x.want("and refused", x.step(Refused{ID: "b"}), "")
	x.want("others vote", x.install([]core.Suspicion{vote("b", "c"), vote("b", "d")}, "a", "b", "c", "d"), "")
}

func TestBlindNodeAccusesNobody(t *testing.T) {
	x := newTester(t, Config{Store: true}, "b", "c", "d", "e")
	x.rounds(3, "b", "c", "d", "e")
	x.want("it sees two of five", x.rounds(10, "b"), "suspect c, suspect d, suspect e")
	x.want("it sees three", x.step(Heard{"c"}), "clear c")
	x.want("the others have a chance to be heard", x.rounds(2, "b", "c"), "")
	x.want("they were not", x.rounds(1, "b", "c"), "vote d, vote e")
}

func TestHalfWithTheSmallestIDSees(t *testing.T) {
	for _, self := range []core.MemberID{"a", "d"} {
		x := newTester(t, Config{Store: true, Self: self}, "b", "c", "d")
		others := slices.DeleteFunc([]core.MemberID{"a", "b", "c", "d"}, func(id core.MemberID) bool { return id == self })
		x.rounds(3, others...)
		near := map[core.MemberID]core.MemberID{"a": "b", "d": "c"}[self]
		got := strings.Contains(x.rounds(4, near), "vote")
		if want := self == "a"; got != want {
			t.Errorf("%s votes: %v, want %v", self, got, want)
		}
	}
}

func TestNeededVotes(t *testing.T) {
	members := []string{"b", "c", "d", "e", "f", "g", "h", "i", "j"}
	for n, want := range map[int]int{2: 1, 3: 2, 4: 2, 5: 2, 10: 2} {
		x := newTester(t, Config{Store: true}, members[:n-1]...)
		if got := x.d.needed(); got != want {
			t.Errorf("of %d: %d votes, want %d", n, got, want)
		}
	}
}

func TestWhichVotesCount(t *testing.T) {
	tests := []struct {
		name  string
		votes []core.Suspicion
		wait  int // rounds
		want  bool
	}{
		{"of another", []core.Suspicion{vote("b", "c")}, 0, true},
		{"none", nil, 0, false},
		{"of the suspect", []core.Suspicion{vote("b", "b")}, 0, false},
		{"of a stranger", []core.Suspicion{vote("b", "x")}, 0, false},
		{"the own one only", []core.Suspicion{vote("b", "a")}, 0, false},
		{"against another", []core.Suspicion{vote("c", "d")}, 0, false},
		{"one second young", []core.Suspicion{vote("b", "c")}, 59, true},
		{"too old", []core.Suspicion{vote("b", "c")}, 60, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			x := newTester(t, Config{Store: true}, "b", "c", "d")
			x.rounds(3, "b", "c", "d")
			x.install(test.votes, "a", "b", "c", "d")
			got := x.rounds(test.wait, "b", "c", "d") + x.step(Refused{ID: "b"})
			if strings.Contains(got, "evict b") != test.want {
				t.Errorf("%q", got)
			}
		})
	}
}

func TestOwnVoteIsRenewed(t *testing.T) {
	x := newTester(t, Config{Store: true}, "b", "c")
	x.rounds(3, "b", "c")
	x.rounds(4, "c")
	x.install([]core.Suspicion{vote("b", "a")}, "a", "b", "c")
	x.want("it counts", x.rounds(59, "c"), "")
	x.want("it has ended", x.rounds(1, "c"), "withdraw b")
	x.want("it is gone", x.install(nil, "a", "b", "c"), "vote b")
}

// TestOwnVoteIsAsOldAsTheLast of those that the view lists.
func TestOwnVoteIsAsOldAsTheLast(t *testing.T) {
	for range 10 { // they are walked in any order
		x := newTester(t, Config{Store: true}, "b", "c")
		x.rounds(3, "b", "c")
		x.rounds(4, "c")
		first, second := vote("b", "a"), vote("b", "a")
		second.Epoch = 2
		x.install([]core.Suspicion{first}, "a", "b", "c")
		x.rounds(30, "c")
		x.install([]core.Suspicion{first, second}, "a", "b", "c")
		x.want("it counts", x.rounds(59, "c"), "")
		x.want("it has ended", x.rounds(1, "c"), "withdraw b")
	}
}

func TestRation(t *testing.T) {
	members := []string{"b", "c", "d", "e", "f", "g", "h", "i", "j"}
	heard := []core.MemberID{"d", "e", "f", "g", "h", "i", "j"}
	x := newTester(t, Config{Store: true}, members...)
	x.rounds(3, append(heard, "b", "c")...)
	votes := []core.Suspicion{vote("b", "d"), vote("c", "d")}
	x.install(votes, append([]string{"a"}, members...)...)
	x.want("one of two", x.rounds(4, heard...), "suspect b, suspect c, vote b, evict b, vote c")
	x.want("it is out", x.install(votes[1:], append([]string{"a"}, members[1:]...)...), "vote c")
	for range 9 {
		x.want("the ration is used up", x.rounds(1, heard...), "vote c")
	}
	x.want("after 10 s", x.rounds(1, heard...), "vote c, evict c")
}

func TestAnnouncedLeavesUseUpNoRation(t *testing.T) {
	x := newTester(t, Config{Store: true}, "b", "c", "d", "e", "f~")
	x.rounds(3, "b", "c", "d", "e", "f")
	x.install(nil, "a", "b", "c", "d", "e~", "f~")
	x.install([]core.Suspicion{vote("b", "c")}, "a", "b", "c", "d")
	x.want("refused", x.step(Refused{ID: "b"}), "suspect b, vote b, evict b")
}

func TestOwnLag(t *testing.T) {
	x := newTester(t, Config{Store: true}, "b", "c", "d")
	x.rounds(3, "b", "c", "d")
	late := func(d time.Duration) string {
		at, _ := x.d.Next()
		x.now = at.Add(d)
		return x.step(Tick{})
	}
	x.want("a quarter of the lease", late(2500*time.Millisecond), "")
	x.want("more", late(2500*time.Millisecond+1), "sick")
	if x.d.Healthy() {
		t.Error("it calls itself healthy")
	}
	x.want("still", late(time.Minute), "")
	x.want("in time, and twice as patient", x.rounds(2, "c"), "")
	x.want("three rounds in time", x.rounds(1, "c"), "well, suspect b, suspect d, vote b, vote d")
	if !x.d.Healthy() {
		t.Error("it calls itself sick")
	}
}

func TestSickNodeIsTwiceAsPatient(t *testing.T) {
	x := newTester(t, Config{}, "b", "c", "d")
	x.rounds(3, "b", "c", "d")
	misses := 0
	for !x.d.Suspected("b") {
		for range 2 { // in time, in time, then too late to count
			x.rounds(1, "c", "d")
			misses++
		}
		at, _ := x.d.Next()
		x.now = at.Add(3 * time.Second)
		x.step(Tick{})
	}
	if misses < 6 || misses > 8 {
		t.Errorf("suspected after %d misses, want 6 or a little more", misses)
	}
}

func TestLateRoundCountsNoMiss(t *testing.T) {
	x := newTester(t, Config{}, "b")
	x.rounds(3, "b")
	for range 20 {
		at, _ := x.d.Next()
		x.now = at.Add(501 * time.Millisecond)
		x.want("late", x.step(Tick{}), "")
	}
	x.want("in time", x.rounds(2), "")
	x.want("three", x.rounds(1), "suspect b")
}

func TestBanned(t *testing.T) {
	x := newTester(t, Config{Store: true}, "b", "c")
	x.rounds(1, "b", "c")
	x.want("accused", x.step(Accuse{"b"}), "suspect b, vote b")
	x.want("heard", x.rounds(3, "b", "c"), "vote b, vote b, vote b")
	x.want("absolved", x.step(Absolve{"b"}), "clear b")
	x.want("itself", x.step(Accuse{"a"}), "")
}

func TestOthersVoteAgainstThisNode(t *testing.T) {
	x := newTester(t, Config{Store: true}, "b", "c")
	x.want("one", x.install([]core.Suspicion{vote("a", "b")}, "a", "b", "c"), "accused")
	x.want("two", x.install([]core.Suspicion{vote("a", "b"), vote("a", "c")}, "a", "b", "c"), "")
	x.want("none", x.install(nil, "a", "b", "c"), "absolved")
	x.want("a stranger", x.install([]core.Suspicion{vote("a", "x")}, "a", "b", "c"), "")
}

func TestWithoutAStoreNothingIsWritten(t *testing.T) {
	x := newTester(t, Config{}, "b", "c")
	x.rounds(3, "b", "c")
	x.want("silent", x.rounds(10, "c"), "suspect b")
	x.want("votes of others", x.install([]core.Suspicion{vote("b", "a"), vote("b", "c")}, "a", "b", "c"), "")
}

func TestNodeThatIsNotListedWritesNothing(t *testing.T) {
	for _, self := range []core.MemberID{"z", ""} {
		d := New(Config{Self: self, Store: true})
		x := &tester{t: t, d: d, now: time.Now()}
		x.install(nil, "b", "c")
		x.rounds(3, "b", "c")
		x.want("silent", x.rounds(10, "c"), "suspect b")
	}
}

func TestNothingBeforeTheFirstView(t *testing.T) {
	x := &tester{t: t, d: New(Config{Self: "a"}), now: time.Now()}
	for _, in := range []Input{Tick{}, Heard{"b"}, Refused{ID: "b"}, Relayed{"b"}, Accuse{"b"}, Absolve{"b"}, Installed{}} {
		x.want(fmt.Sprintf("%T", in), x.step(in), "")
	}
	if _, ok := x.d.Next(); ok {
		t.Error("something is next")
	}
}

// The wall clock may be set while the machine runs: only the monotonic reading counts.
func TestWallClockIsIrrelevant(t *testing.T) {
	for _, shift := range []time.Duration{time.Hour, -time.Hour} {
		x := newTester(t, Config{Store: true}, "b", "c")
		x.rounds(3, "b", "c")
		x.install([]core.Suspicion{vote("b", "c")}, "a", "b", "c")
		*(*uint64)(unsafe.Pointer(&x.now)) += uint64(int64(shift/time.Second)) << 30 // seconds of the wall reading
		if at, _ := x.d.Next(); at.Sub(x.now) > time.Second || at.Sub(x.now) < 0 {
			t.Fatalf("the layout of time.Time has changed")
		}
		x.want("heard", x.rounds(30, "b", "c"), "")
		x.want("the vote counts", x.step(Refused{ID: "b"}), "suspect b, vote b, evict b")
	}
}

func TestHearingCostsNothing(t *testing.T) {
	x := newTester(t, Config{Store: true}, "b", "c")
	out := make([]Effect, 0, 8)
	if n := testing.AllocsPerRun(100, func() { x.d.Step(x.now, Heard{"b"}, out) }); n > 1 { // the input itself
		t.Errorf("%v allocations", n)
	}
}

func TestEdit(t *testing.T) {
	x := &tester{t: t}
	v := x.view([]core.Suspicion{vote("b", "c"), vote("c", "a"), vote("b", "x"), vote("d", "b")}, "a", "b", "c", "d")
	tests := []struct {
		name    string
		effects []Effect
		votes   []core.Suspicion
		members int
		changed bool
	}{
		{"nothing", nil, nil, 0, false},
		{"what is no matter of the record", []Effect{{Suspect, "b"}, {Probe, "c"}, {Sick, ""}}, nil, 0, false},
		{"a vote", []Effect{{Vote, "d"}}, []core.Suspicion{vote("b", "c"), vote("c", "a"), vote("d", "b"), vote("d", "a")}, 4, true},
		{"a vote that is there", []Effect{{Vote, "c"}}, nil, 0, false},
		{"a vote against a stranger", []Effect{{Vote, "x"}}, nil, 0, false},
		{"taken back", []Effect{{Withdraw, "c"}}, []core.Suspicion{vote("b", "c"), vote("d", "b")}, 4, true},
		{"taken back, of another", []Effect{{Withdraw, "b"}}, nil, 0, false},
		{"vote and eviction", []Effect{{Vote, "b"}, {Evict, "b"}}, []core.Suspicion{vote("c", "a")}, 3, true},
		{"eviction of a stranger", []Effect{{Evict, "x"}}, nil, 0, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			next, changed := Edit(v, "a", test.effects)
			if changed != test.changed {
				t.Fatalf("changed %v", changed)
			}
			if changed && (!slices.Equal(next.Suspicions, test.votes) || len(next.Members) != test.members) {
				t.Errorf("%d members, votes %v", len(next.Members), next.Suspicions)
			}
		})
	}
}

func TestTypesHaveNames(t *testing.T) {
	seen := []string{"unknown"}
	for k := Probe; k <= Absolved; k++ {
		if slices.Contains(seen, k.String()) {
			t.Errorf("%d is %q", k, k)
		}
		seen = append(seen, k.String())
	}
	if Type(99).String() != "unknown" {
		t.Error("99 has a name")
	}
}
