package history

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestLatencies(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var l latencies
	var all []int64
	for range 50_000 {
		v := int64(1) << rng.IntN(42)
		v += rng.Int64N(v)
		l.add(v)
		all = append(all, v)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		want := float64(all[int(q*float64(len(all)-1))]) / 1e3
		if got := l.micros(q); got < want || got > want*1.001+0.001 {
			t.Errorf("q %v: %v, want %v", q, got, want)
		}
	}
	if l.most != all[len(all)-1] || l.micros(1) != float64(l.most)/1e3 {
		t.Errorf("most %d, want %d", l.most, all[len(all)-1])
	}
	for _, v := range []int64{0, 1, 1023, 1024, 2047, 2048, 2049, 4095, 4096, 1<<62 + 1} {
		var one latencies
		one.add(v)
		if got := one.micros(0.5); got != float64(v)/1e3 {
			t.Errorf("one time of %d ns: %v µs", v, got)
		}
	}
	if (&latencies{}).micros(0.5) != 0 {
		t.Error("no call has a time")
	}
}

func TestRequests(t *testing.T) {
	r := requests{}
	ids := []uint64{0, 1, 63, 64, 4095, 4096, 1 << 32, 1<<32 | 1, 10000<<32 | 1<<31, 1<<64 - 1}
	for _, id := range ids {
		if r.set(id, ran) {
			t.Errorf("%d had run before", id)
		}
		if !r.set(id, ran) {
			t.Errorf("%d had not run before", id)
		}
	}
	r.set(63, answered)
	r.set(5, answered)
	if n := r.count(func(ran, _, answered, _ uint64) uint64 { return answered &^ ran }); n != 1 {
		t.Errorf("%d answered and not run, want 1", n)
	}
	if n := r.count(func(ran, _, _, _ uint64) uint64 { return ran }); n != len(ids) {
		t.Errorf("%d have run, want %d", n, len(ids))
	}
}

func TestTimelineAgreement(t *testing.T) {
	r := goodRun()
	slices.SortStableFunc(r, func(a, b Record) int { return cmp.Compare(a.Ns, b.Ns) })
	line := newTimeline(r, 3)
	want := []span{{second / 10, second / 10}, {second / 2, 10 * second}, {14 * second, 20 * second}, {21 * second, 30*second + second/10}}
	if !slices.Equal(line.agreed, want) {
		t.Errorf("agreement %v, want %v", line.agreed, want)
	}
	if line.atEnd != 3 || line.changeAt(0) != 0 || line.changeAt(-1) != -1 || line.changeAt(10*second) != 1 || line.until(2) != 30*second {
		t.Errorf("timeline %+v", line)
	}
}

func TestSettled(t *testing.T) {
	a := newActivations(map[string]int64{})
	for _, r := range []Record{
		{Ns: 1, Event: Activated, Member: "a", ID: "stays", Activation: "1"},
		{Ns: 1, Event: Activated, Member: "a", ID: "moves", Activation: "2"},
		{Ns: 1, Event: Activated, Member: "a", ID: "moved before", Activation: "3"},
		{Ns: 5, Event: Deactivated, Member: "a", ID: "moved before", Activation: "3"},
		{Ns: 6, Event: Activated, Member: "b", ID: "moved before", Activation: "4"},
		{Ns: 30, Event: Deactivated, Member: "a", ID: "moves", Activation: "2"},
		{Ns: 31, Event: Activated, Member: "b", ID: "moves", Activation: "5"},
		{Ns: 70, Event: Deactivated, Member: "b", ID: "moves", Activation: "5"},
		{Ns: 71, Event: Activated, Member: "a", ID: "moves", Activation: "6"},
	} {
		a.take(&r)
	}
	a.judge(newTimeline(nil, 3))
	for _, tt := range []struct{ agreed, until, want int64 }{{10, 60, 30}, {40, 60, 40}, {10, 25, 10}, {60, 100, 70}, {10, 31, 10}} {
		if got := a.settled(tt.agreed, tt.until); got != tt.want {
			t.Errorf("agreed at %d, until %d: settled at %d, want %d", tt.agreed, tt.until, got, tt.want)
		}
	}
	// A life that goes on beside its successor is never settled.
	a = newActivations(map[string]int64{})
	for _, r := range []Record{
		{Ns: 1, Event: Activated, Member: "a", ID: "x", Activation: "1"},
		{Ns: 20, Event: Activated, Member: "b", ID: "x", Activation: "2"},
	} {
		a.take(&r)
	}
	a.judge(newTimeline(nil, 3))
	if got := a.settled(10, 60); got != never {
		t.Errorf("settled at %d, want never", got)
	}
}
