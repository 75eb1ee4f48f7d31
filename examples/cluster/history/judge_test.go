package history

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestRunThatWentWell(t *testing.T) {
	s := goodRun().judge(t)
	if !s.OK || len(s.Reasons) != 0 || s.Reasons == nil {
		t.Fatalf("ok %v, reasons %q", s.OK, s.Reasons)
	}
	if s.Calls != 58 || s.Replied != 53 || s.Failed != 5 || s.FailedUnknown != 1 || s.FailedNotDelivered != 4 || s.FailedDelivered != 0 {
		t.Errorf("calls %d replied %d failed %d: unknown %d undelivered %d delivered %d", s.Calls, s.Replied, s.Failed, s.FailedUnknown, s.FailedNotDelivered, s.FailedDelivered)
	}
	if s.Members != 3 || s.Kills != 1 || s.Joins != 1 || s.Restarts != 0 || s.Moved != 2 || s.Activations != 4 || s.Overlaps != 0 {
		t.Errorf("summary %+v", *s)
	}
	if !slices.Equal(s.IdentitiesChecked, []int{2, 2, 2}) {
		t.Errorf("identities checked %v", s.IdentitiesChecked)
	}
	near(t, "form", s.FormSeconds, 0.5)           // a was started → c reported the same as a and b
	near(t, "detect", s.DetectSeconds, 4)         // kill → b's topology is without c
	near(t, "recovery", s.RecoverySeconds, 5)     // kill → y answered
	near(t, "rebalance", s.RebalanceSeconds, 1.5) // d was started → y ended at b
	near(t, "load", &s.LoadSeconds, 29.4)
	if s.CallsPerSecond < 1.80 || s.CallsPerSecond > 1.81 || s.P50Micros != 1000 || s.MaxMicros != 1000 {
		t.Errorf("rate %v, p50 %v, most %v", s.CallsPerSecond, s.P50Micros, s.MaxMicros)
	}
}

func near(t *testing.T, name string, got *float64, want float64) {
	t.Helper()
	if got == nil {
		t.Errorf("%s seconds: none, want %v", name, want)
	} else if math.Abs(*got-want) > 0.0015 {
		t.Errorf("%s seconds %v, want %v", name, *got, want)
	}
}

func TestEachConditionBroken(t *testing.T) {
	tests := []struct {
		name   string
		spoil  func(*scene)
		reason string
		field  func(*Summary) int // that counts it
		want   int
	}{
		{"two activations", func(s *scene) {
			s.add(5, Record{Event: Activated, Member: "b", ID: "K/x", Activation: "x2"})
		}, "two activations alive", func(s *Summary) int { return s.DuplicateActivations }, 1},
		{"a call that never ends", func(s *scene) { s.call("K/x", 3).Outcome = Unended }, "ended later", func(s *Summary) int { return s.Late }, 1},
		{"late by a little", func(s *scene) { s.call("K/x", 3).End = 8*second + 250_000_001 }, "1 calls ended later", func(s *Summary) int { return s.Late }, 1},
		{"untyped", func(s *scene) { s.call("K/y", 11).Outcome = Untyped }, "untyped", func(s *Summary) int { return s.Untyped }, 1},
		{"run twice", func(s *scene) {
			s.add(9, Record{Event: Handled, Member: "b", Request: s.call("K/x", 4).Request})
			s.add(9, Record{Event: Handled, Member: "c", Request: s.call("K/x", 4).Request})
		}, "1 requests were run more than once", func(s *Summary) int { return s.ExecutedTwice }, 1},
		{"answered by nobody", func(s *scene) {
			s.without(func(r Record) bool { return r.Event == Handled && r.Request == 1<<32|7 })
		}, "no member has run", func(s *Summary) int { return s.AnsweredNotRun }, 1},
		{"run although refused", func(s *scene) {
			s.add(12, Record{Event: Handled, Member: "b", Request: s.call("K/y", 12).Request})
		}, "told that they had not", func(s *Summary) int { return s.RefusedButRun }, 1},
		{"left running", func(s *scene) { (*s)[len(*s)-1].Count = 2 }, "2 processes were still running", func(s *Summary) int { return s.ProcessesLeft }, 2},
		{"failed later", func(s *scene) {
			c := s.call("K/x", 18)
			c.Outcome, c.Delivery = "busy", undelivered
			s.without(func(r Record) bool { return r.Event == Handled && r.Request == c.Request })
		}, "1 calls failed after the kill of c was recovered", func(s *Summary) int { return s.FailedAfterRecovery }, 1},
		{"identity silent", func(s *scene) {
			s.without(func(r Record) bool { return r.Event == Called && r.ID == "K/y" && r.Start >= 20*second })
		}, "after the join of d only 1 of 2", func(s *Summary) int { return s.IdentitiesChecked[2] }, 1},
		{"no kill", func(s *scene) { s.without(func(r Record) bool { return r.Event == Killed }) }, "before its changes took place: kills 0", func(s *Summary) int { return s.Kills }, 0},
		{"disagreement at the end", func(s *scene) {
			s.add(29, Record{Event: Topology, Member: "a", Hash: "x", Members: []string{"a"}})
		}, "at the end the members did not agree", func(s *Summary) int { return s.Members }, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := goodRun()
			tt.spoil(&r)
			s := r.judge(t)
			if s.OK || !strings.Contains(strings.Join(s.Reasons, "\n"), tt.reason) {
				t.Errorf("ok %v, reasons %q, want one with %q", s.OK, s.Reasons, tt.reason)
			}
			if got := tt.field(s); got != tt.want {
				t.Errorf("its count is %d, want %d", got, tt.want)
			}
		})
	}
}

// The load may end in a moment in which a member has just changed its mind.
func TestAgreementOnceMoreBeforeTheStop(t *testing.T) {
	for _, tt := range []struct {
		name string
		at   float64
		want int
	}{{"before the members are stopped", 30.05, 3}, {"after", 30.2, 0}} {
		r := goodRun()
		r.add(29.9, Record{Event: Topology, Member: "a", Hash: "x", Members: []string{"a"}})
		r.add(tt.at, Record{Event: Topology, Member: "a", Hash: "3b", Members: []string{"a", "b", "d"}})
		if s := r.judge(t); s.Members != tt.want || s.OK != (tt.want > 0) {
			t.Errorf("agreement %s: members %d, ok %v, reasons %q", tt.name, s.Members, s.OK, s.Reasons)
		}
	}
}

func TestEachConditionWithoutACount(t *testing.T) {
	tests := []struct {
		name   string
		spoil  func(*scene)
		reason string
	}{
		{"member that ends by itself", func(s *scene) { s.add(29, Record{Event: Exited, Member: "a"}) }, "member a ended, and nobody had asked it to"},
		{"never agreed", func(s *scene) {
			s.without(func(r Record) bool { return r.Event == Topology && r.Ns == 14*second })
		}, "did not agree on the topology after the kill of c"},
		{"agreed on too few", func(s *scene) {
			for i, r := range *s {
				if r.Hash == "3" {
					(*s)[i].Members = []string{"a", "b"}
				}
			}
		}, "did not agree on the topology after forming"},
		{"agreed on the members, not on the hash", func(s *scene) {
			for i, r := range *s {
				if r.Hash == "3" && r.Member == "b" {
					(*s)[i].Hash = "x"
				}
			}
		}, "did not agree on the topology after forming"},
		{"slow recovery", func(s *scene) { (*s)[0].Config.RecoverySeconds = 3 }, "recovery after the kill of c took 5.0 s, the bound is 3 s"},
		{"slow join", func(s *scene) {
			s.without(func(r Record) bool { return r.Event == Called && r.ID == "K/y" && r.Start >= 20*second })
			s.add(29, Record{Event: Called, Request: 3<<32 | 1, ID: "K/y", Start: 29 * second, End: 31 * second, Outcome: OK, Delivery: delivered})
			s.add(29, Record{Event: Handled, Request: 3<<32 | 1})
		}, "the join of d took 11.0 s until every identity had answered"},
		{"no cluster", func(s *scene) { *s = (*s)[:1] }, "no cluster was formed"},
		{"no call", func(s *scene) { s.without(func(r Record) bool { return r.Event == Called }) }, "no call was made"},
		{"driver killed", func(s *scene) { s.without(func(r Record) bool { return r.Event == Left }) }, "stop before the run has ended"},
		{"trouble", func(s *scene) { s.add(3, Record{Event: Trouble, Text: "m1: leave: stuck"}) }, "m1: leave: stuck"},
		{"failures without a kill", func(s *scene) { (*s)[0].Config.Kill = false }, "5 calls failed, and nobody was to be killed"},
		{"what moved goes on", func(s *scene) { s.without(func(r Record) bool { return r.Event == Deactivated }) }, "went on where another member had taken over"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := goodRun()
			tt.spoil(&r)
			s := r.judge(t)
			if s.OK || !strings.Contains(strings.Join(s.Reasons, "\n"), tt.reason) {
				t.Errorf("ok %v, reasons %q, want one with %q", s.OK, s.Reasons, tt.reason)
			}
		})
	}
}

// What stays within a bound is no failure, and neither is what comes at its proper time.
func TestWhatIsNoFailure(t *testing.T) {
	for _, tt := range []struct {
		name  string
		touch func(*scene)
	}{
		{"250 ms after the deadline", func(s *scene) { s.call("K/x", 3).End = 8*second + 250_000_000 }},
		{"a failure while activations still move", func(s *scene) {
			s.add(21.3, Record{Event: Called, Request: 8<<32 | 1, ID: "K/y", Start: 21*second + second/5, End: 21*second + second/4, Outcome: "busy", Delivery: undelivered})
		}},
		{"two activations when the load is over", func(s *scene) {
			s.add(30.05, Record{Event: Activated, Member: "b", ID: "K/x", Activation: "x2"})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := goodRun()
			tt.touch(&r)
			if s := r.judge(t); !s.OK || s.Overlaps != 0 {
				t.Errorf("reasons %q, overlaps %d", s.Reasons, s.Overlaps)
			}
		})
	}
}

func TestOverlapBeforeAgreementIsNoDuplicate(t *testing.T) {
	r := goodRun()
	r.add(11, Record{Event: Activated, Member: "a", ID: "K/y", Activation: "y1a"})
	r.add(13.5, Record{Event: Activated, Member: "b", ID: "K/y", Activation: "y1b"})
	r.add(13.9, Record{Event: Deactivated, Member: "a", ID: "K/y", Activation: "y1a"})
	r.add(13.9, Record{Event: Deactivated, Member: "b", ID: "K/y", Activation: "y1b"})
	s := r.judge(t)
	if s.Overlaps != 1 || s.DuplicateActivations != 0 || !s.OK {
		t.Errorf("overlaps %d, duplicates %d, reasons %q", s.Overlaps, s.DuplicateActivations, s.Reasons)
	}
}

// A kill ends the lives on its member, whatever that still wrote while it died.
func TestLifeEndsWithItsProcess(t *testing.T) {
	r := goodRun()
	r.add(10.001, Record{Event: Activated, Member: "c", ID: "K/x", Activation: "x9"})
	if s := r.judge(t); !s.OK || s.DuplicateActivations+s.Overlaps != 0 {
		t.Errorf("overlaps %d, duplicates %d, reasons %q", s.Overlaps, s.DuplicateActivations, s.Reasons)
	}
}

func TestInterruptedRunIsJudgedByWhatTookPlace(t *testing.T) {
	cut := func(at int64) scene {
		r := goodRun()
		r.without(func(e Record) bool { return e.Ns >= at*second && e.Event != Configured })
		r.add(float64(at), Record{Event: Interrupted})
		r.add(float64(at)+0.001, Record{Event: Load, Phase: End})
		r.add(float64(at)+0.1, Record{Event: Left})
		return r
	}
	s := cut(12).judge(t)
	if !s.OK || !s.Interrupted || s.RecoverySeconds != nil || s.Kills != 0 {
		t.Errorf("in a recovery: ok %v, reasons %q, recovery %v, kills %d", s.OK, s.Reasons, s.RecoverySeconds, s.Kills)
	}
	for _, at := range []int64{0, 5, 18, 25} {
		if s := cut(at).judge(t); !s.OK || !s.Interrupted {
			t.Errorf("at %d s: ok %v, reasons %q", at, s.OK, s.Reasons)
		}
	}
	r := cut(5)
	r[0].Config.Kill = false
	r.add(4.9, Record{Event: Called, Request: 9, ID: "K/x", Start: 4*second + second/2, End: 6 * second, Outcome: "canceled", Delivery: "unknown"})
	if s := r.judge(t); !s.OK || s.Failed != 1 {
		t.Errorf("a call that was cancelled by the user: failed %d, reasons %q", s.Failed, s.Reasons)
	}
	r.add(4.9, Record{Event: Called, Request: 10, ID: "K/x", Start: 4 * second, End: 4*second + 1, Outcome: "busy", Delivery: undelivered})
	if s := r.judge(t); s.OK {
		t.Error("a call had failed before the user ended the run, and that counts for nothing")
	}
	late := cut(25)
	late.without(func(e Record) bool { return e.Event == Called && e.ID == "K/y" && e.Start > 14*second })
	if s := late.judge(t); s.OK {
		t.Error("an identity was silent for longer than the bound before the user ended the run, and that counts for nothing")
	}
}

// rolling makes the kill of goodRun a restart: c leaves at 10 s, e takes its place at 15 s.
func rolling() scene {
	r := goodRun()
	config := r[0].Config
	config.Kill, config.Join, config.Rolling, config.Members = false, false, true, 3
	for i := range r {
		if r[i].Event == Killed {
			r[i].Event = Stopping
		}
		if r[i].Event == Spawned && r[i].Member == "d" {
			r[i].Phase, r[i].Ns = Restart, 15*second
		}
		if r[i].Event == Called && r[i].Outcome != OK {
			r[i].Outcome, r[i].Delivery = OK, delivered
			r = append(r, Record{Ns: r[i].Ns, Event: Handled, Request: r[i].Request})
		}
	}
	r.add(12, Record{Event: Deactivated, Member: "c", ID: "K/y", Activation: "y1"})
	r.add(12.5, Record{Event: Exited, Member: "c"})
	return r
}

func TestRestartIsOneChange(t *testing.T) {
	r := rolling()
	s := r.judge(t)
	if s.Restarts != 1 || s.Kills != 0 || s.Joins != 0 || len(s.IdentitiesChecked) != 2 || s.RecoverySeconds != nil || s.RebalanceSeconds != nil {
		t.Errorf("restarts %d kills %d joins %d, checked %v", s.Restarts, s.Kills, s.Joins, s.IdentitiesChecked)
	}
	if !slices.Equal(s.Replacing, []int{22}) {
		t.Errorf("calls begun in the restart %v, want those of two callers from 10 s until the last agreed", s.Replacing)
	}
	if len(s.Reasons) != 1 || !strings.Contains(s.Reasons[0], "restarts 1") {
		t.Errorf("reasons %q: one restart of three was taken for a rolling restart of all", s.Reasons)
	}
	// The identities must answer after the replacement was started, not only after the leave began.
	r.without(func(e Record) bool { return e.Event == Called && e.ID == "K/y" && e.Start >= 15*second })
	if s := r.judge(t); !slices.Equal(s.IdentitiesChecked, []int{2, 1}) {
		t.Errorf("checked %v, want one identity that is silent", s.IdentitiesChecked)
	}
}

// A killed member that is followed at once by another is one change, a restart that may fail calls, and
// that others need not have noticed in between.
func TestRestartOfAKilledMember(t *testing.T) {
	r := goodRun()
	r.without(func(e Record) bool { return e.Event == Topology && e.Hash == "2" })
	for i := range r {
		if r[i].Event == Configured {
			r[i].Config.Join = false
		}
		if r[i].Event == Spawned && r[i].Member == "d" {
			r[i].Phase, r[i].Ns = Restart, 11*second
		}
	}
	s := r.judge(t)
	if s.Restarts != 1 || s.Kills != 1 || s.Joins != 0 || !slices.Equal(s.IdentitiesChecked, []int{2, 2}) || !slices.Equal(s.Replacing, []int{22}) {
		t.Errorf("restarts %d kills %d joins %d, checked %v, begun %v", s.Restarts, s.Kills, s.Joins, s.IdentitiesChecked, s.Replacing)
	}
	if !s.OK || s.FailedAfterRecovery != 0 {
		t.Errorf("failed after recovery %d, reasons %q", s.FailedAfterRecovery, s.Reasons)
	}
	near(t, "detect", s.DetectSeconds, 10.99) // kill → b's topology is without c
	near(t, "recovery", s.RecoverySeconds, 5)
}

// A recovery has ten seconds, however long it takes to call every identity; another change has that time too.
func TestBoundOfARecovery(t *testing.T) {
	for _, plain := range []float64{0.5, 2} { // what the first sweep takes: 0.5 s, or more than 1 s
		r := goodRun()
		r.without(func(e Record) bool {
			return e.Event == Called && e.ID == "K/y" && (e.Start > 10*second && e.Start < 24*second || float64(e.Start) < plain*float64(second))
		})
		r.without(func(e Record) bool { return e.Event == Spawned && e.Phase == Join })
		r[0].Config.Join = false
		r.add(0.5, Record{Event: Called, Member: "caller", Request: 9<<32 | 1, ID: "K/x", Start: second / 2, End: second, Outcome: OK, Delivery: delivered})
		r.add(0.6, Record{Event: Handled, Member: "a", Request: 9<<32 | 1, ID: "K/x"})
		s := r.judge(t)
		if !slices.ContainsFunc(s.Reasons, func(reason string) bool {
			return strings.Contains(reason, "recovery after the kill of c took 14.0 s, the bound is 10 s")
		}) {
			t.Errorf("every identity called in %v s: reasons %q", plain, s.Reasons)
		}
		for i := range r { // the same as a restart of one that leaves
			switch {
			case r[i].Event == Killed:
				r[i].Event = Stopping
			case r[i].Event == Topology && r[i].Hash == "3b":
				r[i].Ns -= 9 * second
			}
		}
		r.add(10.5, Record{Event: Spawned, Member: "d", Phase: Restart})
		s = r.judge(t)
		late := slices.ContainsFunc(s.Reasons, func(reason string) bool { return strings.Contains(reason, "the bound is 10 s") })
		if late != (plain < 1) {
			t.Errorf("every identity called in %v s: a restart: reasons %q", plain, s.Reasons)
		}
	}
}

// A call that was on its way when a member was killed fails for that kill, also if its caller knows
// so before kill(2) has returned.
func TestCallsThatAKillCatchesAreItsFailures(t *testing.T) {
	for _, end := range []float64{9.95, 10.3} {
		r := goodRun()
		for i := range r {
			if r[i].Event == Killed {
				r[i].Start = r[i].Ns - second/10
			}
		}
		r.add(end, Record{Event: Called, Request: 7<<32 | 1, ID: "K/y", Start: 9*second + second/2, End: int64(end * 1e9), Outcome: "unreachable", Delivery: "unknown"})
		if s := r.judge(t); !s.OK || s.FailedAfterRecovery != 0 || s.Failed != 6 {
			t.Errorf("ended at %v: failed %d, after a recovery %d, reasons %q", end, s.Failed, s.FailedAfterRecovery, s.Reasons)
		}
	}
}

func TestSeveralKills(t *testing.T) {
	r := goodRun()
	r.add(25, Record{Event: Killed, Member: "d"})
	r.topology(26, "2", "a", "b")
	r.add(26.1, Record{Event: Activated, Member: "b", ID: "K/y", Activation: "y4"})
	s := r.judge(t)
	if s.Kills != 2 || len(s.IdentitiesChecked) != 4 {
		t.Fatalf("kills %d, checked %v", s.Kills, s.IdentitiesChecked)
	}
	near(t, "the longest detection", s.DetectSeconds, 4)
}
