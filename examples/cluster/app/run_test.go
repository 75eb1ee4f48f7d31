package app

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/granary-go/granary/examples/cluster/history"
)

// runLimit is far above what any run here takes on a busy machine.
const runLimit = 2 * time.Minute

// The contract of the object, with an example of each type of value. null stands for what may not
// take place.
var contract = map[string]any{
	"schema": 1.0, "ok": true, "reasons": []any{}, "interrupted": false, "seed": 1.0, "provider": "", "lookup": "", "level": 0.0,
	"members": 3.0, "callers": 64.0, "identities": 10000.0, "loadSeconds": 30.0,
	"formSeconds": nil, "kills": 1.0, "joins": 1.0, "restarts": 0.0,
	"calls": 0.0, "replied": 0.0, "failed": 0.0, "failedNotDelivered": 0.0, "failedDelivered": 0.0, "failedUnknown": 0.0, "untyped": 0.0, "late": 0.0,
	"failedAfterRecovery": 0.0, "executedTwice": 0.0, "identitiesChecked": []any{},
	"activations": 0.0, "moved": 0.0, "overlaps": 0.0, "duplicateActivations": 0.0,
	"detectSeconds": nil, "recoverySeconds": nil, "rebalanceSeconds": nil,
	"callsPerSecond": 0.0, "p50Micros": 0.0, "p99Micros": 0.0, "p999Micros": 0.0, "maxMicros": 0.0, "processesLeft": 0.0,
}

func checkContract(t *testing.T, line []byte) {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	for name, example := range contract {
		v, there := got[name]
		switch _, number := v.(float64); {
		case !there:
			t.Errorf("the object has no %q", name)
		case example == nil && (v == nil || number):
		case reflect.TypeOf(v) != reflect.TypeOf(example):
			t.Errorf("%s is %v (%T), the contract has a %T", name, v, v, example)
		}
	}
}

// A run that goes well: a kill, a recovery, a join, and an object in which every field is right; and
// the same object again from the records alone.
func TestRun(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "records")
	p := launch(t, "", "-for", "6s", "-identities", "300", "-callers", "16", "-seed", "3", "-history", dir)
	code, s := p.end(runLimit)
	checkContract(t, p.stdout.Bytes())
	if code != exitOK || !s.OK || s.Interrupted {
		t.Fatalf("exit %d, ok %v, interrupted %v, reasons %q", code, s.OK, s.Interrupted, s.Reasons)
	}
	if s.Schema != 1 || s.Seed != 3 || s.Provider != "memberlist" || s.Lookup != "disthash" || s.Level != 0 || s.Callers != 16 || s.Identities != 300 {
		t.Errorf("what the run was asked for: %+v", s)
	}
	if s.Members != 3 || s.Kills != 1 || s.Joins != 1 || s.Restarts != 0 || !slices.Equal(s.IdentitiesChecked, []int{300, 300, 300}) {
		t.Errorf("members %d, kills %d, joins %d, restarts %d, checked %v", s.Members, s.Kills, s.Joins, s.Restarts, s.IdentitiesChecked)
	}
	if s.Calls < 1000 || s.Replied == 0 || s.Untyped+s.Late+s.FailedAfterRecovery+s.ExecutedTwice+s.DuplicateActivations+s.ProcessesLeft != 0 {
		t.Errorf("calls %+v", s)
	}
	if s.Moved < 100 || s.Activations != 300+s.Moved {
		t.Errorf("activations %d, moved %d: a third of 300 moves with the kill, and some with the join", s.Activations, s.Moved)
	}
	for _, tt := range []struct {
		name        string
		got         *float64
		least, most float64
	}{{"form", s.FormSeconds, 0.001, 60}, {"detect", s.DetectSeconds, 1, 10}, {"recovery", s.RecoverySeconds, 1, 10}, {"rebalance", s.RebalanceSeconds, 0.001, 10}, {"load", &s.LoadSeconds, 6, 60}} {
		if tt.got == nil || *tt.got < tt.least || *tt.got > tt.most {
			t.Errorf("%s seconds %v, want %v to %v", tt.name, tt.got, tt.least, tt.most)
		}
	}
	if s.P50Micros <= 0 || s.P99Micros < s.P50Micros || s.P999Micros < s.P99Micros || s.MaxMicros < s.P999Micros || s.CallsPerSecond <= 0 {
		t.Errorf("rate %v, times %v %v %v %v", s.CallsPerSecond, s.P50Micros, s.P99Micros, s.P999Micros, s.MaxMicros)
	}
	if s.FormSeconds != nil && *s.RecoverySeconds < *s.DetectSeconds {
		t.Errorf("recovered after %v s, and detected after %v s only", *s.RecoverySeconds, *s.DetectSeconds)
	}
	for _, want := range []string{"agree on the topology", "killed with SIGKILL", "all 300 identities answer after the kill", "all 300 identities answer after the join", "calls/s  p50", "ok: every condition held"} {
		if !strings.Contains(p.text(), want) {
			t.Errorf("the progress does not say %q", want)
		}
	}
	recomputed(t, dir, s)
	secondRunInFolder(t, dir)
}

// recomputed checks that the records alone give the object that was printed.
func recomputed(t *testing.T, dir string, want history.Summary) {
	t.Helper()
	got, err := history.Judge(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("from the records alone:\n%+v\nprinted:\n%+v", *got, want)
	}
}

func secondRunInFolder(t *testing.T, dir string) {
	t.Helper()
	p := launch(t, "", "-history", dir)
	if code, s := p.end(runLimit); code != exitUsage || !strings.Contains(strings.Join(s.Reasons, ""), "records of another run") {
		t.Errorf("a second run in the folder of the first: exit %d, reasons %q", code, s.Reasons)
	}
}

// Two runs side by side, of one member and of five, know nothing of each other.
func TestSizes(t *testing.T) {
	t.Parallel()
	one := launch(t, "", "-members", "1", "-kill=false", "-join=false", "-for", "1s", "-identities", "50", "-callers", "2")
	five := launch(t, "", "-members", "5", "-kill=false", "-for", "2s", "-identities", "100", "-callers", "4")
	code, s := one.end(runLimit)
	if code != exitOK || s.Members != 1 || s.Moved != 0 || s.Activations != 50 || s.DetectSeconds != nil || s.RecoverySeconds != nil || s.RebalanceSeconds != nil {
		t.Errorf("one member: exit %d, %+v", code, s)
	}
	code, s = five.end(runLimit)
	if code != exitOK || s.Members != 6 || s.Failed != 0 || s.Joins != 1 || s.Kills != 0 || s.RebalanceSeconds == nil {
		t.Errorf("five members: exit %d, %+v", code, s)
	}
}

// Each condition is broken on purpose, and seen.
func TestBrokenConditions(t *testing.T) {
	t.Parallel()
	quick := []string{"-kill=false", "-join=false", "-for", "1s", "-identities", "50", "-callers", "4", "-timeout", "1s"}
	tests := []struct {
		breaks string
		args   []string
		reason string
		count  func(history.Summary) int
	}{
		{"two owners", quick, "two activations alive at once after the members agreed", func(s history.Summary) int { return s.DuplicateActivations }},
		{"call never ends", quick, "ended later than 250 ms after their deadline, or never", func(s history.Summary) int { return s.Late }},
		{"sent twice", quick, "requests were run more than once", func(s history.Summary) int { return s.ExecutedTwice }},
		{"untyped error", quick, "untyped error", func(s history.Summary) int { return s.Untyped }},
		{"crash", quick, "ended, and nobody had asked it to", nil},
		{"ignores stop", append([]string{"-members", "1"}, quick...), "processes were still running at the end", func(s history.Summary) int { return s.ProcessesLeft }},
		{"no re-placement", []string{"-join=false", "-for", "1s", "-identities", "50", "-callers", "4", "-timeout", "1s"}, "after the kill of", nil},
	}
	for _, tt := range tests {
		t.Run(tt.breaks, func(t *testing.T) {
			t.Parallel()
			p := launch(t, tt.breaks, tt.args...)
			code, s := p.end(runLimit)
			p.reason(code, s, tt.reason)
			if tt.count != nil && tt.count(s) == 0 {
				t.Errorf("its count is 0 in %+v", s)
			}
			if tt.breaks == "no re-placement" && (len(s.IdentitiesChecked) != 2 || s.IdentitiesChecked[1] >= 50 || s.RecoverySeconds != nil) {
				t.Errorf("identities checked %v, recovery %v", s.IdentitiesChecked, s.RecoverySeconds)
			}
		})
	}
}

// Ctrl-C ends the run cleanly at any moment.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	args := []string{"-for", "3s", "-identities", "200", "-callers", "8"}
	for _, tt := range []struct {
		name, at string // the line after which it comes
		args     []string
	}{
		{"at once", "forming a cluster", args},
		{"while forming", "m2 started", args},
		{"under load", "calls/s  p50", args},
		{"in a recovery", "killed with SIGKILL", args},
		{"in a join", "m4 started", append([]string{"-kill=false"}, args...)},
		{"in a restart", "is asked to leave", append([]string{"-rolling"}, args...)},
		{"at the end", "ending 4 processes", []string{"-kill=false", "-join=false", "-for", "1s", "-identities", "20"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := launch(t, "", tt.args...)
			p.await(tt.at)
			p.signal(os.Interrupt)
			asked := time.Now()
			p.signal(os.Interrupt) // the impatient press it twice
			code, s := p.end(runLimit)
			if took := time.Since(asked); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			if code != exitOK || !s.OK || !s.Interrupted {
				t.Errorf("exit %d, ok %v, interrupted %v, reasons %q", code, s.OK, s.Interrupted, s.Reasons)
			}
		})
	}
}

// Records that cannot all be read in the time that Ctrl-C leaves are judged as far as they were, and the object
// says what was not; also if Ctrl-C comes while they are being read.
func TestInterruptHurriesTheJudge(t *testing.T) {
	t.Parallel()
	for _, breaks := range []string{"impatient user", "impatient user who waits"} {
		t.Run(breaks, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "records")
			p := launch(t, breaks, "-members", "1", "-kill=false", "-join=false", "-for", "3s", "-identities", "20", "-callers", "8", "-history", dir)
			p.await("calls/s  p50")
			p.signal(os.Interrupt)
			code, s := p.end(runLimit)
			checkContract(t, p.stdout.Bytes())
			want := breaks == "impatient user"
			said := len(s.Reasons) == 1 && strings.HasPrefix(s.Reasons[0], "not judged")
			if code != exitOK || !s.OK || !s.Interrupted || said != want || !want && len(s.Reasons) > 0 {
				t.Errorf("exit %d, ok %v, interrupted %v, reasons %q; want not all judged: %v", code, s.OK, s.Interrupted, s.Reasons, want)
			}
			if whole, err := history.Judge(dir); err != nil || !whole.OK || !whole.Interrupted || want && whole.Calls <= s.Calls {
				t.Errorf("from the records: %+v, %v", whole, err)
			}
		})
	}
}

// The steps of a hurried end leave the judge some time, and all of it is well below ten seconds.
func TestHurriedEnd(t *testing.T) {
	if steps := hurriedPause + cancelLimit + hurriedLeave; steps > hurriedEnd-time.Second || hurriedStop > hurriedLeave-time.Second || hurriedEnd > 8*time.Second {
		t.Errorf("%v of steps, %v in all", steps, hurriedEnd)
	}
	var at askedAt
	if at.late(0) {
		t.Error("late, and nobody has asked")
	}
	at.Store(time.Now().Add(-time.Hour).UnixNano())
	if !at.late(hurriedEnd) || at.late(2*time.Hour) {
		t.Error("an hour is not more than some seconds and less than two")
	}
}

// A leave that takes long is cut short for a user who waits, also if it had begun before.
func TestInterruptHurriesALeave(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"calls/s  p50", "ending 2 processes"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			p := launch(t, "long leave", "-members", "1", "-kill=false", "-join=false", "-for", "2s", "-identities", "20", "-callers", "2")
			p.await(at)
			p.signal(os.Interrupt)
			asked := time.Now()
			code, s := p.end(runLimit)
			if took := time.Since(asked); code != exitOK || !s.Interrupted || s.ProcessesLeft != 0 || took > 10*time.Second {
				t.Errorf("exit %d after %v, reasons %q, processes left %d", code, took, s.Reasons, s.ProcessesLeft)
			}
		})
	}
}

// A user who interrupts a run that has failed is told so.
func TestInterruptAfterAFailure(t *testing.T) {
	t.Parallel()
	p := launch(t, "untyped error", "-kill=false", "-identities", "50", "-callers", "4")
	p.await(" [1-9][0-9]* errors")
	p.signal(syscall.SIGTERM)
	code, s := p.end(runLimit)
	p.reason(code, s, "untyped error")
	if !s.Interrupted {
		t.Error("the object does not say that the run was interrupted")
	}
}

// Nothing is left running when the driver itself is killed, and what it has recorded says that the run
// has no end.
func TestKilledDriver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := launch(t, "", "-identities", "50", "-callers", "4", "-history", dir)
	p.await("calls/s  p50")
	p.signal(os.Kill)
	<-p.exited
	p.nothingLeft()
	s, err := history.Judge(dir)
	if err != nil {
		t.Fatal(err)
	}
	if s.OK || !strings.Contains(strings.Join(s.Reasons, "\n"), "stop before the run has ended") {
		t.Errorf("ok %v, reasons %q", s.OK, s.Reasons)
	}
	if len(startedLine.FindAllString(p.text(), -1)) != 4 {
		t.Errorf("the test does not know all processes:\n%s", p.text())
	}
}

// Without -json standard output is for people.
func TestTextForPeople(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-members", "1", "-kill=false", "-join=false", "-for", "1s", "-identities", "5", "-callers", "1")
	cmd.Env = append(os.Environ(), driverVariable+"=1")
	out, err := cmd.Output()
	if err != nil || !strings.Contains(string(out), "ok: every condition held") || !strings.Contains(string(out), "formed in") || strings.Contains(string(out), "{") {
		t.Errorf("error %v, output:\n%s", err, out)
	}
}
