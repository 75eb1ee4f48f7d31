package membership

import (
	"slices"
	"testing"

	"github.com/granary-go/granary/core"
)

// What of a member changes under one ID is in the next view, with and without an order; the same again
// is no news.
func TestChangeUnderOneIDIsAChange(t *testing.T) {
	was := row("b", "h:1", 2)
	for name, edit := range map[string]func(*core.Member){
		"nothing": func(*core.Member) {},
		"kinds":   func(m *core.Member) { m.Kinds = []string{"K", "L"} },
		"no kind": func(m *core.Member) { m.Kinds = nil },
		"weight":  func(m *core.Member) { m.Weight = 7 },
		"status":  func(m *core.Member) { m.Status = core.Leaving },
		"address": func(m *core.Member) { m.Address = "h:5" },
	} {
		is := was
		edit(&is)
		want := Installed
		if name == "nothing" {
			want = Ignored
		}
		for _, ordered := range []bool{true, false} {
			x := newTester(t, ReducerConfig{Config: Config{Self: "s", Ordered: ordered}})
			first, second := core.ViewRecord{Members: []core.Member{self, was}}, core.ViewRecord{Members: []core.Member{self, is}}
			if ordered {
				first, second = stored("L", 2, self, was), stored("L", 3, self, is)
			}
			if ordered && name == "nothing" {
				second = first
			}
			x.ordered(first)
			e := x.ordered(second)
			if got, _ := x.r.View().Member("b"); e.Outcome != want || got.Address != is.Address || !slices.Equal(got.Kinds, is.Kinds) || got.Weight != is.Weight || got.Status != is.Status {
				t.Errorf("%s, ordered %v: %v, the view has %+v", name, ordered, e.Outcome, got)
			}
			if len(e.Topology.Joined)+len(e.Topology.Left) > 0 {
				t.Errorf("%s, ordered %v: %+v", name, ordered, e.Topology)
			}
		}
	}
}

// Members whose IDs give the same text one after the other are other members.
func TestIDsThatRunTogether(t *testing.T) {
	first := []core.Member{self, row("a", "h:1", 2), row("bc", "h:2", 3)}
	second := []core.Member{self, row("ab", "h:1", 2), row("c", "h:2", 3)}
	if a, b := view(t, core.ViewRecord{Members: first}), view(t, core.ViewRecord{Members: second}); a.Hash() == b.Hash() {
		t.Errorf("both views have the hash %x", a.Hash())
	}
	x := newTester(t, unordered("s", 0))
	x.report(first...)
	e := x.report(second...)
	x.wantIDs("joined", ids(e.Topology.Joined), "ab", "c")
	x.wantIDs("left", ids(e.Topology.Left), "a", "bc")
}
