package memberlist

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
)

func rowAt(id, address string, revision, claim uint64) row {
	return row{Member: core.Member{ID: core.MemberID(id), Address: address, Status: core.Up, Kinds: []string{"K"}}, revision: revision, claim: claim}
}

func metaOf(w row) meta {
	return meta{id: w.ID, status: w.Status, protocol: w.Protocol, revision: w.revision}
}

func reported(t *table) []string {
	var out []string
	for _, m := range t.members() {
		out = append(out, fmt.Sprintf("%s:%s", m.ID, m.Status))
	}
	return out
}

func expect(t *testing.T, tab *table, want ...string) {
	t.Helper()
	if have := reported(tab); !slices.Equal(have, want) {
		t.Errorf("reported %v, want %v", have, want)
	}
}

func TestReportedWhenAliveAndRowIsHere(t *testing.T) {
	own, other := rowAt("a", "h:1", 1, 1), rowAt("b", "h:2", 3, 1)
	tab := newTable(own, false)
	expect(t, tab, "a:up")
	tab.alive(metaOf(other), "g:2")
	expect(t, tab, "a:up")
	if !tab.merge(other) || tab.merge(other) {
		t.Error("a row is news once")
	}
	expect(t, tab, "a:up", "b:up")
	tab.gone("b")
	expect(t, tab, "a:up")

	third := rowAt("c", "h:3", 1, 1) // the row comes first
	tab.merge(third)
	expect(t, tab, "a:up")
	tab.alive(metaOf(third), "g:3")
	expect(t, tab, "a:up", "c:up")
}

func TestStatusOfTheNewerOfMetaAndRow(t *testing.T) {
	tab := newTable(rowAt("a", "h:1", 1, 1), false)
	w := rowAt("b", "h:2", 1, 1)
	w.Status = core.Joining
	tab.alive(metaOf(w), "g")
	tab.merge(w)
	expect(t, tab, "a:up", "b:joining")
	up := metaOf(w)
	up.status, up.revision = core.Up, 2
	tab.alive(up, "g") // the row of revision 2 is still on its way
	expect(t, tab, "a:up", "b:up")
	w.Status, w.revision = core.Leaving, 3
	tab.merge(w) // the meta data of revision 3 is still on its way
	expect(t, tab, "a:up", "b:leaving")
	old := rowAt("b", "h:2", 2, 1)
	if tab.merge(old) {
		t.Error("an older row was taken")
	}
}

func TestNewIDAtAKnownAddressRetiresTheOlder(t *testing.T) {
	tab := newTable(rowAt("a", "h:1", 1, 1), false)
	for _, w := range []row{rowAt("old", "h:2", 9, 10), rowAt("new", "h:2", 1, 11)} {
		tab.alive(metaOf(w), "g")
		tab.merge(w)
	}
	expect(t, tab, "a:up", "new:up")
	tab.gone("old")
	expect(t, tab, "a:up", "new:up")
	tab.gone("new")
	expect(t, tab, "a:up")
}

func TestContestClaimsTheOwnAddress(t *testing.T) {
	tab := newTable(rowAt("me", "h:1", 1, 5), false)
	if changed, over := tab.contest(); changed || over != nil {
		t.Error("nobody to contest")
	}
	before := rowAt("before", "h:1", 1, 100)
	tab.alive(metaOf(before), "g")
	tab.merge(before)
	if changed, over := tab.contest(); !changed || over != nil || tab.own.claim != 101 || tab.own.revision != 2 {
		t.Errorf("own row after the contest: %+v", tab.own)
	}
	expect(t, tab, "me:up")
	// Were that one alive too, by mistake, it would outbid in turn; that must end, and be told once.
	before.claim, before.revision = 200, 2
	tab.merge(before)
	if changed, over := tab.contest(); changed || !slices.Equal(over, []core.MemberID{"before"}) {
		t.Errorf("outbid twice (%v), or not told of: %v", changed, over)
	}
	if changed, over := tab.contest(); changed || over != nil {
		t.Errorf("told twice: %v", over)
	}
	expect(t, tab, "before:up")
	tab.gone("before")
	expect(t, tab, "me:up")
}

// However many were listed at the own address before, the next one is outbid too, and what is kept of
// them is bounded by the pool.
func TestContestDoesNotEnd(t *testing.T) {
	tab := newTable(rowAt("me", "h:1", 1, 5), false)
	for i := range 3 * maxMembers {
		w := rowAt(fmt.Sprintf("m%d", i), "h:1", 1, tab.own.claim+7)
		tab.alive(metaOf(w), "g")
		tab.merge(w)
		if changed, _ := tab.contest(); !changed || tab.own.claim != w.claim+1 {
			t.Fatalf("rival %d was not outbid", i)
		}
		tab.gone(w.ID)
	}
	expect(t, tab, "me:up")
	if len(tab.rivals) != 0 {
		t.Errorf("%d rivals are kept", len(tab.rivals))
	}
	last := rowAt("last", "h:1", 1, maxNumber)
	tab.alive(metaOf(last), "g")
	tab.merge(last)
	if changed, over := tab.contest(); changed || len(over) != 1 {
		t.Errorf("a claim that cannot be outbid: changed %v, told of %v", changed, over)
	}
}

func TestClientsAreInNoView(t *testing.T) {
	tab := newTable(row{Member: core.Member{ID: "watcher"}, revision: 1}, true)
	tab.alive(meta{id: "other-client", client: true, revision: 1}, "g")
	w := rowAt("b", "h:2", 1, 1)
	tab.alive(metaOf(w), "g")
	tab.merge(w)
	expect(t, tab, "b:up")
	if due, _ := tab.missing(time.Now().Add(time.Hour)); len(due) != 0 {
		t.Errorf("asks %v for rows", due)
	}
	if m := tab.meta(); !m.client || m.revision != 1 {
		t.Errorf("meta of a client: %+v", m)
	}
}

func TestMissingRowsAreAskedForWithBackOff(t *testing.T) {
	tab := newTable(rowAt("a", "h:1", 1, 1), false)
	w := rowAt("b", "h:2", 2, 1)
	tab.alive(metaOf(w), "g:2")
	now := time.Unix(1, 0)
	if due, next := tab.missing(now); len(due) != 0 || next != askGrace {
		t.Fatalf("asked at once: %v, next in %v", due, next)
	}
	var pauses []time.Duration
	_, next := tab.missing(now)
	for range 8 {
		now = now.Add(next)
		var due []ask
		due, next = tab.missing(now)
		if len(due) != 1 || due[0].id != "b" || due[0].address != "g:2" || due[0].attempt != len(pauses)+1 {
			t.Fatalf("due %v", due)
		}
		pauses = append(pauses, next)
	}
	if pauses[0] != askFirst || pauses[7] != askMost || !slices.IsSorted(pauses) {
		t.Errorf("pauses %v", pauses)
	}
	tab.merge(rowAt("b", "h:2", 1, 1)) // too old
	if due, next := tab.missing(now.Add(next)); len(due) != 1 || next == 0 {
		t.Error("an older row ended the asking")
	}
	tab.merge(w)
	if due, next := tab.missing(now.Add(time.Hour)); len(due) != 0 || next != 0 {
		t.Error("asks for what is here")
	}
}

func TestWhoLeftDoesNotComeBack(t *testing.T) {
	tab := newTable(rowAt("a", "h:1", 1, 1), false)
	w := rowAt("b", "h:2", 3, 1)
	tab.alive(metaOf(w), "g")
	tab.merge(w)
	if tab.left(departure{"b", 2}) {
		t.Error("it was taken for gone by something older than its row")
	}
	if !tab.left(departure{"b", 3}) || tab.left(departure{"b", 3}) || tab.left(departure{"a", 3}) {
		t.Error("a farewell is news once, and never one's own")
	}
	expect(t, tab, "a:up")
	tab.alive(metaOf(w), "g")
	tab.merge(w)
	expect(t, tab, "a:up")
	if err := tab.admit("b", metaOf(w)); !errors.Is(err, core.ErrConflict) {
		t.Errorf("admitted: %v", err)
	}
}

// A member that says something later than its farewell had not left.
func TestFarewellIsRefuted(t *testing.T) {
	w := rowAt("b", "h:2", 3, 1)
	later := rowAt("b", "h:2", 8, 1)
	for name, refute := range map[string]func(*table){
		"by its row, then its meta data": func(tab *table) { tab.merge(later); tab.alive(metaOf(later), "g") },
		"by its meta data, then its row": func(tab *table) { tab.alive(metaOf(later), "g"); tab.merge(later) },
	} {
		tab := newTable(rowAt("a", "h:1", 1, 1), false)
		tab.alive(metaOf(w), "g")
		tab.merge(w)
		if !tab.left(departure{"b", 7}) {
			t.Error("the farewell was not taken")
		}
		expect(t, tab, "a:up")
		if err := tab.admit("b", metaOf(later)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		refute(tab)
		expect(t, tab, "a:up", "b:up")
		if len(tab.departed.ids) != 0 || len(tab.departed.set) != 0 {
			t.Errorf("%s: it is still among those that left", name)
		}
	}
}

// What others make up about this process is outbid; what it said itself, also earlier, is not.
func TestRefutation(t *testing.T) {
	own := rowAt("a", "h:1", 5, 1)
	other := own
	other.Weight = 9
	forged := func(revision uint64) row { w := other; w.revision = revision; return w }
	for name, tc := range map[string]struct {
		refute func(*table) error
		want   uint64 // own revision after it; 5: nothing was to be refuted
		stands bool
	}{
		"the own row":             {func(t *table) error { return t.refuteRow(own) }, 5, false},
		"an earlier row":          {func(t *table) error { return t.refuteRow(forged(4)) }, 5, false},
		"the same revision":       {func(t *table) error { return t.refuteRow(forged(5)) }, 6, false},
		"a later revision":        {func(t *table) error { return t.refuteRow(forged(9)) }, 10, false},
		"a farewell":              {func(t *table) error { return t.refuteLeft(departure{"a", 5}) }, 6, false},
		"an earlier farewell":     {func(t *table) error { return t.refuteLeft(departure{"a", 1}) }, 5, false},
		"the last revision":       {func(t *table) error { return t.refuteRow(forged(maxNumber)) }, 5, true},
		"a farewell past the end": {func(t *table) error { return t.refuteLeft(departure{"a", maxNumber}) }, 5, true},
	} {
		tab := newTable(own, false)
		err := tc.refute(tab)
		if tab.own.revision != tc.want {
			t.Errorf("%s: own revision %d, want %d", name, tab.own.revision, tc.want)
		}
		if (tc.want > 5 || tc.stands) && !errors.Is(err, core.ErrConflict) {
			t.Errorf("%s: it is not told of: %v", name, err)
		}
	}
}

func TestBounds(t *testing.T) {
	tab := newTable(rowAt("a", "h:1", 1, 1), false)
	for i := range maxMembers + 2*maxPending {
		id := core.MemberID(fmt.Sprintf("m%06d", i))
		w := rowAt(string(id), fmt.Sprintf("h:%d", i%60_000+2), 1, 1)
		if tab.admit(string(id), metaOf(w)) == nil {
			tab.alive(metaOf(w), "g")
		}
		tab.merge(w)
		tab.left(departure{core.MemberID(fmt.Sprintf("gone%06d", i)), 1})
	}
	if len(tab.nodes) != maxMembers || len(tab.pending) > maxPending || len(tab.departed.ids) != maxDeparted || len(tab.departed.set) != maxDeparted {
		t.Errorf("%d nodes, %d pending, %d departed", len(tab.nodes), len(tab.pending), len(tab.departed.ids))
	}
	if !tab.departed.has(core.MemberID(fmt.Sprintf("gone%06d", maxMembers+2*maxPending-1)), 1) || tab.departed.has("gone000000", 1) {
		t.Error("not the newest departures are kept")
	}
	state := tab.state()
	count := 0
	if _, err := decodeState(state, func([]byte) { count++ }); err != nil || count < maxMembers-1 {
		t.Errorf("the state of a full pool: %d rows, %v", count, err)
	}
}

// Whatever order the same facts come in, the same members are reported.
func TestOrderDoesNotMatter(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		var rows []row
		for i := range 6 {
			w := rowAt(fmt.Sprintf("m%d", i), fmt.Sprintf("h:%d", 1+r.IntN(4)), 1+r.Uint64N(3), r.Uint64N(3))
			w.Status = core.Status(1 + r.IntN(3))
			rows = append(rows, w)
		}
		var want []string
		for range 4 {
			tab := newTable(rowAt("a", "h:0", 1, 1), false)
			var steps []func()
			for _, w := range rows {
				old := w
				old.revision, old.Status = 1, core.Joining
				steps = append(steps, func() { tab.alive(metaOf(w), "g") }, func() { tab.merge(w) })
				if w.revision > 1 {
					steps = append(steps, func() { tab.merge(old) })
				}
			}
			r.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
			for _, step := range steps {
				step()
			}
			have := reported(tab)
			if want == nil {
				want = have
			}
			if !slices.Equal(have, want) {
				t.Fatalf("seed %d: %v, then %v", seed, want, have)
			}
		}
	}
}

// TestFarewellAgainstALaterRowOnItsWay: the row of a member that is not alive here yet refutes an older
// farewell, as that of one that is.
func TestFarewellAgainstALaterRowOnItsWay(t *testing.T) {
	tab := newTable(rowAt("a", "h:1", 1, 1), false)
	later := rowAt("b", "h:2", 8, 1)
	tab.merge(later)
	if tab.left(departure{"b", 7}) {
		t.Error("a farewell was taken that its member had refuted")
	}
	if !tab.left(departure{"b", 8}) {
		t.Error("the farewell after it was not taken")
	}
	tab.alive(metaOf(later), "g")
	expect(t, tab, "a:up")
}

// TestRowOfAClient: a row in the name of a client is made up, and is not kept.
func TestRowOfAClient(t *testing.T) {
	tab := newTable(rowAt("a", "h:1", 1, 1), false)
	tab.alive(meta{id: "c", client: true, revision: 1}, "g")
	if tab.merge(rowAt("c", "h:3", 5, 9)) {
		t.Error("the row of a client was taken")
	}
	tab.alive(meta{id: "c", status: core.Up, revision: 1}, "g") // it says now that it is a member
	expect(t, tab, "a:up")
}

// TestEqualClaimsAtOneAddress: the greater ID has it, at every member alike.
func TestEqualClaimsAtOneAddress(t *testing.T) {
	for range 20 { // the order in which a table is walked differs
		tab := newTable(rowAt("a", "h:1", 1, 1), false)
		for _, id := range []string{"x", "z", "y"} {
			w := rowAt(id, "h:2", 1, 4)
			tab.alive(metaOf(w), "g")
			tab.merge(w)
		}
		expect(t, tab, "a:up", "z:up")
	}
}
