package app

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/granary-go/granary/examples/cluster/history"
)

// The others take a member for dead that is silent for 5 s, with the preset that these runs use, which is
// the default one.
const (
	detection = 5 * time.Second
	duty      = 100 * time.Millisecond
)

// A member that stands still for half the time in which it would be taken for dead, one after the other,
// is neither removed nor loses a grain, and its calls are answered.
func TestPausedMember(t *testing.T) {
	t.Parallel()
	disturbed(t, func(members []int, over func() bool) (longest time.Duration) {
		for i := 0; !over(); i++ {
			longest = max(longest, pause(t, members[i%len(members)], detection/2))
			time.Sleep(detection / 5)
		}
		return longest
	})
}

// A member that has a fifth of a processor, 20 ms in each 100, stays as well.
func TestMemberWithAFifthOfAProcessor(t *testing.T) {
	t.Parallel()
	disturbed(t, func(members []int, over func() bool) (longest time.Duration) {
		for !over() {
			longest = max(longest, pause(t, members[1], duty*4/5))
			time.Sleep(duty / 5)
		}
		return longest
	})
}

// pause stops a process for a time and returns how long that was.
func pause(t *testing.T, pid int, d time.Duration) time.Duration {
	from := time.Now()
	for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		if err := syscall.Kill(pid, s); err != nil {
			t.Errorf("process %d: %v", pid, err)
		}
		if s == syscall.SIGSTOP {
			time.Sleep(d)
		}
	}
	return time.Since(from)
}

// disturbed runs a cluster under load while disturb does something to its processes, until it is over. It
// returns for how long it has stopped one at most. A machine that is so slow that this was longer than
// planned by a quarter of the detection time has not shown what was to be shown: once more.
func disturbed(t *testing.T, disturb func(members []int, over func() bool) time.Duration) {
	during := 12 * time.Second
	if long() {
		during = time.Minute
	}
	for range 10 {
		dir := t.TempDir()
		p := launch(t, "patient", "-kill=false", "-join=false", "-for", (during + 3*time.Second).String(), "-identities", "200", "-callers", "8", "-timeout", "30s", "-history", dir)
		p.await("8 callers begin")
		end := time.Now().Add(during)
		longest := disturb(p.pids("m"), func() bool { return time.Now().After(end) })
		code, s := p.end(2 * runLimit)
		if longest > detection*3/4 {
			t.Logf("a process was stopped for %v: once more", longest)
			continue
		}
		if code != exitOK || s.Members != 3 || s.Failed+s.Moved+s.Overlaps != 0 || s.Activations != 200 {
			t.Errorf("exit %d, reasons %q, members %d, failed %d, moved %d, activations %d", code, s.Reasons, s.Members, s.Failed, s.Moved, s.Activations)
		}
		noneRemoved(t, dir)
		t.Logf("%d calls, the longest stop %v, the longest call %.0f µs", s.Calls, longest, s.MaxMicros)
		return
	}
	t.Error("this machine is too slow to stop a process for a given time")
}

// pids are the processes whose names begin so.
func (p *program) pids(prefix string) (pids []int) {
	p.t.Helper()
	for _, m := range regexp.MustCompile(`  `+prefix+`\d* started, process (\d+)`).FindAllStringSubmatch(p.text(), -1) {
		pid, err := strconv.Atoi(m[1])
		if err != nil {
			p.t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// noneRemoved checks that no member that has seen all three was without one before the load had ended.
func noneRemoved(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil || len(files) != 5 {
		t.Fatalf("records %q, error %v", files, err)
	}
	end, topologies := int64(0), []history.Record{}
	for _, name := range files {
		for _, r := range recordsOf(t, name) {
			switch {
			case r.Event == history.Load && r.Phase == history.End:
				end = r.Ns
			case r.Event == history.Topology:
				topologies = append(topologies, r)
			}
		}
	}
	whole := map[string]bool{}
	for _, r := range topologies {
		if whole[r.Member] && len(r.Members) < 3 && r.Ns < end {
			t.Errorf("%s had only the members %q, %.1f s before the end of the load", r.Member, r.Members, float64(end-r.Ns)/1e9)
		}
		whole[r.Member] = whole[r.Member] || len(r.Members) == 3
	}
	if end == 0 || len(whole) != 3 {
		t.Errorf("the load ended at %d; topologies of %d members", end, len(whole))
	}
}

func recordsOf(t *testing.T, name string) (all []history.Record) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var r history.Record
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, r)
	}
	return all
}
