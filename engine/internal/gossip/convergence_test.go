package gossip_test

import (
	"math"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// TestConvergence is the bound of the design: a changed key is everywhere after ⌈log₂ N⌉ + 4 intervals,
// though every fifth message is lost.
func TestConvergence(t *testing.T) {
	const n = 50
	bound := time.Duration(math.Ceil(math.Log2(n))+4) * gossip.DefaultInterval
	worst, sum := time.Duration(0), time.Duration(0)
	for seed := range *seeds {
		w := newWorld(t, seed)
		w.loss = 0.2
		nodes := cluster(w, n)
		w.run(3*time.Second, nil)
		left := n
		w.changes = func(_ *node, c gossip.Changed) {
			if c.Key == "k" {
				left--
			}
		}
		begin := w.now
		nodes[0].set("k", text("v"))
		w.run(2*bound, func() bool { return left == 0 })
		took := w.now.Sub(begin)
		if left > 0 || took > bound {
			t.Fatalf("seed %d: after %v %d of %d members lack the change, want none after %v", seed, took, left, n, bound)
		}
		worst, sum = max(worst, took), sum+took
	}
	t.Logf("%d members, 20 %% loss, %d seeds: %.1f intervals on average, %.1f at worst, bound %.0f", n, *seeds,
		float64(sum)/float64(*seeds)/float64(gossip.DefaultInterval), float64(worst)/float64(gossip.DefaultInterval), float64(bound)/float64(gossip.DefaultInterval))
}

// TestConsensusBound: a check becomes true within the bound after the last change, and false with the next.
func TestConsensusBound(t *testing.T) {
	const n = 50
	bound := time.Duration(math.Ceil(math.Log2(n))+4) * gossip.DefaultInterval
	for seed := range max(1, *seeds/4) {
		w := newWorld(t, seed)
		w.loss = 0.2
		nodes := cluster(w, n)
		check := gossip.NewCheck("same", "k", func(v core.Message) (string, bool) { return string(v.Data), true })
		for _, n := range nodes {
			if err := n.AddCheck(check); err != nil {
				t.Fatal(err)
			}
		}
		for _, value := range []string{"a", "b"} {
			for _, n := range nodes {
				n.set("k", text(value))
				if got, agreed := n.Agreed("same"); agreed {
					t.Fatalf("seed %d: %v is agreed before all have said it", seed, got)
				}
			}
			all := func() bool {
				for _, n := range nodes {
					if got, agreed := n.Agreed("same"); !agreed || got != value {
						return false
					}
				}
				return true
			}
			begin := w.now
			w.run(bound, all)
			if !all() {
				t.Fatalf("seed %d: not all agree on %q after %v", seed, value, w.now.Sub(begin))
			}
		}
	}
}

// TestBytes states what gossip costs. The limits are a quarter above what was measured when they were
// set; doc.go repeats the figures.
func TestBytes(t *testing.T) {
	const n, intervals = 50, 20
	for name, tc := range map[string]struct {
		beat  time.Duration
		limit int
	}{
		"nothing changes":        {0, 440},
		"heartbeat every 5 s":    {5 * time.Second, 2_400},
		"heartbeat every second": {time.Second, 10_000},
		"heartbeat every 300 ms": {300 * time.Millisecond, 27_000},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			w.beat = tc.beat
			cluster(w, n)
			w.run(6*time.Second, nil)
			w.bytes, w.messages, w.largest = 0, 0, 0
			w.run(intervals*gossip.DefaultInterval, nil)
			each := w.bytes / intervals / n
			t.Logf("%d bytes and %.1f messages an interval and member, the largest %d bytes", each, float64(w.messages)/intervals/n, w.largest)
			if each > tc.limit {
				t.Errorf("%d bytes an interval and member, want at most %d", each, tc.limit)
			}
		})
	}
}

// TestLargestState: 64 keys of 64 KiB travel, in messages that keep to their bound.
func TestLargestState(t *testing.T) {
	w := newWorld(t, 3)
	w.loss = 0.05
	nodes := cluster(w, 4)
	big := make([]byte, gossip.MaxValue)
	for i := range gossip.MaxKeys - 1 { // and the topology
		nodes[0].set(string(rune('a'+i)), core.Message{Type: "test.Text", Data: big})
	}
	all := func() bool {
		for _, n := range nodes {
			if len(n.Keys(nodes[0].id)) != gossip.MaxKeys {
				return false
			}
		}
		return true
	}
	w.run(time.Minute, all)
	if !all() {
		t.Fatalf("after %v the keys are not everywhere", w.now.Sub(w.start))
	}
	if w.largest > gossip.DefaultMaxBytes+4_096 {
		t.Errorf("a message of %d bytes, want about %d", w.largest, gossip.DefaultMaxBytes)
	}
	t.Logf("4 MiB to 3 others: %v, %d bytes in all", w.now.Sub(w.start), w.bytes)
}
