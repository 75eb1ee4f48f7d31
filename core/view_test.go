package core_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
)

func view(t testing.TB, r core.ViewRecord) *core.View {
	t.Helper()
	v, err := core.NewView(r)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNewViewRefuses(t *testing.T) {
	tests := []struct {
		name    string
		members []core.Member
	}{
		{"an ID twice", []core.Member{up("a"), up("b"), up("a")}},
		{"no ID", []core.Member{{Address: "h:1", Status: core.Up}}},
		{"no address", []core.Member{{ID: "a", Status: core.Up}}},
		{"no status", []core.Member{{ID: "a", Address: "h:1"}}},
		{"an unknown status", []core.Member{{ID: "a", Address: "h:1", Status: core.Leaving + 1}}},
	}
	for _, tt := range tests {
		if v, err := core.NewView(core.ViewRecord{Members: tt.members}); v != nil || !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%s: %v, %v, want ErrInvalid", tt.name, v, err)
		}
	}
}

func TestViewSortsAndIndexes(t *testing.T) {
	leaving, joining := up("c", "Cart"), up("d", "Cart")
	leaving.Status, joining.Status = core.Leaving, core.Joining
	v := view(t, core.ViewRecord{Lineage: "l", Epoch: 7, Members: []core.Member{joining, up("b", "User", "Cart", "Cart"), leaving, up("a", "Cart")}})
	if got := idsOf(slices.Collect(v.All())); got != "abcd" || v.Len() != 4 || v.Epoch() != 7 || v.Lineage() != "l" {
		t.Errorf("members %q", got)
	}
	if got := idsOf(v.Hosting("Cart")); got != "ab" {
		t.Errorf("Cart is hosted by %q, want those that are up", got)
	}
	if got := idsOf(v.Hosting("User")); got != "b" {
		t.Errorf("User is hosted by %q", got)
	}
	if got := v.Hosting("Nobody"); len(got) != 0 {
		t.Errorf("Nobody is hosted by %v", got)
	}
	b, ok := v.Member("b")
	if !ok || !slices.Equal(b.Kinds, []string{"Cart", "User"}) {
		t.Errorf("kinds %q, want them sorted, once each", b.Kinds)
	}
	if _, ok := v.Member("e"); ok {
		t.Error("a member that is not there")
	}
}

func TestViewIsACopy(t *testing.T) {
	r := core.ViewRecord{
		Members: []core.Member{up("a", "Cart")}, Departed: []core.Departure{{ID: "x"}}, Changes: []core.Change{{ID: "x"}},
		Suspicions: []core.Suspicion{{Suspect: "a"}}, Extra: []byte("{}"),
	}
	v := view(t, r)
	spoil := func(r core.ViewRecord) {
		r.Members[0].Kinds[0], r.Members[0].ID = "Spoilt", "z"
		r.Departed[0].ID, r.Changes[0].ID, r.Suspicions[0].Suspect, r.Extra[0] = "z", "z", "z", 'z'
	}
	spoil(r)
	spoil(v.Record())
	got := v.Record()
	if got.Members[0].ID != "a" || got.Members[0].Kinds[0] != "Cart" || got.Departed[0].ID != "x" || got.Changes[0].ID != "x" ||
		got.Suspicions[0].Suspect != "a" || string(got.Extra) != "{}" {
		t.Errorf("the view was changed from outside: %+v", got)
	}
	for d := range v.Departed() {
		if d.ID != "x" {
			t.Errorf("departed %v", d)
		}
	}
	for c := range v.Changes() {
		if c.ID != "x" {
			t.Errorf("change %v", c)
		}
	}
	if h := v.Hosting("Cart"); cap(h) != len(h) {
		t.Error("an append to Hosting would write into the view")
	}
}

func TestHashDependsOnOwnershipOnly(t *testing.T) {
	base := []core.Member{up("a", "Cart", "User"), up("b", "Cart"), up("c")}
	want := view(t, core.ViewRecord{Members: base}).Hash()
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		ms := slices.Clone(base)
		random.Shuffle(len(ms), func(i, j int) { ms[i], ms[j] = ms[j], ms[i] })
		ms[0].Kinds = slices.Clone(ms[0].Kinds)
		slices.Reverse(ms[0].Kinds)
		r := core.ViewRecord{Lineage: "other", Epoch: random.Uint64(), Revision: random.Uint64(), WriteID: "w", Members: ms, Departed: []core.Departure{{ID: "x"}}}
		if got := view(t, r).Hash(); got != want {
			t.Fatalf("another order, another hash: %v", ms)
		}
	}
	edits := map[string]func(m *core.Member){
		"id": func(m *core.Member) { m.ID = "b2" }, "status": func(m *core.Member) { m.Status = core.Leaving },
		"weight": func(m *core.Member) { m.Weight = 99 }, "kinds": func(m *core.Member) { m.Kinds = []string{"Cart2"} },
		"no kinds": func(m *core.Member) { m.Kinds = nil },
	}
	for name, edit := range edits {
		ms := slices.Clone(base)
		edit(&ms[1])
		if view(t, core.ViewRecord{Members: ms}).Hash() == want {
			t.Errorf("another %s, the same hash", name)
		}
	}
	indifferent := map[string]func(m *core.Member){
		"address": func(m *core.Member) { m.Address = "elsewhere:2" }, "default weight": func(m *core.Member) { m.Weight = 100 },
		"joined": func(m *core.Member) { m.Joined = 9 }, "protocol": func(m *core.Member) { m.Protocol.Max = 9 },
	}
	for name, edit := range indifferent {
		ms := slices.Clone(base)
		edit(&ms[1])
		if view(t, core.ViewRecord{Members: ms}).Hash() != want {
			t.Errorf("the hash depends on %s", name)
		}
	}
}

func TestHashIsGolden(t *testing.T) {
	weighty := up("m2", "Cart@2")
	weighty.Weight, weighty.Status = 250, core.Leaving
	v := view(t, core.ViewRecord{Members: []core.Member{up("m1", "Cart", "User"), weighty}})
	if got, want := v.Hash(), uint64(0xddeed0f8dd66fbbc); got != want {
		t.Errorf("hash %#x, want %#x: members of two versions would disagree", got, want)
	}
	if got := view(t, core.ViewRecord{}).Hash(); got != 0 {
		t.Errorf("hash of no members %#x, want 0", got)
	}
}

func TestCompare(t *testing.T) {
	one, two := []core.Member{up("a")}, []core.Member{up("a"), up("b")}
	rec := func(lineage string, epoch, revision uint64, write string, ms []core.Member) core.ViewRecord {
		return core.ViewRecord{Lineage: lineage, Epoch: epoch, Revision: revision, WriteID: write, Members: ms}
	}
	base := rec("l", 5, 9, "w", one)
	tests := []struct {
		name string
		v    core.ViewRecord
		o    core.ViewRecord
		want core.Order
	}{
		{"the same", base, base, core.Same},
		{"a later epoch", rec("l", 6, 10, "x", two), base, core.Newer},
		{"a later revision", rec("l", 5, 10, "x", one), base, core.Newer},
		{"an earlier revision", rec("l", 5, 8, "x", one), base, core.Older},
		{"another lineage", rec("m", 6, 10, "x", one), base, core.Foreign},
		{"one revision, two writes", rec("l", 5, 9, "x", one), base, core.Foreign},
		{"one revision, two contents", rec("l", 5, 9, "w", two), base, core.Foreign},
		{"one revision, two epochs", rec("l", 6, 9, "w", one), base, core.Foreign},
		{"a later revision of an earlier epoch", rec("l", 4, 10, "x", one), base, core.Foreign},
		{"an earlier revision of a later epoch", rec("l", 6, 8, "x", one), base, core.Foreign},
		{"one epoch, two contents", rec("l", 5, 10, "x", two), base, core.Foreign},
		{"local, the same members", rec("", 9, 0, "", one), rec("", 5, 0, "", one), core.Same},
		{"local, later", rec("", 9, 0, "", two), rec("", 5, 0, "", one), core.Newer},
		{"local, earlier", rec("", 4, 0, "", two), rec("", 5, 0, "", one), core.Older},
		{"local, one epoch of two contents", rec("", 5, 0, "", two), rec("", 5, 0, "", one), core.Foreign},
		{"local and not", rec("", 5, 9, "w", one), base, core.Foreign},
	}
	reverse := map[core.Order]core.Order{core.Newer: core.Older, core.Older: core.Newer, core.Same: core.Same, core.Foreign: core.Foreign}
	for _, tt := range tests {
		v, o := view(t, tt.v), view(t, tt.o)
		if got := v.Compare(o); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
		if got := o.Compare(v); got != reverse[tt.want] {
			t.Errorf("%s, reversed: %d, want %d", tt.name, got, reverse[tt.want])
		}
	}
}

func TestDiff(t *testing.T) {
	old := view(t, core.ViewRecord{Members: []core.Member{up("a"), up("b"), up("c", "Cart"), up("d"), up("e")}})
	b, d, e := up("b"), up("d"), up("e")
	b.Status, d.Weight, e.Address, e.Weight = core.Leaving, 7, "elsewhere:1", 100
	next := view(t, core.ViewRecord{Members: []core.Member{up("f"), e, d, b, up("c", "Cart", "User")}})
	got := core.Diff(old, next)
	if idsOf(got.Joined) != "f" || idsOf(got.Left) != "a" || idsOf(got.Changed) != "bcd" || got.View != next {
		t.Errorf("joined %v, left %v, changed %v", got.Joined, got.Left, got.Changed)
	}
	if got.Changed[0].Status != core.Leaving {
		t.Errorf("changed has the old row: %+v", got.Changed[0])
	}
	first := core.Diff(nil, next)
	if idsOf(first.Joined) != "bcdef" || first.Left != nil || first.Changed != nil {
		t.Errorf("from nothing: %+v", first)
	}
	none := core.Diff(next, next)
	if none.Joined != nil || none.Left != nil || none.Changed != nil {
		t.Errorf("from itself: %+v", none)
	}
}

func TestDepartureKeepsItsGuard(t *testing.T) {
	v := view(t, core.ViewRecord{Departed: []core.Departure{{ID: "x", Epoch: 3, Guard: 7 * time.Second}}})
	if got := slices.Collect(v.Departed()); len(got) != 1 || got[0] != (core.Departure{ID: "x", Epoch: 3, Guard: 7 * time.Second}) {
		t.Errorf("%v", got)
	}
}
