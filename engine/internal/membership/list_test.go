package membership

import (
	"fmt"
	"slices"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func row(id, address string, joined uint64) core.Member {
	return core.Member{ID: core.MemberID(id), Address: address, Status: core.Up, Joined: joined, Kinds: []string{"K"}}
}

func view(t testing.TB, rec core.ViewRecord) *core.View {
	t.Helper()
	v, err := core.NewView(rec)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// stored makes a record as an ordered provider stores it, with one revision an epoch.
func stored(lineage string, epoch uint64, members ...core.Member) core.ViewRecord {
	return core.ViewRecord{Lineage: lineage, Epoch: epoch, Revision: epoch, WriteID: "w", Members: members}
}

func ids(ms []core.Member) []core.MemberID {
	var out []core.MemberID
	for _, m := range ms {
		out = append(out, m.ID)
	}
	return out
}

func TestOrderedReports(t *testing.T) {
	a, b, c := row("a", "h:1", 1), row("b", "h:2", 2), row("c", "h:3", 3)
	gone := stored("L", 3, b)
	gone.Departed = []core.Departure{{ID: "a", Epoch: 3}}
	revised := stored("L", 2, a, b)
	revised.Revision, revised.WriteID = 9, "x"
	rewritten := stored("L", 2, a, b, c)
	rewritten.WriteID = "other"
	tests := []struct {
		name   string
		strict bool
		report core.ViewRecord
		want   Outcome
	}{
		{"the same view again", false, stored("L", 2, a, b), Ignored},
		{"an older view", false, stored("L", 1, a), Ignored},
		{"a newer view", false, stored("L", 3, a, b, c), Installed},
		{"epochs were skipped", false, stored("L", 7, a, c), Installed},
		{"only the revision is newer", false, revised, Revised},
		{"the own row is gone", false, stored("L", 3, b), Evicted},
		{"the own row is among the departed", false, gone, Evicted},
		{"another lineage that lists this member", false, stored("M", 5, a), Installed},
		{"another lineage without this member", false, stored("M", 5, b), Held},
		{"an empty record", false, core.ViewRecord{Lineage: "M", Epoch: 5, WriteID: "w"}, Held},
		{"another lineage with a lower epoch", false, stored("M", 1, a), Held},
		{"one revision written twice", false, rewritten, Installed},
		{"strict: the own row is gone", true, stored("L", 3, b), Evicted},
		{"strict: another lineage", true, stored("M", 5, a, b), Evicted},
		{"strict: one revision written twice", true, rewritten, Evicted},
		{"strict: a newer view", true, stored("L", 3, a, b, c), Installed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := New(Config{Self: "a", Ordered: true, Strict: test.strict})
			if got := l.Step(view(t, stored("L", 2, a, b))); got.Outcome != Installed {
				t.Fatalf("the first view was %v", got.Outcome)
			}
			before := l.View()
			got := l.Step(view(t, test.report))
			if got.Outcome != test.want {
				t.Fatalf("outcome %v (%s), want %v", got.Outcome, got.Reason, test.want)
			}
			if moved := l.View() != before; moved != (test.want == Installed || test.want == Revised) {
				t.Errorf("the installed view changed: %v", moved)
			}
			if (got.Reason == "") == (test.want == Held || test.want == Evicted) {
				t.Errorf("reason %q", got.Reason)
			}
		})
	}
}

func TestNothingFollowsEviction(t *testing.T) {
	a, b := row("a", "h:1", 1), row("b", "h:2", 2)
	l := New(Config{Self: "a", Ordered: true})
	l.Step(view(t, stored("L", 2, a, b)))
	if got := l.Step(view(t, stored("L", 3, b))); got.Outcome != Evicted {
		t.Fatalf("outcome %v", got.Outcome)
	}
	if got := l.Step(view(t, stored("L", 4, a, b))); got.Outcome != Ignored {
		t.Fatalf("a report after the eviction was %v", got.Outcome)
	}
}

func TestJoinerIsNotEvictedBeforeItIsListed(t *testing.T) {
	a, b := row("a", "h:1", 1), row("b", "h:2", 2)
	l := New(Config{Self: "a", Ordered: true})
	for _, rec := range []core.ViewRecord{stored("L", 2, b), stored("L", 3, a, b)} {
		if got := l.Step(view(t, rec)); got.Outcome != Installed {
			t.Fatalf("epoch %d was %v: %s", rec.Epoch, got.Outcome, got.Reason)
		}
	}
}

func TestClientHasNoRowToLose(t *testing.T) {
	l := New(Config{Ordered: true, Strict: true})
	l.Step(view(t, stored("L", 2, row("b", "h:2", 2))))
	for _, rec := range []core.ViewRecord{stored("L", 3), stored("M", 5, row("c", "h:2", 2))} {
		if got := l.Step(view(t, rec)); got.Outcome != Installed {
			t.Fatalf("epoch %d was %v: %s", rec.Epoch, got.Outcome, got.Reason)
		}
	}
}

func TestNewIDAtKnownAddressRetiresTheOlder(t *testing.T) {
	self, old, next := row("s", "h:0", 1), row("old", "h:1", 2), row("next", "h:1", 3)
	t.Run("ordered views stay as they are", func(t *testing.T) {
		l := New(Config{Self: "s", Ordered: true})
		l.Step(view(t, stored("L", 2, self, old)))
		got := l.Step(view(t, stored("L", 3, self, old, next)))
		if !slices.Equal(got.Retired, []core.MemberID{"old"}) || l.View().Len() != 3 {
			t.Fatalf("retired %v, %d members", got.Retired, l.View().Len())
		}
		if again := l.Step(view(t, stored("L", 4, self, old, next, row("x", "h:9", 4)))); again.Retired != nil {
			t.Errorf("told twice: %v", again.Retired)
		}
	})
	t.Run("unordered views lose it at once", func(t *testing.T) {
		l := New(Config{Self: "s"})
		l.Step(view(t, core.ViewRecord{Members: []core.Member{self, old}}))
		got := l.Step(view(t, core.ViewRecord{Members: []core.Member{self, old, next}}))
		if !slices.Equal(got.Retired, []core.MemberID{"old"}) {
			t.Fatalf("retired %v", got.Retired)
		}
		if !slices.Equal(ids(got.Topology.Left), []core.MemberID{"old"}) || !slices.Equal(ids(got.Topology.Joined), []core.MemberID{"next"}) {
			t.Fatalf("topology %+v", got.Topology)
		}
		if again := l.Step(view(t, core.ViewRecord{Members: []core.Member{self, old}})); len(ids(again.Topology.Joined)) != 0 {
			t.Fatalf("the stale row came back: %+v", again.Topology)
		}
	})
	t.Run("this node never yields its own address", func(t *testing.T) {
		l := New(Config{Self: "s"})
		l.Step(view(t, core.ViewRecord{Members: []core.Member{self}}))
		got := l.Step(view(t, core.ViewRecord{Members: []core.Member{self, row("thief", "h:0", 9)}}))
		if !slices.Equal(got.Retired, []core.MemberID{"thief"}) || l.View().Len() != 1 {
			t.Fatalf("retired %v, %d members", got.Retired, l.View().Len())
		}
	})
}

// TestStaleRowBesideThePresent: a member that starts may be shown the present process of an address first,
// and the one before it later.
func TestStaleRowBesideThePresent(t *testing.T) {
	l := New(Config{Self: "s"})
	self, old, next := row("s", "h:0", 1), row("old", "h:1", 1000), row("next", "h:1", 2000)
	l.Step(view(t, core.ViewRecord{Members: []core.Member{self, next}}))
	got := l.Step(view(t, core.ViewRecord{Members: []core.Member{self, old, next}}))
	if _, there := l.View().Member("next"); !there || !slices.Equal(got.Retired, []core.MemberID{"old"}) {
		t.Errorf("retired %v, want old; next is there: %v", got.Retired, there)
	}
}

// TestOrderOfArrivalIsKept: many that came and went do not make the listed forgotten, and memory is bounded.
func TestOrderOfArrivalIsKept(t *testing.T) {
	r := &retired{}
	old, next := row("old", "h:1", 0), row("next", "h:2", 0)
	r.find("", nil, []core.Member{old})
	for i := range 3 * maxRetired {
		r.find("", nil, []core.Member{old, next, row(fmt.Sprint(i), "h:3", 0)})
	}
	if r.came["old"] != 1 || r.came["next"] != 2 {
		t.Errorf("old is number %d and next %d, want 1 and 2", r.came["old"], r.came["next"])
	}
	if n := len(r.came); n != len(r.arrived) || n > 2*maxRetired+3 {
		t.Errorf("%d are remembered, %d in order, want %d at most", n, len(r.arrived), 2*maxRetired+3)
	}
}

// A member that restarts at its address after its clock was set back, or on another machine behind
// the same name, looks older than the one it follows.
func TestFollowerWithAnEarlierClockIsLetIn(t *testing.T) {
	self, old, next := row("s", "h:0", 1), row("old", "h:1", 2000), row("next", "h:1", 1000)
	for _, ordered := range []bool{true, false} {
		l := New(Config{Self: "s", Ordered: ordered})
		first, second := stored("L", 2, self, old), stored("L", 3, self, next)
		if !ordered {
			first, second = core.ViewRecord{Epoch: 1, Members: first.Members}, core.ViewRecord{Epoch: 2, Members: second.Members}
		}
		l.Step(view(t, first))
		got := l.Step(view(t, second))
		if !slices.Equal(got.Retired, []core.MemberID{"old"}) {
			t.Errorf("ordered %v: retired %v, want old", ordered, got.Retired)
		}
		if _, ok := l.View().Member("next"); !ok {
			t.Errorf("ordered %v: the follower is not in the view", ordered)
		}
	}
}

func TestUnorderedKeepsTheOwnRow(t *testing.T) {
	self, b := row("s", "h:0", 1), row("b", "h:1", 2)
	l := New(Config{Self: "s"})
	l.Step(view(t, core.ViewRecord{Members: []core.Member{self, b}}))
	if got := l.Step(view(t, core.ViewRecord{Members: []core.Member{b}})); got.Outcome != Ignored {
		t.Fatalf("a report without the own row was %v: %+v", got.Outcome, got.Topology)
	}
	got := l.Step(view(t, core.ViewRecord{}))
	if got.Outcome != Installed || l.View().Len() != 1 || l.View().Epoch() != 2 {
		t.Fatalf("%v: %d members at epoch %d", got.Outcome, l.View().Len(), l.View().Epoch())
	}
}

// TestOfTwoAtOneAddressTheLaterIsIn, where their clocks do not tell: the one that was first seen later, and of two
// seen together the one that was not in the view before.
func TestOfTwoAtOneAddressTheLaterIsIn(t *testing.T) {
	self, z, a := row("s", "h:0", 1), row("z", "h:1", 5), row("a", "h:1", 5)
	elsewhere := row("a", "h:2", 5)
	for name, reports := range map[string][][]core.Member{
		"first seen later":       {{self, z}, {self}, {self, z, a}},
		"not in the view before": {{self, z, elsewhere}, {self, z}, {self, z, a}},
	} {
		l := New(Config{Self: "s"})
		var got Effect
		for _, members := range reports {
			got = l.Step(view(t, core.ViewRecord{Members: members}))
		}
		if _, in := l.View().Member("a"); !in || !slices.Equal(got.Retired, []core.MemberID{"z"}) {
			t.Errorf("%s: retired %v, want z", name, got.Retired)
		}
	}
}

// TestDepartedBeforeItWasListed: a record may tell that this member is out before any has listed it here.
func TestDepartedBeforeItWasListed(t *testing.T) {
	b := row("b", "h:2", 2)
	l := New(Config{Self: "a", Ordered: true})
	l.Step(view(t, stored("L", 2, b)))
	out := stored("L", 4, b)
	out.Departed = []core.Departure{{ID: "a", Epoch: 4}}
	if got := l.Step(view(t, out)); got.Outcome != Evicted {
		t.Errorf("outcome %v", got.Outcome)
	}
}
