package membership

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
)

// Rows that nobody can reach: an unordered view is installed without them, an ordered one with them,
// and both tell of each once.
func TestBadAddresses(t *testing.T) {
	addresses := map[string]bool{
		"h:1": true, "h:65535": true, "10.0.0.1:8080": true, "[::1]:8080": true, "fe80::1:8080": true,
		"h": false, "h:": false, "h:0": false, "h:70000": false, "h:65536": false, "h:-1": false, "h:http": false, ":8080": false,
		"0.0.0.0:8080": false, "[::]:8080": false, "h:99999999999999999999": false,
	}
	for address, good := range addresses {
		for _, ordered := range []bool{true, false} {
			x := newTester(t, ReducerConfig{Config: Config{Self: "s", Ordered: ordered}, Grace: DefaultGrace})
			bad := row("b", address, 2)
			rec := stored(map[bool]string{true: "L"}[ordered], 2, self, bad)
			e := x.ordered(rec)
			if _, in := x.r.View().Member("b"); in != (good || ordered) {
				t.Errorf("%q, ordered %v: it is in the view: %v", address, ordered, in)
			}
			if told := len(e.Rejected) == 1 && e.Rejected[0].Member.ID == "b" && e.Rejected[0].Reason != ""; told == good {
				t.Errorf("%q, ordered %v: rejected %+v", address, ordered, e.Rejected)
			}
			rec.Epoch, rec.Revision = 3, 3
			rec.Members = append(rec.Members, c)
			if e = x.ordered(rec); len(e.Rejected) != 0 {
				t.Errorf("%q, ordered %v: told twice", address, ordered)
			}
		}
	}
}

func TestOwnRowStaysWhateverItsAddress(t *testing.T) {
	x := newTester(t, unordered("s", 0))
	x.report(row("s", "h:9", 1), b)
	x.report(row("s", "h", 1), b)
	x.wantView("b", "s")
}

func TestDuplicateIDIsNoView(t *testing.T) {
	_, err := core.NewView(core.ViewRecord{Members: []core.Member{b, row("b", "h:9", 4)}})
	if !errors.Is(err, core.ErrInvalid) {
		t.Errorf("two rows of one ID: %v", err)
	}
	x := newTester(t, unordered("s", 0))
	if e := x.step(Report{}); e.Outcome != Ignored || x.r.View() != nil {
		t.Errorf("no view at all: %v", e.Outcome)
	}
}

func TestEmptyReport(t *testing.T) {
	t.Run("unordered", func(t *testing.T) {
		x := newTester(t, unordered("s", time.Second))
		x.report()
		x.wantView()
		x.report(self, b, c)
		if e := x.report(); e.Outcome != Ignored || len(e.Missing) != 2 {
			t.Fatalf("%v, missing %v", e.Outcome, e.Missing)
		}
		if e := x.after(time.Second/2).report(self, b, c); e.Outcome != Ignored {
			t.Fatalf("back in time: %v", e.Outcome)
		}
		x.report()
		x.after(time.Second).step(Tick{})
		x.wantView("s")
	})
	t.Run("ordered", func(t *testing.T) {
		x := newTester(t, ReducerConfig{Config: Config{Self: "s", Ordered: true}})
		x.ordered(stored("L", 2, self, b))
		if e := x.ordered(stored("M", 5)); e.Outcome != Held {
			t.Errorf("an empty record of another lineage: %v", e.Outcome)
		}
		if e := x.ordered(stored("L", 5)); e.Outcome != Evicted {
			t.Errorf("an empty view of this lineage: %v", e.Outcome)
		}
	})
}

func TestReportWithoutThisMember(t *testing.T) {
	x := newTester(t, unordered("s", DefaultGrace))
	x.report(b)
	x.wantView("b") // it has yet to join
	x.report(self, b)
	x.report(b)
	x.wantView("b", "s") // the provider registers it again
}

// A view of another cluster: an order shows it as another lineage. Without one the strangers cannot be
// told from joiners, and the handshake refuses them; what matters is that nobody of ours has moved when
// the right view is back in time.
func TestReportOfAnotherCluster(t *testing.T) {
	strangers := []core.Member{row("x", "o:1", 1), row("y", "o:2", 2)}
	t.Run("ordered", func(t *testing.T) {
		x := newTester(t, ReducerConfig{Config: Config{Self: "s", Ordered: true}})
		x.ordered(stored("L", 2, self, b))
		if e := x.ordered(stored("M", 99, strangers...)); e.Outcome != Held {
			t.Errorf("%v", e.Outcome)
		}
		x.wantView("b", "s")
	})
	t.Run("unordered", func(t *testing.T) {
		x := newTester(t, unordered("s", DefaultGrace))
		x.report(self, b)
		x.report(strangers...)
		x.wantView("b", "s", "x", "y")
		e := x.after(time.Second).report(self, b)
		x.wantIDs("left", ids(e.Topology.Left))
		x.after(DefaultGrace).step(Tick{})
		x.wantView("b", "s")
	})
}

func TestEpochGoesBack(t *testing.T) {
	x := newTester(t, ReducerConfig{Config: Config{Self: "s", Ordered: true}})
	x.ordered(stored("L", 7, self, b, c))
	for _, rec := range []core.ViewRecord{stored("L", 6, self, b), stored("M", 6, self, b)} {
		if e := x.ordered(rec); e.Outcome != Ignored && e.Outcome != Held {
			t.Errorf("epoch %d of %s: %v", rec.Epoch, rec.Lineage, e.Outcome)
		}
		x.wantView("b", "c", "s")
	}
}

func TestTwoIDsAtOneAddress(t *testing.T) {
	x := newTester(t, unordered("s", DefaultGrace))
	older, newer := row("z", "h:5", 5), row("a", "h:5", 6)
	e := x.report(self, older, newer)
	x.wantView("a", "s")
	x.wantIDs("blocked", e.Blocked, "z")
	x.report(self, older)
	x.wantView("a", "s") // a flap, and the stale row is not let in
	x.after(DefaultGrace).step(Tick{})
	x.wantView("s")
}

func TestTenThousandMembers(t *testing.T) {
	many := []core.Member{self}
	for i := range 9_999 {
		many = append(many, row(fmt.Sprintf("m%05d", i), fmt.Sprintf("10.%d.%d.%d:7000", i>>16, i>>8&255, i&255), uint64(i)))
	}
	x := newTester(t, unordered("s", DefaultGrace))
	if e := x.report(many...); e.Outcome != Installed || len(e.Topology.Joined) != 10_000 {
		t.Fatalf("%v: %d joined", e.Outcome, len(e.Topology.Joined))
	}
	if e := x.report(many[:5_000]...); len(e.Missing) != 5_000 || e.Outcome != Ignored {
		t.Fatalf("%v: %d missing", e.Outcome, len(e.Missing))
	}
	if e := x.after(DefaultGrace).step(Tick{}); len(e.Topology.Left) != 5_000 {
		t.Fatalf("%d left", len(e.Topology.Left))
	}
}

func TestAfterEvictionNothing(t *testing.T) {
	x := newTester(t, ReducerConfig{Config: Config{Self: "s", Ordered: true}})
	x.ordered(stored("L", 2, self, b))
	x.step(Ban{ID: "b"})
	if e := x.ordered(stored("L", 3, b)); e.Outcome != Evicted || e.Reason == "" {
		t.Fatalf("%v", e.Outcome)
	}
	x.wantNext(0)
	if e := x.step(Ban{ID: "c"}); e.Blocked != nil || slices.Contains(e.Accused, "c") {
		t.Errorf("%+v", e)
	}
}
