package nodes_test

import (
	"context"
	"strconv"
	"sync"
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
	last  time.Time // when an activation ended
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
		l.began = time.Now()
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

// took is from the change to the end of the last activation.
func (l *timed) took() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last.Sub(l.began)
}

// handover has one member run n grains, adds a second one, and measures how long the first takes to end
// what now belongs to the second, from the moment in which its lookup hears of that.
func handover(t *testing.T, n int) time.Duration {
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

// TestHandoverOfTenTimesAsManyGrains takes at most fifteen times as long: it grows with their number and
// not with its square. Both are measured side by side; that one round of several is good shows it, since
// a busy machine only makes some of them worse.
func TestHandoverOfTenTimesAsManyGrains(t *testing.T) {
	const rounds, limit = 6, 15
	var seen []string
	for range rounds {
		var few, many time.Duration
		t.Run("round", func(t *testing.T) { // the members of a round end with it
			few = handover(t, fewGrains)
			many = handover(t, 10*fewGrains)
		})
		if t.Failed() {
			return
		}
		ratio := float64(many) / float64(few)
		seen = append(seen, few.String()+" and "+many.String())
		if ratio <= limit {
			t.Logf("%d grains took %v, %d took %v: %.1f times", fewGrains, few, 10*fewGrains, many, ratio)
			return
		}
	}
	t.Errorf("%d grains and %d took %v: more than %d times each time", fewGrains, 10*fewGrains, seen, limit)
}
