package viewedit_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/core/viewedit"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var now = time.UnixMilli(1_700_000_000_000)

func row(id core.MemberID) core.Member {
	return core.Member{ID: id, Address: string(id) + ":1", Kinds: []string{"Cart"}, Status: core.Up}
}

// stored applies edits one after the other, each as one write.
type stored struct {
	t    testing.TB
	view *core.View
	n    int
}

func (s *stored) try(edit func(core.ViewRecord) core.ViewRecord) error {
	s.t.Helper()
	var r core.ViewRecord
	if s.view != nil {
		r = s.view.Record()
	}
	s.n++
	v, err := viewedit.Next(s.view, edit(r), viewedit.Stamp{WriteID: fmt.Sprint("w", s.n), Lineage: "l", Now: now, Guard: 9 * time.Second})
	if err == nil {
		s.view = v
	}
	return err
}

func (s *stored) do(edit func(core.ViewRecord) core.ViewRecord) {
	s.t.Helper()
	if err := s.try(edit); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stored) admit(m core.Member) {
	s.t.Helper()
	s.do(func(r core.ViewRecord) core.ViewRecord {
		next, err := viewedit.Admit(r, m)
		if err != nil {
			s.t.Fatal(err)
		}
		return next
	})
}

func (s *stored) remove(id core.MemberID, guard time.Duration) {
	s.t.Helper()
	s.do(func(r core.ViewRecord) core.ViewRecord {
		next, listed := viewedit.Remove(r, id, guard)
		if !listed {
			s.t.Fatalf("%s is not listed", id)
		}
		return next
	})
}

func TestFirstRecord(t *testing.T) {
	s := &stored{t: t}
	s.admit(row("a"))
	r := s.view.Record()
	if r.Format != core.RecordFormat || r.Lineage != "l" || r.Epoch != uint64(now.UnixMilli()) || r.Revision != 1 || r.WriteID != "w1" {
		t.Errorf("%+v", r)
	}
	if r.Members[0].Joined != r.Epoch || len(r.Changes) != 1 || r.Changes[0] != (core.Change{Epoch: r.Epoch, ID: "a", Status: core.Up}) {
		t.Errorf("members %+v, changes %+v", r.Members, r.Changes)
	}
}

func TestEpochsGrowWithOwnershipOnly(t *testing.T) {
	s := &stored{t: t}
	s.admit(row("a"))
	s.admit(row("b"))
	edits := []struct {
		name string
		grow uint64
		edit func(core.ViewRecord) core.ViewRecord
	}{
		{"nothing", 0, func(r core.ViewRecord) core.ViewRecord { return r }},
		{"a vote", 0, func(r core.ViewRecord) core.ViewRecord {
			r.Suspicions = append(r.Suspicions, core.Suspicion{Suspect: "a", Voter: "b"})
			return r
		}},
		{"the default weight by name", 0, func(r core.ViewRecord) core.ViewRecord { r.Members[0].Weight = 100; return r }},
		{"status", 1, func(r core.ViewRecord) core.ViewRecord { r.Members[0].Status = core.Leaving; return r }},
		{"weight", 1, func(r core.ViewRecord) core.ViewRecord { r.Members[0].Weight = 7; return r }},
		{"kinds", 1, func(r core.ViewRecord) core.ViewRecord { r.Members[0].Kinds = nil; return r }},
		{"a removal", 1, func(r core.ViewRecord) core.ViewRecord { r.Members = r.Members[1:]; return r }},
		{"what Next alone may say", 0, func(r core.ViewRecord) core.ViewRecord {
			r.Epoch, r.Revision, r.WriteID, r.Lineage, r.Format = 1, 1, "x", "x", 9
			return r
		}},
	}
	for _, e := range edits {
		before := s.view.Record()
		s.do(e.edit)
		after := s.view.Record()
		if after.Epoch != before.Epoch+e.grow || after.Revision != before.Revision+1 || after.WriteID == before.WriteID {
			t.Errorf("%s: epoch %d after %d, revision %d after %d", e.name, after.Epoch, before.Epoch, after.Revision, before.Revision)
		}
	}
	r := s.view.Record()
	if len(r.Suspicions) != 0 {
		t.Errorf("the vote on a removed member stays: %+v", r.Suspicions)
	}
	if want := (core.Departure{ID: "a", Epoch: r.Epoch, Guard: 9 * time.Second}); len(r.Departed) != 1 || r.Departed[0] != want {
		t.Errorf("a removal that says nothing of a guard departs as %+v, want %+v", r.Departed, want)
	}
}

func TestRefusals(t *testing.T) {
	s := &stored{t: t}
	s.admit(row("a"))
	s.admit(row("b"))
	s.remove("b", 0)
	tests := []struct {
		name string
		want error
		edit func(core.ViewRecord) core.ViewRecord
	}{
		{"an invalid row", core.ErrInvalid, func(r core.ViewRecord) core.ViewRecord { r.Members[0].Status = 0; return r }},
		{"another address", core.ErrInvalid, func(r core.ViewRecord) core.ViewRecord { r.Members[0].Address = "x:1"; return r }},
		{"another admission", core.ErrInvalid, func(r core.ViewRecord) core.ViewRecord { r.Members[0].Joined++; return r }},
		{"a departed ID", core.ErrConflict, func(r core.ViewRecord) core.ViewRecord { r.Members = append(r.Members, row("b")); return r }},
		{"a departed ID whose departure is struck out", core.ErrConflict, func(r core.ViewRecord) core.ViewRecord {
			r.Members, r.Departed = append(r.Members, row("b")), nil
			return r
		}},
	}
	for _, tt := range tests {
		before := s.view
		if err := s.try(tt.edit); !errors.Is(err, tt.want) || s.view != before {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	for _, id := range []core.MemberID{"a", "b"} {
		if _, err := viewedit.Admit(s.view.Record(), row(id)); !errors.Is(err, core.ErrConflict) {
			t.Errorf("admit %s: %v, want ErrConflict", id, err)
		}
	}
	if _, listed := viewedit.Replace(s.view.Record(), row("b")); listed {
		t.Error("the row of a departed member was replaced")
	}
	if _, listed := viewedit.Remove(s.view.Record(), "b", 0); listed {
		t.Error("a departed member was removed")
	}
}

func TestANewIDRetiresTheAddress(t *testing.T) {
	s := &stored{t: t}
	s.admit(row("a"))
	again := row("a2")
	again.Address = "a:1"
	s.admit(again)
	r := s.view.Record()
	if len(r.Members) != 1 || r.Members[0].ID != "a2" || len(r.Departed) != 1 || r.Departed[0].Guard != 9*time.Second {
		t.Errorf("members %+v, departed %+v", r.Members, r.Departed)
	}
}

func TestReplaceKeepsJoined(t *testing.T) {
	s := &stored{t: t}
	s.admit(row("a"))
	joined := s.view.Record().Members[0].Joined
	m := row("a")
	m.Status, m.Joined = core.Leaving, 5
	s.do(func(r core.ViewRecord) core.ViewRecord {
		next, listed := viewedit.Replace(r, m)
		if !listed {
			t.Fatal("not listed")
		}
		return next
	})
	if got := s.view.Record().Members[0]; got.Joined != joined || got.Status != core.Leaving {
		t.Errorf("%+v", got)
	}
}

func TestBounds(t *testing.T) {
	s := &stored{t: t}
	s.admit(row("anchor"))
	for i := range viewedit.MaxDepartures + 40 {
		id := core.MemberID(fmt.Sprintf("m%04d", i))
		s.admit(row(id))
		guard := time.Duration(0)
		if i < 3 {
			guard = time.Second
		}
		s.remove(id, guard)
	}
	r := s.view.Record()
	if len(r.Departed) != viewedit.MaxDepartures {
		t.Errorf("%d departures, want %d", len(r.Departed), viewedit.MaxDepartures)
	}
	if r.Departed[0].ID != "m0000" || r.Departed[3].ID == "m0003" || !viewedit.Departed(r, "m1063") {
		t.Errorf("kept from %s, %s on: want those with a guard and the newest", r.Departed[0].ID, r.Departed[3].ID)
	}
	if first := r.Changes[0].Epoch; first != r.Epoch-viewedit.KeptEpochs+1 {
		t.Errorf("changes reach back to %d at epoch %d, want %d epochs", first, r.Epoch, viewedit.KeptEpochs)
	}
	s.do(func(r core.ViewRecord) core.ViewRecord {
		for i := range viewedit.MaxSuspicions + 5 {
			r.Suspicions = append(r.Suspicions, core.Suspicion{Suspect: "anchor", Voter: "v", Epoch: uint64(i)})
		}
		return r
	})
	if got := s.view.Record().Suspicions; len(got) != viewedit.MaxSuspicions || got[0].Epoch != 5 {
		t.Errorf("%d votes from %d on", len(got), got[0].Epoch)
	}
	if viewedit.Full(s.view.Record()) {
		t.Error("full, although guards have ended")
	}
	r = s.view.Record()
	for i := range r.Departed {
		r.Departed[i].Guard = time.Second
	}
	if !viewedit.Full(r) {
		t.Error("not full, although every guard runs")
	}
	r.Departed[7].Guard = 0
	if viewedit.Full(r) {
		t.Error("full, although one guard has ended")
	}
}

// TestChangesReplay takes random steps, and replays Changes over an older view: status and weight
// must come out as in the newer one.
func TestChangesReplay(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	s := &stored{t: t}
	s.admit(row("anchor"))
	var views []*core.View
	for i := range 200 {
		r := s.view.Record()
		pick := r.Members[random.IntN(len(r.Members))]
		switch random.IntN(4) {
		case 0:
			s.admit(row(core.MemberID(fmt.Sprint("m", i))))
		case 1:
			if pick.ID != "anchor" {
				s.remove(pick.ID, 0)
			}
		default:
			pick.Status, pick.Weight = core.Status(1+random.IntN(3)), uint16(1+random.IntN(3))
			s.do(func(r core.ViewRecord) core.ViewRecord { next, _ := viewedit.Replace(r, pick); return next })
		}
		if n := len(views); n > 0 && views[n-1].Compare(s.view) != core.Older && views[n-1] != s.view {
			t.Fatalf("step %d: the view before is %d to this one", i, views[n-1].Compare(s.view))
		}
		views = append(views, s.view)
	}
	for i := range views {
		old, next := views[i], views[min(i+20, len(views)-1)]
		if got, want := replay(old, next), states(next); !slices.Equal(got, want) {
			t.Fatalf("from epoch %d to %d:\n%v\nwant\n%v", old.Epoch(), next.Epoch(), got, want)
		}
	}
}

func states(v *core.View) []string {
	var out []string
	for m := range v.All() {
		out = append(out, fmt.Sprint(m.ID, m.Status, m.Weight))
	}
	return out
}

func replay(old, next *core.View) []string {
	rows := map[core.MemberID]string{}
	for m := range old.All() {
		rows[m.ID] = fmt.Sprint(m.ID, m.Status, m.Weight)
	}
	for c := range next.Changes() {
		switch {
		case c.Epoch <= old.Epoch():
		case c.Status == 0:
			delete(rows, c.ID)
		default:
			rows[c.ID] = fmt.Sprint(c.ID, c.Status, c.Weight)
		}
	}
	var out []string
	for _, text := range rows {
		out = append(out, text)
	}
	slices.Sort(out)
	return out
}

func ExampleNext() {
	r, _ := viewedit.Admit(core.ViewRecord{}, core.Member{ID: "m1", Address: "10.0.0.1:7000", Status: core.Joining})
	first, _ := viewedit.Next(nil, r, viewedit.Stamp{WriteID: "w1", Lineage: "l1", Now: time.UnixMilli(1_700_000_000_000)})
	r, _ = viewedit.Replace(first.Record(), core.Member{ID: "m1", Address: "10.0.0.1:7000", Status: core.Up})
	next, err := viewedit.Next(first, r, viewedit.Stamp{WriteID: "w2"})
	fmt.Println(next.Epoch()-first.Epoch(), next.Compare(first) == core.Newer, err)
	for c := range next.Changes() {
		fmt.Println(c.Epoch, c.ID, c.Status)
	}
	// Output:
	// 1 true <nil>
	// 1700000000000 m1 joining
	// 1700000000001 m1 up
}
