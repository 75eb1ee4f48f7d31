package providertest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// firstEpoch is Unix milliseconds of the year 2000, where the clock of a bubble starts.
const firstEpoch = 946_684_800_000

// joinRows are about joining, watching, changing one's row, and what reports say.
func joinRows(h Harness, tr traits) []suitetest.Row {
	ordered := skipUnless(tr.Ordered, notOrdered)
	return []suitetest.Row{
		{Promise: "Promises always gives the same answer", Check: func(t testing.TB) { samePromises(t, h) }},
		{Promise: "Join stores self and reports it", Check: func(t testing.TB) { joinReports(t, h) }},
		{Promise: "every member is told of every row", Check: func(t testing.TB) { everybodySees(t, h) }},
		{Promise: "members that join at once all see each other", Check: func(t testing.TB) { joinAtOnce(t, h) }},
		{Promise: "Update replaces one's own row for everybody", Check: func(t testing.TB) { updates(t, h) }},
		{Promise: "Watch reports, and adds no member", Check: func(t testing.TB) { watches(t, h) }},
		{Promise: "Join ends with its context", Check: func(t testing.TB) { joinEnds(t, h) }},
		{Promise: "an ID that is another's or has departed gives ErrConflict", Skip: ordered, Check: func(t testing.TB) { takenID(t, h) }},
		{Promise: "epochs are one ascending sequence for all", Skip: ordered, Check: func(t testing.TB) { oneSequence(t, h) }},
		{Promise: "Changes tell each step of ownership", Skip: ordered, Check: func(t testing.TB) { changesTell(t, h) }},
		{Promise: "Joined is the epoch of admission", Skip: ordered, Check: func(t testing.TB) { joinedIsEpoch(t, h) }},
		{Promise: "Refresh returns at once, at any time", Skip: skipUnless(tr.refresher, noRefresher), Check: func(t testing.TB) { refreshes(t, h) }},
	}
}

func samePromises(t testing.TB, h Harness) {
	w := newWorld(t, h)
	m := w.member()
	before := m.provider.Promises()
	m.join()
	m.await(h.Settle, "itself", func(v *core.View) bool { return lists(v, m) })
	if after := m.provider.Promises(); after != before {
		t.Errorf("%+v before Join, %+v after", before, after)
	}
	m.leave()
	if after := m.provider.Promises(); after != before {
		t.Errorf("%+v before Join, %+v after Leave", before, after)
	}
}

func joinReports(t testing.TB, h Harness) {
	w := newWorld(t, h)
	m := w.member()
	m.join()
	m.await(h.Settle, "itself alone", func(v *core.View) bool { return lists(v, m) })
}

func everybodySees(t testing.TB, h Harness) {
	w := newWorld(t, h)
	w.cluster(h.Members)
}

func joinAtOnce(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := []*member{w.member()}
	ms[0].join() // so that there is somebody to join
	errs := make(chan error, h.Members)
	for range h.Members {
		m := w.member()
		ms = append(ms, m)
		go func() { errs <- m.provider.Join(suitetest.WithTimeout(t, h.Settle), m.env, m.self, m.report) }()
	}
	for range h.Members {
		if err := <-errs; err != nil {
			t.Fatalf("join: %v", err)
		}
	}
	for _, m := range ms[1:] {
		m.keepLease()
	}
	w.settle(ms...)
}

func updates(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	steps := []func(*core.Member){
		func(m *core.Member) { m.Status = core.Joining },
		func(m *core.Member) { m.Status = core.Up },
		func(m *core.Member) { m.Kinds = []string{"Cart", "Later"} },
		func(m *core.Member) { m.Weight = 7 },
		func(m *core.Member) {}, // idempotent
		func(m *core.Member) { m.Status = core.Leaving; m.Kinds = nil },
	}
	for _, step := range steps {
		ms[1].update(step)
		w.settle(ms...)
	}
}

func watches(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	watcher := w.member()
	if err := watcher.provider.Watch(suitetest.WithTimeout(t, h.Settle), watcher.env, watcher.report); err != nil {
		t.Fatalf("watch: %v", err)
	}
	sees := func(v *core.View) bool { return lists(v, ms...) }
	watcher.await(h.Settle, "the members, without itself", sees)
	ms[0].update(func(m *core.Member) { m.Weight = 9 })
	w.settle(ms...)
	watcher.await(h.Settle, "the change, without itself", sees)
	for _, v := range ms[0].all() {
		if _, listed := v.Member(watcher.id); listed {
			t.Fatal("the watcher is listed as a member")
		}
	}
	watcher.leave()
	w.settle(ms...)
}

func joinEnds(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	late := w.member()
	begin := time.Now()
	err := late.provider.Join(suitetest.Ended(t), late.env, late.self, late.report)
	if err == nil {
		t.Error("Join under a context that had ended says that self is stored")
	}
	if took := time.Since(begin); took > h.Settle {
		t.Errorf("Join took %v under a context that had ended", took)
	}
	late.leave()
	w.settle(ms...)
}

func takenID(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	try := func(what string) {
		thief := w.member()
		thief.self.ID = ms[1].id
		err := thief.provider.Join(suitetest.WithTimeout(t, h.Settle), thief.env, thief.self, thief.report)
		if !errors.Is(err, core.ErrConflict) {
			t.Errorf("join with %s: %v, want ErrConflict", what, err)
		}
		thief.leave()
	}
	try("the ID of a member")
	w.settle(ms...) // the rightful one is still there
	ms[1].leave()
	w.settle(slices.Delete(slices.Clone(ms), 1, 2)...)
	try("the ID of a departed member")
}

// busy lets a cluster change in every way, and returns it with all that ever was in it.
func busy(t testing.TB, h Harness) (w *world, ever []*member) {
	t.Helper()
	w = newWorld(t, h)
	ms := w.cluster(h.Members)
	late := w.member()
	late.join()
	w.settle(append(slices.Clone(ms), late)...)
	late.update(func(m *core.Member) { m.Weight = 250 })
	ms[0].update(func(m *core.Member) { m.Kinds = []string{"Cart"} })
	ms[1].update(func(m *core.Member) { m.Status = core.Leaving })
	w.settle(append(slices.Clone(ms), late)...)
	ms[1].leave()
	stay := append(slices.Delete(slices.Clone(ms), 1, 2), late)
	w.settle(stay...)
	return w, append(ms, late)
}

func oneSequence(t testing.TB, h Harness) {
	_, ever := busy(t, h)
	hashes := map[uint64]uint64{}
	lineage := ever[0].last().Lineage()
	for _, m := range ever {
		var before *core.View
		for _, v := range m.all() {
			if hash, known := hashes[v.Epoch()]; known && hash != v.Hash() {
				t.Errorf("%s: epoch %d has two hashes", m.id, v.Epoch())
			}
			hashes[v.Epoch()] = v.Hash()
			if v.Lineage() == "" || v.Lineage() != lineage || v.Epoch() < firstEpoch {
				t.Errorf("%s: lineage %q and epoch %d, want the one lineage %q and an epoch from Unix milliseconds up", m.id, v.Lineage(), v.Epoch(), lineage)
			}
			if before != nil && v.Compare(before) != core.Newer && v.Compare(before) != core.Same {
				t.Errorf("%s: after epoch %d came %d, which is no later view of the same", m.id, before.Epoch(), v.Epoch())
			}
			before = v
		}
	}
	if len(hashes) < 4 {
		t.Errorf("%d epochs for at least 4 changes", len(hashes))
	}
}

func changesTell(t testing.TB, h Harness) {
	_, ever := busy(t, h)
	last := ever[0].last()
	changes := slices.Collect(last.Changes())
	told := map[core.MemberID][]core.Change{}
	for i, c := range changes {
		if i > 0 && c.Epoch < changes[i-1].Epoch {
			t.Errorf("changes of epochs %d and %d are not ascending", changes[i-1].Epoch, c.Epoch)
		}
		if c.Epoch > last.Epoch() {
			t.Errorf("a change of epoch %d in a view of epoch %d", c.Epoch, last.Epoch())
		}
		told[c.ID] = append(told[c.ID], c)
	}
	for _, m := range ever {
		if len(told[m.id]) == 0 {
			t.Fatalf("no change tells of %s", m.id)
		}
	}
	leaver, late := told[ever[1].id], told[ever[len(ever)-1].id]
	if n := len(leaver); leaver[n-1].Status != 0 || n < 2 || leaver[n-2].Status != core.Leaving {
		t.Errorf("the changes of the leaver end as %+v, want leaving, then removed", leaver)
	}
	if c := late[len(late)-1]; c.Weight != 250 || c.Status != core.Up {
		t.Errorf("the last change of the late member is %+v, want up, weight 250", c)
	}
	if c := changes[len(changes)-1]; c.Epoch != last.Epoch() {
		t.Errorf("the newest change is of epoch %d, the view's is %d", c.Epoch, last.Epoch())
	}
}

func joinedIsEpoch(t testing.TB, h Harness) {
	_, ever := busy(t, h)
	for _, m := range ever {
		var admitted uint64
		for _, v := range m.all() {
			row, ok := v.Member(m.id)
			if !ok {
				continue
			}
			if admitted == 0 {
				admitted = row.Joined
			}
			if row.Joined != admitted || row.Joined == 0 || row.Joined > v.Epoch() {
				t.Fatalf("%s: Joined is %d at epoch %d, first it was %d", m.id, row.Joined, v.Epoch(), admitted)
			}
		}
		if admitted == 0 {
			t.Errorf("%s was never listed", m.id)
		}
	}
	first, _ := ever[0].last().Member(ever[0].id)
	late, _ := ever[0].last().Member(ever[len(ever)-1].id)
	if late.Joined <= first.Joined {
		t.Errorf("the late member was admitted at epoch %d, the first one at %d", late.Joined, first.Joined)
	}
}

func refreshes(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	idle := w.member()
	for _, m := range append(slices.Clone(ms), idle) {
		r, ok := m.provider.(core.Refresher)
		if !ok {
			t.Fatalf("%s is no Refresher", m.id)
		}
		begin := time.Now()
		for range 100 {
			r.Refresh()
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("100 calls of Refresh took %v", took)
		}
	}
	ms[0].update(func(m *core.Member) { m.Weight = 3 })
	w.settle(ms...)
	ms[0].leave()
	ms[0].provider.(core.Refresher).Refresh() // asserted above; after Leave it does nothing
	w.settle(ms[1:]...)
}
