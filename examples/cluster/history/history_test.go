package history

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const second = int64(1e9)

// scene is a small run that went well: three members form, c is killed at 10 s, d joins at 20 s, and
// two identities are called all the time. Tests break one thing in it.
func scene() *Run {
	r := &Run{Config: Config{Seed: 1, Provider: "memberlist", Lookup: "disthash", Members: 3, Callers: 2, Identities: 2,
		TimeoutSeconds: 5, RecoverySeconds: 10, Kill: true, Join: true}}
	add := func(at float64, e Record) {
		e.Ns = int64(at * float64(second))
		r.Events = append(r.Events, e)
	}
	topology := func(at float64, member, hash string, members ...string) {
		add(at, Record{Event: Topology, Member: member, Hash: hash, Members: members})
	}
	add(0, Record{Event: Spawned, Member: "a"})
	topology(0.1, "a", "1", "a")
	add(0.1, Record{Event: Spawned, Member: "b"})
	add(0.2, Record{Event: Spawned, Member: "c"})
	for _, m := range []string{"a", "b", "c"} {
		topology(0.5, m, "3", "a", "b", "c")
	}
	add(0.6, Record{Event: Load, Phase: "begin"})
	add(0.7, Record{Event: Activated, Member: "a", ID: "K/x", Activation: "x1"})
	add(0.7, Record{Event: Activated, Member: "c", ID: "K/y", Activation: "y1"})
	add(10, Record{Event: Killed, Member: "c"})
	topology(13, "a", "2", "a", "b")
	topology(14, "b", "2", "a", "b")
	add(14.5, Record{Event: Activated, Member: "b", ID: "K/y", Activation: "y2"})
	add(20, Record{Event: Spawned, Member: "d"})
	for _, m := range []string{"a", "b", "d"} {
		topology(21, m, "3b", "a", "b", "d")
	}
	add(21.5, Record{Event: Deactivated, Member: "b", ID: "K/y", Activation: "y2"})
	add(21.6, Record{Event: Activated, Member: "d", ID: "K/y", Activation: "y3"})
	add(30, Record{Event: Load, Phase: "end"})
	add(31, Record{Event: Left})
	for at := int64(1); at < 30; at++ {
		for i, id := range []string{"K/x", "K/y"} {
			request := uint64(i+1)<<32 | uint64(at)
			start := at * second
			c := Call{Request: request, Start: start, End: start + second/1000, ID: id, Outcome: OK, Delivery: "delivered"}
			switch {
			case id == "K/y" && at == 10:
				c.Outcome, c.Delivery = "unreachable", "unknown"
			case id == "K/y" && at > 10 && at < 14:
				c.Outcome, c.Delivery = "no member", "undelivered"
			default:
				r.Handled = append(r.Handled, Handling{request, c.End})
			}
			r.Calls = append(r.Calls, c)
		}
	}
	return r
}

func TestRunThatWentWell(t *testing.T) {
	s := Check(scene(), false)
	if !s.OK {
		t.Fatalf("reasons %q", s.Reasons)
	}
	if s.Calls != 58 || s.Replied != 54 || s.Failed != 4 || s.FailedUnknown != 1 || s.FailedNotDelivered != 3 {
		t.Errorf("calls %d replied %d failed %d unknown %d undelivered %d", s.Calls, s.Replied, s.Failed, s.FailedUnknown, s.FailedNotDelivered)
	}
	if s.Members != 3 || s.Kills != 1 || s.Joins != 1 || s.Moved != 2 || s.Activations != 4 || s.Overlaps != 0 {
		t.Errorf("summary %+v", *s)
	}
	if !slices.Equal(s.IdentitiesChecked, []int{2, 2, 2}) {
		t.Errorf("identities checked %v", s.IdentitiesChecked)
	}
	for _, v := range []struct {
		name string
		got  *float64
		want float64
	}{{"form", s.FormSeconds, 0.5}, {"detect", s.DetectSeconds, 4}, {"recovery", s.RecoverySeconds, 4.001}, {"rebalance", s.RebalanceSeconds, 1.5}} {
		if v.got == nil || *v.got < v.want-0.01 || *v.got > v.want+0.01 {
			t.Errorf("%s seconds %v, want %v", v.name, v.got, v.want)
		}
	}
}

func TestEachConditionBroken(t *testing.T) {
	tests := []struct {
		name   string
		spoil func(*Run)
		reason string
	}{
		{"two activations", func(r *Run) {
			r.Events = append(r.Events, Record{Ns: 5 * second, Event: Activated, Member: "b", ID: "K/x", Activation: "x2"})
		}, "two activations alive"},
		{"a call that never ends", func(r *Run) { r.Calls[4].Outcome, r.Calls[4].Delivery = Unended, "unknown" }, "ended later"},
		{"late", func(r *Run) { r.Calls[4].End += 6 * second }, "ended later"},
		{"untyped", func(r *Run) { r.Calls[22].Outcome = Untyped }, "untyped"},
		{"run twice", func(r *Run) { r.Handled = append(r.Handled, r.Handled[3]) }, "more than once"},
		{"answered by nobody", func(r *Run) { r.Handled = r.Handled[1:] }, "no member has run"},
		{"left running", func(r *Run) { r.Events[len(r.Events)-1].Count = 2 }, "still running"},
		{"member that ends by itself", func(r *Run) {
			r.Events = append(r.Events, Record{Ns: 29 * second, Event: Exited, Member: "a"})
		}, "nobody had asked it to"},
		{"never agreed", func(r *Run) {
			r.Events = slices.DeleteFunc(r.Events, func(e Record) bool { return e.Event == Topology && e.Ns == 14*second })
		}, "did not agree"},
		{"identity silent", func(r *Run) {
			r.Calls = slices.DeleteFunc(r.Calls, func(c Call) bool { return c.ID == "K/y" && c.Start >= 20*second })
		}, "only 1 of 2"},
		{"slow recovery", func(r *Run) { r.Config.RecoverySeconds = 3 }, "recovery took"},
		{"failed later", func(r *Run) { r.Calls[36].Outcome, r.Calls[36].Delivery = "busy", "undelivered" }, "after a change was recovered"},
		{"no kill", func(r *Run) {
			r.Events = slices.DeleteFunc(r.Events, func(e Record) bool { return e.Event == Killed })
		}, "before its changes took place"},
		{"no cluster", func(r *Run) { r.Events = nil }, "no cluster was formed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := scene()
			tt.spoil(r)
			slices.SortStableFunc(r.Events, func(a, b Record) int { return int(min(max(a.Ns-b.Ns, -1), 1)) })
			s := Check(r, false)
			if s.OK || !strings.Contains(strings.Join(s.Reasons, "\n"), tt.reason) {
				t.Errorf("ok %v, reasons %q, want one with %q", s.OK, s.Reasons, tt.reason)
			}
		})
	}
}

func TestInterruptedRunIsJudgedByWhatTookPlace(t *testing.T) {
	r := scene()
	r.Events = slices.DeleteFunc(r.Events, func(e Record) bool { return e.Ns >= 12*second })
	r.Calls = slices.DeleteFunc(r.Calls, func(c Call) bool { return c.Start >= 12*second })
	r.Events = append(r.Events, Record{Ns: 12 * second, Event: Load, Phase: "end"})
	if s := Check(r, true); !s.OK || !s.Interrupted || s.RecoverySeconds != nil {
		t.Errorf("ok %v, reasons %q, recovery %v", s.OK, s.Reasons, s.RecoverySeconds)
	}
}

func TestRollingRestartIsOneChange(t *testing.T) {
	r := scene()
	r.Config.Kill, r.Config.Join, r.Config.Rolling, r.Config.Members = false, false, true, 1
	for i, e := range r.Events {
		switch {
		case e.Event == Killed:
			r.Events[i].Event = Stopping
		}
	}
	r.Config.Members = 3
	s := Check(r, false)
	if s.Restarts != 1 || s.Kills != 0 || s.Joins != 0 {
		t.Errorf("restarts %d kills %d joins %d", s.Restarts, s.Kills, s.Joins)
	}
	if s.OK {
		t.Error("one restart of three was taken for a rolling restart of all")
	}
}

func TestWriteAndRead(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(dir, "m1", true)
	if err != nil {
		t.Fatal(err)
	}
	config := scene().Config
	w.Write(Record{Ns: w.Now(), Event: Configured, Config: &config})
	w.Write(Record{Ns: 2, Event: Topology, Member: "a", Hash: "h", Members: []string{"a"}})
	w.Handle("a", 7, `K/"quoted" é`, "x1")
	w.Call(Record{Member: "caller", Request: 7, ID: "K/x", Start: 1, End: 2, Outcome: OK, Delivery: "delivered"})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	cut, err := os.OpenFile(filepath.Join(dir, "m1.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(cut, `{"ns":3,"event":"hand`)
	cut.Close()
	r, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if r.Config != config || len(r.Events) != 1 || r.Events[0].Members[0] != "a" {
		t.Errorf("read %+v", r)
	}
	if !slices.Equal(r.Calls, []Call{{7, 1, 2, "K/x", OK, "delivered"}}) || len(r.Handled) != 1 || r.Handled[0].Request != 7 {
		t.Errorf("calls %+v handled %+v", r.Calls, r.Handled)
	}
}

func TestReadRefusesWhatIsNoHistory(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(dir); err == nil {
		t.Error("an empty folder was read")
	}
	if err := os.WriteFile(filepath.Join(dir, "x.jsonl"), []byte("nonsense\n{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "x.jsonl:1") {
		t.Errorf("error %v does not name the line", err)
	}
}
