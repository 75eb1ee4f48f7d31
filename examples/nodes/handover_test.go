//go:build unix && !race

package nodes_test

import (
	"context"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/lookups/disthash"
)

// timed is disthash that notes when it is told of a second member that is Up.
type timed struct {
	*disthash.Lookup
	mu    sync.Mutex
	began time.Time
	spent time.Duration // of the processors, by then
	last  time.Time     // when an activation ended
}

// cost is what a hand-over took.
type cost struct{ wall, cpu time.Duration }

// times is how much more it took than another: in time or in work, whichever is less, since a busy machine
// adds to the first.
func (c cost) times(o cost) float64 {
	return min(float64(c.wall)/float64(o.wall), float64(c.cpu)/float64(o.cpu))
}

// spent is the time of the processors that this process has taken.
func spent() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (l *timed) Reshape(t core.Topology) error {
	up := 0
	for m := range t.View.All() {
		if m.Status == core.Up {
			up++
		}
	}
	l.mu.Lock()
	if up == 2 && l.began.IsZero() {
		l.began, l.spent = time.Now(), spent()
	}
	l.mu.Unlock()
	return l.Lookup.Reshape(t)
}

// ended notes the end of an activation.
func (l *timed) ended(core.Activation, core.StopReason) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = time.Now()
}

// took is from the change to the end of the last activation, which has just been.
func (l *timed) took() cost {
	l.mu.Lock()
	defer l.mu.Unlock()
	return cost{l.last.Sub(l.began), spent() - l.spent}
}

// handover has one member run n grains, adds a second one, and measures how long the first takes to end
// what now belongs to the second, from the moment in which its lookup hears of that.
func handover(t *testing.T, n int) cost {
	lookup, err := disthash.New(disthash.Config{})
	if err != nil {
		t.Fatal(err)
	}
	first := &timed{Lookup: lookup}
	kind := counterKind("Counter")
	kind.MaxNewRate = 100_000_000
	c := clustertest.Start(t, clustertest.Config{Members: 1, Kinds: grain.Kinds{kind}, Timeout: 2 * time.Minute, Lookup: newDisthash,
		Node: func(i int, cfg *cluster.Config, parts *cluster.Components) {
			cfg.StopTimeout = time.Minute // so many grains may take their time to end
			if i == 0 {
				parts.Lookup = first
				parts.Telemetry.Observer.Deactivated = first.ended
			}
		}})
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := w; i < n; i += 4 {
				if err := add(context.Background(), c.Node(0), "Counter", strconv.Itoa(i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if live := c.Node(0).Kinds()[0].Live; live != int64(n) {
		t.Fatalf("%d grains run, want %d", live, n)
	}
	// Whether the collector falls into a hand-over is chance, and would decide over the shorter one.
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	second := c.Add()
	var own int64
	for i := range n {
		if owner, ok := first.Owner(core.Identity{Kind: "Counter", Key: strconv.Itoa(i)}); ok && owner.ID != second.ID() {
			own++
		}
	}
	if own == 0 || own == int64(n) {
		t.Fatalf("%d of %d stay", own, n)
	}
	for deadline := time.Now().Add(time.Minute); c.Node(0).Kinds()[0].Live != own; time.Sleep(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d still run, want %d", c.Node(0).Kinds()[0].Live, own)
		}
	}
	took := first.took()
	for i := range 100 { // what has moved answers
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if err := add(ctx, c.Node(0), "Counter", strconv.Itoa(i)); err != nil {
			t.Error(err)
		}
		cancel()
	}
	return took
}

// TestHandoverOfTenTimesAsManyGrains takes at most fifteen times as long, 100,000 against 10,000: it grows
// with their number and not with its square. Both are measured side by side in each round, and the median
// of the rounds is judged.
func TestHandoverOfTenTimesAsManyGrains(t *testing.T) {
	const rounds, few, times, limit = 5, 10_000, 10, 15
	var ratios []float64
	for range rounds {
		t.Run("round", func(t *testing.T) { // the members of a round end with it
			short, long := handover(t, few), handover(t, times*few)
			ratios = append(ratios, long.times(short))
			t.Logf("%d grains took %+v, %d took %+v: %.1f times", few, short, times*few, long, ratios[len(ratios)-1])
		})
		if t.Failed() {
			return
		}
	}
	slices.Sort(ratios)
	if median := ratios[len(ratios)/2]; median > limit {
		t.Errorf("the median of %.1f is more than %d", ratios, limit)
	}
}
