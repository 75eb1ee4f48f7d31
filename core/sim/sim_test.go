package sim_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/core/sim"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestHeapKeepsOrder(t *testing.T) {
	h := &sim.Heap{}
	rng := sim.Rand(1, "order")
	var got []time.Duration
	for range 500 {
		h.After(time.Duration(rng.IntN(50)), func() { got = append(got, h.Now()) })
	}
	var same []int
	for i := range 5 {
		h.After(60, func() { same = append(same, i) })
	}
	stopped := h.After(10, func() { t.Error("a timer that was stopped went off") })
	if !stopped.Stop() || stopped.Stop() {
		t.Error("Stop does not tell whether the timer was to go off")
	}
	h.After(-5, func() { got = append(got, h.Now()) })
	if !h.Run(100) || h.Now() != 100 || h.Steps() != 506 {
		t.Errorf("ran to %v in %d steps", h.Now(), h.Steps())
	}
	if len(got) != 501 || !slices.IsSorted(got) || !slices.Equal(same, []int{0, 1, 2, 3, 4}) {
		t.Errorf("%d events, in order %v; of one instant %v", len(got), slices.IsSorted(got), same)
	}
}

func TestHeapEndsWhatGoesRoundInCircles(t *testing.T) {
	h := &sim.Heap{Limit: 100}
	var again func()
	again = func() { h.After(0, again) }
	again()
	if h.Run(time.Second) || h.Steps() != 100 {
		t.Errorf("%d steps", h.Steps())
	}
}

func TestProcessPausesAndDies(t *testing.T) {
	h := &sim.Heap{}
	p := h.Start("n0", 0, 1)
	var at []time.Duration
	p.Every(10, 10, func() { at = append(at, h.Now()) })
	n := 0
	p.While(3, 3, func() bool { n++; return n < 4 })
	h.Run(25)
	p.Pause()
	p.Pause()
	h.Run(45)
	p.Resume()
	if p.Do(func() { t.Error("a paused process acts") }); !p.Paused() || len(at) != 2 {
		t.Errorf("paused: %v", at)
	}
	p2 := h.Start("n1", 0, 1)
	p2.Kill()
	p2.Do(func() { t.Error("a dead process acts") })
	p2.Resume()
	if p2.Alive() || !p.Alive() {
		t.Error("who lives?")
	}
	_ = n
	if n != 4 {
		t.Errorf("While went on %d times", n)
	}
}

func TestResumeCatchesUp(t *testing.T) {
	h := &sim.Heap{}
	p := h.Start("n0", 0, 1)
	var at []time.Duration
	p.Every(10, 10, func() { at = append(at, h.Now()) })
	h.After(15, p.Pause)
	h.After(57, p.Resume)
	h.Run(80)
	if want := []time.Duration{10, 57, 67, 77}; !slices.Equal(at, want) {
		t.Errorf("%v, want %v", at, want)
	}
}

// A timer of a process is never early by the clock of the process, whatever its rate.
func TestClocks(t *testing.T) {
	h := &sim.Heap{}
	rng := sim.Rand(7, "clock")
	for range 200 {
		p := h.Start("n", time.Duration(rng.Int64N(int64(time.Hour))), 0.9+0.2*rng.Float64())
		c := p.Clock()
		begin, elapsed := c.Now(), c.Elapsed()
		d := time.Duration(rng.Int64N(int64(10 * time.Second)))
		stop := c.AfterFunc(d, func() {
			if took := c.Now().Sub(begin); took < d || took > d+2 || c.Elapsed()-elapsed != took {
				t.Errorf("a timer of %v took %v", d, took)
			}
		})
		h.Run(h.Now() + 12*time.Second)
		if stop() {
			t.Errorf("the timer of %v is still to come", d)
		}
	}
	p := h.Start("n", 0, 1)
	before := p.Clock().Now()
	p.SetRate(2)
	h.Run(h.Now() + time.Second)
	if got := p.Clock().Now().Sub(before); got != 2*time.Second {
		t.Errorf("%v passed", got)
	}
}

// net makes a net of two machines whose messages take one to two milliseconds.
func net(seed uint64) (*sim.Heap, *sim.Net, *sim.Process) {
	h := &sim.Heap{}
	return h, sim.NewNet(h, sim.Rand(seed, "net"), time.Millisecond, 2*time.Millisecond), h.Start("b", 0, 1)
}

func TestDatagrams(t *testing.T) {
	tests := map[string]struct {
		link    func(*sim.Link)
		least   int
		most    int
		ordered bool
	}{
		"whole":     {func(*sim.Link) {}, 1000, 1000, true},
		"drop":      {func(l *sim.Link) { l.Drop = 300 }, 600, 800, true},
		"duplicate": {func(l *sim.Link) { l.Duplicate = 300 }, 1200, 1400, true},
		"reorder":   {func(l *sim.Link) { l.Reorder = 300 }, 1000, 1000, false},
		"delay":     {func(l *sim.Link) { l.Delay = time.Second; l.Jitter = time.Millisecond }, 1000, 1000, true},
		"always":    {func(l *sim.Link) { l.Drop = 5000 }, 50, 200, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h, n, b := net(3)
			tt.link(n.Link("a", "b"))
			var got []int
			for i := range 1000 {
				h.After(time.Duration(i)*5*time.Millisecond, func() { n.Send("a", b, func() { got = append(got, i) }) })
			}
			h.Run(time.Minute)
			if len(got) < tt.least || len(got) > tt.most || slices.IsSorted(got) != tt.ordered {
				t.Errorf("%d arrive, in order %v", len(got), slices.IsSorted(got))
			}
		})
	}
}

func TestCutsNest(t *testing.T) {
	h, n, b := net(1)
	got := 0
	send := func() { n.Send("a", b, func() { got++ }); h.Run(h.Now() + time.Second) }
	n.Cut("a", "b")
	n.Cut("a", "b")
	send()
	n.Mend("a", "b")
	send()
	if got != 0 || n.Open("a", "b") || !n.Open("b", "a") {
		t.Errorf("%d pass", got)
	}
	n.Mend("a", "b")
	if send(); got != 1 {
		t.Errorf("%d pass once it is whole", got)
	}
}

// What goes into a pipe comes out in order and once, whatever the link does, until it breaks.
func TestPipes(t *testing.T) {
	for seed := range uint64(50) {
		h, n, b := net(seed)
		l := n.Link("a", "b")
		l.Drop, l.Jitter, l.Duplicate, l.Reorder = 200, 50*time.Millisecond, 500, 500
		p := n.Pipe("a", b)
		var got []int
		for i := range 200 {
			h.After(time.Duration(i)*3*time.Millisecond, func() { p.Send(func() { got = append(got, i) }) })
		}
		h.After(100*time.Millisecond, func() { n.Cut("a", "b") })
		h.Run(2 * time.Second)
		held := len(got)
		n.Mend("a", "b")
		h.Run(time.Hour)
		if held == 200 || len(got) != 200 || !slices.IsSorted(got) {
			t.Fatalf("seed %d: %d before the cut, %d in all, in order %v", seed, held, len(got), slices.IsSorted(got))
		}
		p.Send(func() { t.Error("a broken pipe delivers") })
		p.Break()
		p.Send(func() { t.Error("a broken pipe delivers") })
		h.Run(2 * time.Hour)
	}
}

func TestTraceTellsRunsApart(t *testing.T) {
	one, two, three := sim.NewTrace(true), sim.NewTrace(false), sim.NewTrace(false)
	one.Add(time.Second, "a", "b", "c", 1, 2)
	two.Add(time.Second, "a", "b", "c", 1, 2)
	three.Add(time.Second, "a", "bc", "", 1, 2)
	if one.Hash() != two.Hash() || one.Hash() == three.Hash() {
		t.Error("hashes")
	}
	if len(one.Lines()) != 1 || len(two.Lines()) != 0 {
		t.Errorf("%q", one.Lines())
	}
}

func TestTally(t *testing.T) {
	a := sim.Tally{"x": 1, "y": 5}
	a.Add(sim.Tally{"x": 2, "z": 1})
	if a["x"] != 3 || !slices.Equal(a.Rare(3), []string{"z"}) || sim.Places([]int{1, 4}) != "1,4" || sim.Places(nil) != "none" {
		t.Errorf("%v", a)
	}
}

func member(id core.MemberID, at string) core.Member {
	return core.Member{ID: id, Address: at, Kinds: []string{"Cart"}, Status: core.Up}
}

func ExampleHeap() {
	h := &sim.Heap{}
	p := h.Start("n0", 0, 1)
	p.After(2*time.Second, func() { fmt.Println("second, at", h.Now()) })
	p.After(time.Second, func() { fmt.Println("first, at", h.Now()) })
	h.Run(time.Minute)
	// Output:
	// first, at 1s
	// second, at 2s
}
