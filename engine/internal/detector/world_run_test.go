package detector

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

const settled = 10 * time.Second

// Bad links and clocks: nobody is taken out, and nobody is even voted against.
func TestHealthyMembersStay(t *testing.T) {
	for seed := range uint64(4) {
		w := newWorld(t, seed, 5)
		w.loss, w.delay = 0.05, 100*time.Millisecond
		for _, n := range w.nodes {
			n.rate = 0.9 + 0.2*w.rand.Float64()
		}
		w.nodes[0].rate, w.nodes[1].rate = 0.9, 1.1
		w.run(5 * time.Minute)
		w.wantChanges(0, 0)
		if w.writes != 5 {
			t.Errorf("seed %d: %d votes", seed, w.writes-5)
		}
	}
}

func TestKilledIsOut(t *testing.T) {
	tests := []struct {
		name   string
		silent bool
		within time.Duration
	}{
		{"nobody listens there", false, 2 * time.Second}, // its next probe, a vote, another vote
		{"its machine is gone", true, 6 * time.Second},   // four rounds, and gossip of it that has to end
	}
	for _, test := range tests {
		for _, n := range []int{2, 3, 5, 20} {
			t.Run(fmt.Sprint(test.name, n), func(t *testing.T) {
				for seed := range uint64(4) {
					w := newWorld(t, seed, n)
					w.silent = test.silent
					w.run(settled)
					w.nodes[n-1].dead = true
					w.run(test.within)
					if w.listed(n - 1) {
						t.Errorf("seed %d: it is still listed, and suspected by the first: %v", seed, w.nodes[0].d.Suspects())
					}
					w.wantChanges(1, 1)
					w.run(settled)
					w.wantNoDoubt()
				}
			})
		}
	}
}

func TestPausedHalfTheDetectionTimeStays(t *testing.T) {
	for seed := range uint64(8) {
		w := newWorld(t, seed, 3)
		w.run(settled)
		for range 20 {
			w.nodes[0].wakes = w.now + 1500*time.Millisecond
			w.run(4 * time.Second)
		}
		w.wantChanges(0, 0)
		w.wantNoDoubt()
	}
}

// A process that stood still for long accuses nobody when it wakes up: it was the one who did not
// listen. The others have taken it out by then, or see that it is back.
func TestPausedForLongAccusesNobody(t *testing.T) {
	for _, pause := range []time.Duration{2900 * time.Millisecond, 5 * time.Second, 12 * time.Second, time.Minute} {
		for seed := range uint64(4) {
			w := newWorld(t, seed, 3)
			w.run(settled)
			n := w.nodes[0]
			n.wakes, n.log = w.now+pause, nil
			w.run(pause + 20*time.Second)
			if slices.ContainsFunc(n.log, func(e Effect) bool { return e.Type == Suspect || e.Type == Vote || e.Type == Evict }) {
				t.Errorf("seed %d, %v: it accused: %v", seed, pause, n.log)
			}
			w.wantChanges(0, 1)
			w.wantNoDoubt()
		}
	}
}

// Cuts that leave everybody in sight of somebody: suspicion on both sides, and not one change of view.
func TestPartialCutsChangeNothing(t *testing.T) {
	type link struct{ from, to int }
	tests := []struct {
		name string
		n    int
		cut  []link
	}{
		{"one way", 3, []link{{0, 1}}},
		{"one way of five", 5, []link{{0, 1}}},
		{"one pair of three", 3, []link{{0, 1}, {1, 0}}},
		{"one sees one only", 4, []link{{0, 1}, {1, 0}, {0, 2}, {2, 0}}},
		{"three pairs", 6, []link{{0, 1}, {1, 0}, {2, 3}, {3, 2}, {4, 5}, {5, 4}}},
		{"a ring one way", 3, []link{{0, 1}, {1, 2}, {2, 0}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for seed := range uint64(3) {
				w := newWorld(t, seed, test.n)
				w.restart = true
				w.run(settled)
				for _, l := range test.cut {
					w.cut[[2]int{l.from, l.to}] = true
				}
				w.run(5 * time.Minute)
				w.wantChanges(0, 0)
				if !w.nodes[test.cut[0].to].d.Suspected(w.nodes[test.cut[0].from].id) {
					t.Errorf("seed %d: the silent one is not suspected", seed)
				}
				clear(w.cut)
				w.run(settled)
				w.wantChanges(0, 0)
				w.wantNoDoubt()
			}
		})
	}
}

// Whole cuts, with a provider that all can reach, and processes that start again when they are taken
// out: at most two changes of view a link change, the larger side stays, and no oscillation.
func TestCutsDoNotOscillate(t *testing.T) {
	tests := []struct {
		name   string
		n      int
		away   []int // cut off from all the others
		stays  []int
		cuts   int
		within bool // those who are away are cut off from each other too
	}{
		{"one of two", 2, []int{1}, nil, 1, false},
		{"one of three", 3, []int{1}, []int{0, 2}, 2, false},
		{"two of five", 5, []int{0, 1}, []int{2, 3, 4}, 6, false},
		{"half of four", 4, []int{2, 3}, []int{0, 1}, 4, false},
		{"everybody", 3, []int{0, 1, 2}, []int{0, 1, 2}, 3, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for seed := range uint64(4) {
				w := newWorld(t, seed, test.n)
				w.restart = true
				w.run(settled)
				var stay []string
				for _, place := range test.stays {
					stay = append(stay, string(w.nodes[place].id))
				}
				isAway := func(i int) bool { return slices.Contains(test.away, i) }
				for a := range test.n {
					for b := range a {
						if isAway(a) != isAway(b) || test.within && isAway(a) {
							w.both(a, b, true)
						}
					}
				}
				w.run(5 * time.Minute)
				w.wantChanges(0, 2*test.cuts)
				for i, place := range test.stays {
					if string(w.nodes[place].id) != stay[i] {
						t.Errorf("seed %d: %s was taken out", seed, stay[i])
					}
				}
				before := w.changes
				clear(w.cut)
				w.run(settled)
				if w.changes != before {
					t.Errorf("seed %d: healing changed the view %d times", seed, w.changes-before)
				}
				w.wantNoDoubt()
			}
		})
	}
}

// Random links come and go, one way and both: never more than two changes a link change, and peace
// once all are healed.
func TestRandomCuts(t *testing.T) {
	for seed := range uint64(30) {
		w := newWorld(t, seed, 3+int(seed%4))
		w.restart = true
		for _, n := range w.nodes {
			n.rate = 0.9 + 0.2*w.rand.Float64()
		}
		w.run(settled)
		links := 0
		for range 12 {
			a, b := w.rand.IntN(len(w.nodes)), w.rand.IntN(len(w.nodes))
			if a == b {
				continue
			}
			links++
			w.cut[[2]int{a, b}] = !w.cut[[2]int{a, b}]
			w.run(w.jitter(20 * time.Second))
		}
		w.run(time.Minute)
		w.wantChanges(0, 2*links)
		before := w.changes
		clear(w.cut)
		w.run(settled)
		if w.changes > before {
			t.Errorf("seed %d: %d changes after all was healed", seed, w.changes-before)
		}
		w.wantNoDoubt()
	}
}

// Half of the members of a large cluster die at once: no more than a tenth in 10 s are voted out, and
// the provider's expiry has to do the rest.
func TestEvictionsAreRationed(t *testing.T) {
	const n, dead = 20, 8
	w := newWorld(t, 1, n)
	w.silent = true
	w.run(settled)
	for i := range dead {
		w.nodes[i].dead = true
	}
	w.run(4 * time.Second)
	times := []time.Duration{}
	for range 1000 {
		before := w.changes
		w.run(100 * time.Millisecond)
		out := w.changes - before
		for range out {
			times = append(times, w.now)
		}
		recent := 0
		for _, at := range times {
			if w.now-at < 9900*time.Millisecond {
				recent++
			}
		}
		if recent > 2 {
			t.Fatalf("%d changes within 10 s: %v", recent, times)
		}
	}
	for i := range dead {
		if w.listed(i) {
			t.Errorf("%d is still listed in the end", i)
		}
	}
}

func TestAWorldReplays(t *testing.T) {
	run := func() (out []string) {
		w := newWorld(t, 42, 5)
		w.restart, w.loss = true, 0.2
		w.run(settled)
		w.both(0, 1, true)
		w.nodes[3].dead = true
		w.run(30 * time.Second)
		for _, n := range w.nodes {
			out = append(out, fmt.Sprint(n.id, n.log))
		}
		return append(out, fmt.Sprint(w.changes, w.writes))
	}
	if one, two := run(), run(); !slices.Equal(one, two) {
		t.Errorf("one seed, two runs:\n%v\n%v", one, two)
	}
}

// Whatever happens to two of five members and to their links, the three others stay.
func TestBystandersStay(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(t, seed, 5)
		w.restart, w.loss, w.silent = true, 0.03, seed%2 == 0
		for _, n := range w.nodes {
			n.rate = 0.9 + 0.2*w.rand.Float64()
		}
		w.run(settled)
		bystanders := []*node{w.nodes[0], w.nodes[2], w.nodes[4]}
		for range 15 {
			victim, other := 1+2*w.rand.IntN(2), w.rand.IntN(5)
			switch w.rand.IntN(4) {
			case 0:
				w.nodes[victim].wakes = w.now + w.jitter(20*time.Second)
			case 1:
				w.kill(victim)
			default:
				if w.rand.IntN(2) == 0 {
					victim, other = other, victim
				}
				if victim != other {
					w.cut[[2]int{victim, other}] = !w.cut[[2]int{victim, other}]
				}
			}
			w.run(w.jitter(15 * time.Second))
		}
		clear(w.cut)
		w.run(time.Minute)
		for _, n := range bystanders {
			if n.dead || w.nodes[n.place] != n {
				t.Errorf("seed %d: %s was taken out", seed, n.id)
			}
		}
		w.wantNoDoubt()
	}
}
