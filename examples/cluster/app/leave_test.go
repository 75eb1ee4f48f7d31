package app

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/examples/cluster/history"
	"github.com/granary-go/granary/examples/cluster/wiring"
	"github.com/granary-go/granary/providers/memberlist"
)

// long reports whether runs are to take the time that the promise names, a minute for most, and not only
// what every run of all tests has for it.
func long() bool { return os.Getenv("GRANARY_EXAMPLE_CLUSTER_LONG") != "" }

// Every member is restarted under load, and no call fails, of which there are many in each restart.
func TestRolling(t *testing.T) {
	t.Parallel()
	during, identities, calls, each := "2s", 2000, 8000, 64 // every identity after each of four changes; every caller once
	timeout := "30s"                                        // not to measure the machine
	if long() {
		during, identities, calls, each, timeout = "40s", 10_000, 100_000, 1000, "5s"
	}
	p := launch(t, "", "-rolling", "-for", during, "-identities", strconv.Itoa(identities), "-timeout", timeout)
	code, s := p.end(2 * runLimit)
	checkRolling(t, code, s, 3, identities)
	if s.Calls < calls || s.P999Micros <= 0 || len(s.Replacing) > 0 && slices.Min(s.Replacing) < each {
		t.Errorf("%d calls, %v of them begun in the restarts, p99.9 %v µs", s.Calls, s.Replacing, s.P999Micros)
	}
	t.Logf("%d calls, %v of them begun in the restarts, p99.9 %.0f µs", s.Calls, s.Replacing, s.P999Micros)
}

func checkRolling(t *testing.T, code int, s history.Summary, members, identities int) {
	t.Helper()
	if code != exitOK || s.Kills+s.Joins != 0 || s.Restarts != members || s.Members != members || len(s.Replacing) != members {
		t.Errorf("exit %d, reasons %q, kills %d, joins %d, restarts %d, members at the end %d, calls in restarts %v", code, s.Reasons, s.Kills, s.Joins, s.Restarts, s.Members, s.Replacing)
	}
	if s.Failed+s.ExecutedTwice+s.RefusedButRun != 0 || !slices.Equal(s.IdentitiesChecked, slices.Repeat([]int{identities}, members+1)) {
		t.Errorf("failed %d, run twice %d, refused and run %d, checked %v", s.Failed, s.ExecutedTwice, s.RefusedButRun, s.IdentitiesChecked)
	}
}

// slowLeave has a member that has drained stay for longer than a call may take before it goes.
func slowLeave(_ string, c *wiring.Config) {
	c.Memberlist.Preset = memberlist.LAN
	c.Cluster.Seams.Step = func(step string) {
		if step == "stop.lookup" && !c.Cluster.Client {
			time.Sleep(5500 * time.Millisecond)
		}
	}
}

// untold does not tell others that its member leaves.
type untold struct{ *memberlist.Provider }

func (p untold) Update(ctx context.Context, self core.Member) error {
	if self.Status == core.Leaving {
		return errors.New("taken out")
	}
	return p.Provider.Update(ctx, self)
}

// However long a leaver takes, no call fails, since callers know of it before the drain. With that
// step taken out, they do.
func TestSlowLeave(t *testing.T) {
	t.Parallel()
	args := []string{"-rolling", "-members", "2", "-for", "1s", "-identities", "200", "-callers", "16"}
	t.Run("told", func(t *testing.T) {
		t.Parallel()
		p := launch(t, "slow leave", args...)
		code, s := p.end(runLimit)
		checkRolling(t, code, s, 2, 200)
	})
	t.Run("untold", func(t *testing.T) {
		t.Parallel()
		p := launch(t, "slow leave that nobody is told of", args...)
		code, s := p.end(runLimit)
		p.reason(code, s, "calls failed, and nobody was to be killed")
		if s.Failed == 0 || s.ExecutedTwice != 0 {
			t.Errorf("failed %d, run twice %d", s.Failed, s.ExecutedTwice)
		}
	})
}
