package viewkeeper

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
)

// moody is a backend that may be away, refuse writes, or be cut off, for one member or for all.
type moody struct {
	Backend
	mood *mood
}

// mood is why calls fail; nil: they do not.
type mood struct {
	mu            sync.Mutex
	reads, writes error
}

func newMood(reads, writes error) *mood { return &mood{reads: reads, writes: writes} }

func (m *mood) set(reads, writes error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads, m.writes = reads, writes
}

func (m *mood) read() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reads
}

func (m *mood) write() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes
}

func (m *moody) Read(ctx context.Context) (Snapshot, error) {
	if err := m.mood.read(); err != nil {
		return Snapshot{}, err
	}
	return m.Backend.Read(ctx)
}

func (m *moody) Write(ctx context.Context, old string, next core.Topology, record []byte) error {
	if err := m.mood.write(); err != nil {
		return err
	}
	return m.Backend.Write(ctx, old, next, record)
}

func (m *moody) Renew(ctx context.Context, id core.MemberID) error {
	if err := m.mood.write(); err != nil {
		return err
	}
	return m.Backend.Renew(ctx, id)
}

// trio is three members of one shelf in a bubble. The mood is that of the first two; the third has its own.
type trio struct {
	*shelf
	mood, third *mood
	nodes       []*node
}

func newTrio(t *testing.T) *trio {
	w := &trio{shelf: newShelf(false), mood: &mood{}, third: &mood{}}
	for i, id := range []string{"one", "two", "three"} {
		m := w.mood
		if i == 2 {
			m = w.third
		}
		n := newNode(t, &moody{w.shelf, m}, id)
		if err := n.join(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.nodes = append(w.nodes, n)
	}
	wait(ttl)
	w.see(t, 3)
	return w
}

// wait lets virtual time pass.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (n *node) last() *core.View {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.view
}

// see looks at the number of members in the views of the first two.
func (w *trio) see(t *testing.T, want int) {
	t.Helper()
	for _, n := range w.nodes[:2] {
		if got := n.last().Len(); got != want {
			t.Errorf("%s sees %d members, want %d", n.self.ID, got, want)
		}
	}
}

// put stores a record as somebody with an editor would.
func (w *trio) put(record []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record = record
	w.id = ""
	var r core.ViewRecord
	if json.Unmarshal(record, &r) == nil {
		w.id = r.WriteID
	}
	w.changed()
}

func TestOutagesTakeNobodyOut(t *testing.T) {
	away := errors.New("away")
	for name, m := range map[string][2]error{
		"away": {away, away}, "writes are refused": {nil, away}, "reads are refused": {away, nil},
	} {
		for _, length := range []time.Duration{ttl / 3, ttl, 10 * ttl} {
			synctest.Test(t, func(t *testing.T) {
				w := newTrio(t)
				epoch := w.nodes[0].last().Epoch()
				w.mood.set(m[0], m[1])
				w.third.set(m[0], m[1])
				wait(length)
				w.mood.set(nil, nil)
				w.third.set(nil, nil)
				wait(3 * ttl)
				w.see(t, 3)
				if now := w.nodes[0].last().Epoch(); now != epoch {
					t.Errorf("%s for %v: epoch %d after %d", name, length, now, epoch)
				}
			})
		}
	}
}

// A member is out when TTL and grace have passed since its last renewal, and at most what a poll sees late.
func TestASilentMemberGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTrio(t)
		w.mu.Lock()
		renewed := w.renewed["three"]
		w.mu.Unlock()
		away := errors.New("away")
		w.third.set(away, away)
		for w.nodes[0].last().Len() == 3 && time.Since(renewed) < 3*ttl {
			wait(time.Millisecond)
		}
		if took := time.Since(renewed); took < ttl*6/5 || took > ttl*127/100 {
			t.Errorf("out %v after its last renewal, want 1.2 to 1.27 of %v", took, ttl)
		}
		wait(ttl / 8) // for the one whose own write came second
		w.see(t, 2)
		w.third.set(nil, nil)
		wait(ttl)
		w.see(t, 2)
		if err := w.nodes[2].Update(t.Context(), w.nodes[2].self); !errors.Is(err, core.ErrEvicted) {
			t.Errorf("update by the silent one: %v, want ErrEvicted", err)
		}
	})
}

func TestWhoComesBackWithinTheGraceStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTrio(t)
		epoch := w.nodes[0].last().Epoch()
		away := errors.New("away")
		w.mu.Lock()
		renewed := w.renewed["three"]
		w.mu.Unlock()
		w.third.set(away, away)
		wait(ttl*21/20 - time.Since(renewed)) // the lease has run out; the next try is within TTL/10
		w.third.set(nil, nil)
		wait(3 * ttl)
		w.see(t, 3)
		if now := w.nodes[0].last().Epoch(); now != epoch {
			t.Errorf("epoch %d after %d", now, epoch)
		}
	})
}

// Wiped data are stored again by whoever finds out first, and no view lacks anybody for a moment.
func TestWipedDataAreStoredAgain(t *testing.T) {
	for _, watches := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newTrio(t)
			w.watches = watches
			before := w.nodes[0].last()
			told := w.nodes[0].reports
			w.wipe()
			wait(3 * ttl)
			w.see(t, 3)
			after := w.nodes[0].last()
			if after.Lineage() == before.Lineage() || after.Epoch() <= before.Epoch() {
				t.Errorf("epoch %d of lineage %q after %d of %q", after.Epoch(), after.Lineage(), before.Epoch(), before.Lineage())
			}
			for _, n := range w.nodes {
				n.all(func(v *core.View) {
					if _, listed := v.Member(n.self.ID); !listed || v.Len() != 3 && v.Lineage() != before.Lineage() {
						t.Errorf("%s was told of %d members", n.self.ID, v.Len())
					}
				})
			}
			if told == w.nodes[0].reports {
				t.Error("nothing was told")
			}
		})
	}
}

// A joiner may come before those who store themselves again. A member that is gone meanwhile goes from the views.
func TestJoinerAfterAWipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTrio(t)
		away := errors.New("away")
		w.mood.set(away, away)
		w.third.set(away, away)
		w.wipe()
		late := newNode(t, w.shelf, "late")
		if err := late.join(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.mood.set(nil, nil) // "three" never comes back
		wait(ttl)
		if v := late.last(); v.Len() != 4 {
			t.Errorf("%d members, want the joiner, those that came back, and the one that may", v.Len())
		}
		wait(2 * ttl)
		v := late.last()
		if _, listed := v.Member("three"); listed || v.Len() != 3 {
			t.Errorf("%d members, among them the one that is gone: %v", v.Len(), listed)
		}
	})
}

// The first epoch of a new lineage is above all seen, also if the wall clock is behind it.
func TestNewLineageIsAboveTheOldOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTrio(t)
		far := w.nodes[0].last().Record()
		far.Epoch, far.Revision, far.WriteID = far.Epoch+1_000_000_000, far.Revision+1, "far"
		record, err := json.Marshal(far)
		if err != nil {
			t.Fatal(err)
		}
		w.put(record)
		wait(ttl)
		w.put(nil)
		wait(ttl)
		if now := w.nodes[0].last(); now.Epoch() <= far.Epoch || now.Len() != 3 {
			t.Errorf("epoch %d with %d members after epoch %d", now.Epoch(), now.Len(), far.Epoch)
		}
	})
}

// A backend whose latest writes were lost, as by a fail-over, has members that it does not know stored again.
func TestLostWritesAreMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTrio(t)
		w.mu.Lock()
		old := w.record
		w.mu.Unlock()
		late := newNode(t, w.shelf, "late")
		if err := late.join(t.Context()); err != nil {
			t.Fatal(err)
		}
		wait(ttl)
		w.see(t, 4)
		w.put(old)
		wait(ttl)
		w.see(t, 4)
		if err := late.Update(t.Context(), late.self); err != nil {
			t.Errorf("update by the one whose join was lost: %v", err)
		}
	})
}

func TestDeletedByHandIsEvicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTrio(t)
		r := w.nodes[0].last().Record()
		r.Members, r.Epoch, r.Revision, r.WriteID = r.Members[:1], r.Epoch+1, r.Revision+1, "by hand" // leaves "one"
		record, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		w.put(record)
		wait(3 * ttl)
		if n := w.nodes[0].last().Len(); n != 1 {
			t.Errorf("%d members, want the one that was left", n)
		}
		if err := w.nodes[1].Update(t.Context(), w.nodes[1].self); !errors.Is(err, core.ErrEvicted) {
			t.Errorf("update by the deleted one: %v, want ErrEvicted", err)
		}
	})
}

// Whoever drives a lease counts on its loss being final.
func TestDrivenMemberIsNotStoredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTrio(t)
		driven := w.nodes[1]
		if err := driven.RenewLease(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.put(nil)
		wait(ttl)
		if err := driven.Update(t.Context(), driven.self); !errors.Is(err, core.ErrEvicted) {
			t.Errorf("update by the driven one: %v, want ErrEvicted", err)
		}
	})
}

// A record of another format is read, and never written.
func TestOtherFormats(t *testing.T) {
	for _, format := range []uint16{0, 2} {
		synctest.Test(t, func(t *testing.T) {
			w := newTrio(t)
			r := w.nodes[0].last().Record()
			r.Format, r.Revision, r.WriteID, r.Extra = format, r.Revision+1, "other", []byte(`{"later":1}`)
			record, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			w.put(record)
			wait(ttl)
			if now := w.nodes[0].last().Record(); now.Format != format || string(now.Extra) != `{"later":1}` {
				t.Errorf("told format %d with %q", now.Format, now.Extra)
			}
			if err := w.nodes[0].Update(t.Context(), w.nodes[0].self); !errors.Is(err, core.ErrUnsupported) {
				t.Errorf("update: %v, want ErrUnsupported", err)
			}
			if err := newNode(t, w.shelf, "new").join(t.Context()); !errors.Is(err, core.ErrUnsupported) {
				t.Errorf("join: %v, want ErrUnsupported", err)
			}
			wait(3 * ttl)
			w.mu.Lock()
			defer w.mu.Unlock()
			if string(w.record) != string(record) {
				t.Errorf("the record was changed to %s", w.record)
			}
			w.record, w.id = nil, "" // for the ends of the nodes
		})
	}
}

// What cannot be read is left alone: members keep their view, and a join is refused.
func TestUnreadableRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTrio(t)
		w.mu.Lock()
		good := w.record
		w.mu.Unlock()
		for _, text := range []string{"", "{", "[]", "{}", `{"format":1,"lineage":"x","write_id":"w","members":[{"id":"m"}]}`} {
			w.put([]byte(text))
			wait(3 * ttl)
			w.see(t, 3)
			if err := newNode(t, w.shelf, "new").join(t.Context()); !errors.Is(err, core.ErrInvalid) {
				t.Errorf("join where the record is %q: %v, want ErrInvalid", text, err)
			}
			w.mu.Lock()
			if string(w.record) != text {
				t.Errorf("%q was changed to %s", text, w.record)
			}
			w.mu.Unlock()
		}
		w.put(good)
		wait(ttl)
		if err := newNode(t, w.shelf, "new").join(t.Context()); err != nil {
			t.Errorf("join where the record was mended: %v", err)
		}
		wait(ttl)
		w.see(t, 4)
	})
}

func TestErrorsThatWaitAndErrorsThatEnd(t *testing.T) {
	calls := map[string]func(context.Context, *node) error{
		"join":  func(ctx context.Context, n *node) error { return n.join(ctx) },
		"watch": func(ctx context.Context, n *node) error { return n.watch(ctx) },
	}
	for name, call := range calls {
		for _, cause := range []error{core.ErrInvalid, core.ErrUnsupported, core.ErrUnreachable} {
			synctest.Test(t, func(t *testing.T) {
				m := newMood(cause, cause)
				n := newNode(t, &moody{newShelf(false), m}, "new")
				begin := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := call(ctx, n)
				waited := time.Since(begin) >= time.Minute
				if !errors.Is(err, cause) || waited != errors.Is(err, core.ErrUnreachable) {
					t.Errorf("%s where calls fail with %v: %v after %v", name, cause, err, time.Since(begin))
				}
			})
		}
		synctest.Test(t, func(t *testing.T) {
			m := newMood(core.ErrUnreachable, nil)
			n := newNode(t, &moody{newShelf(false), m}, "new")
			time.AfterFunc(time.Minute, func() { m.set(nil, nil) })
			if err := call(t.Context(), n); err != nil {
				t.Errorf("%s while the backend is away for a minute: %v", name, err)
			}
		})
	}
}
