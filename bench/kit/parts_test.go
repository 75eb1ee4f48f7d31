package kit

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLatch(2)
		l.Done()
		start := time.Now()
		if err := l.Wait(time.Minute); err == nil || !strings.Contains(err.Error(), "1 left") {
			t.Errorf("open too early: %v", err)
		}
		if got := time.Since(start); got != time.Minute {
			t.Errorf("gave up after %v, want 1m", got)
		}
		go l.Done()
		if err := l.Wait(time.Minute); err != nil {
			t.Errorf("not open: %v", err)
		}
	})
}

func TestCounter(t *testing.T) {
	c, latch := new(Counter), NewLatch(1)
	c.Expect(2, latch)
	c.Hit()
	if err := c.Check(); err == nil {
		t.Error("one of two passes the check")
	}
	c.Hit()
	if err := latch.Wait(time.Second); err != nil {
		t.Error(err)
	}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	c.Hit()
	if err := c.Check(); err == nil {
		t.Error("three of two passes the check")
	}
}

func TestLatenciesSampleOneInEvery(t *testing.T) {
	l := NewLatencies(8, 64)
	if allocs := testing.AllocsPerRun(1, func() {
		for range 16 {
			l.End(l.Begin())
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	if got := len(l.samples); got != 4 { // AllocsPerRun runs it twice
		t.Errorf("%d samples of 32 operations, want 4", got)
	}
}

func TestPercentiles(t *testing.T) {
	a, b := &Latencies{}, &Latencies{}
	for i := range 100 {
		l := a
		if i%2 == 0 {
			l = b
		}
		l.samples = append(l.samples, time.Duration(i+1)*time.Microsecond)
	}
	p50, p99, ok := percentiles([]*Latencies{a, b})
	if p50 != 50 || p99 != 99 || !ok {
		t.Errorf("p50 %v, p99 %v, %v; want 50, 99", p50, p99, ok)
	}
	if _, _, ok := percentiles(nil); ok {
		t.Error("percentiles of nothing")
	}
}

func TestMeterCountsThisProcess(t *testing.T) {
	m, err := begin()
	if err != nil {
		t.Fatal(err)
	}
	var keep [][]byte
	for range 1000 {
		keep = append(keep, make([]byte, 1024))
	}
	const spent = int64(10 * time.Millisecond)
	for u := m.before; u.CPU < m.before.CPU+spent; { // until the kernel says so: the machine may be busy
		if u, err = usage(); err != nil {
			t.Fatal(err)
		}
	}
	var res Result
	if err := m.end(&res, 1000); err != nil {
		t.Fatal(err)
	}
	if res.Allocs < 1000 || res.Bytes < 1000*1024 || len(keep) != 1000 {
		t.Errorf("%d allocations of %d bytes", res.Allocs, res.Bytes)
	}
	if res.CPUNs < spent || res.WallNs < spent/2 {
		t.Errorf("cpu %d ns, wall %d ns", res.CPUNs, res.WallNs)
	}
}

func TestMeterAddsChildren(t *testing.T) {
	c, err := startChild("server", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.kill() }()
	var u Usage
	if err := c.call("usage", nil, &u); err != nil || u.CPU == 0 || u.Allocs == 0 {
		t.Fatalf("usage %+v, %v", u, err)
	}
	m := &meter{children: []*child{c}}
	own, err := usage()
	if err != nil {
		t.Fatal(err)
	}
	sum, err := m.total()
	if err != nil || sum.CPU < own.CPU+u.CPU || sum.Allocs < own.Allocs+u.Allocs {
		t.Errorf("sum %+v of %+v and %+v, %v", sum, own, u, err)
	}
}

func TestChildEndsWithItsInput(t *testing.T) {
	var out bytes.Buffer
	if code := Run(&toy{}, []string{"-role", "server", "-config", "1"}, strings.NewReader(""), &out, os.Stderr); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestChildCommands(t *testing.T) {
	tests := []struct{ in, want string }{
		{`{"command":"double","arg":21}`, `{"value":42}`},
		{`{"command":"double","arg":"x"}`, `"error":"decode argument`},
		{`{"command":"nothing"}`, `"error":"unknown command`},
		{`{"command":"gc"}`, `{"value":null}`},
	}
	commands := map[string]command{"double": func(arg []byte) (any, error) {
		n, err := decode[int](arg)
		return 2 * n, err
	}}
	for _, tt := range tests {
		var out bytes.Buffer
		if err := serve(commands, strings.NewReader(tt.in), &out); err != nil {
			t.Fatal(err)
		}
		ready, answer, _ := strings.Cut(out.String(), "\n")
		if ready != "{}" || !strings.Contains(answer, tt.want) {
			t.Errorf("%s: answered %q, want %q in it", tt.in, answer, tt.want)
		}
	}
	if err := serve(commands, strings.NewReader("no JSON"), &bytes.Buffer{}); err == nil {
		t.Error("served what is no JSON")
	}
}

func TestRoles(t *testing.T) {
	for _, tt := range []struct{ role, config, want string }{
		{"baker", "1", "unknown role"},
		{"server", "{", "decode argument"},
		{"member", "1", "decode argument"},
	} {
		err := runRole(&toy{}, tt.role, tt.config, strings.NewReader(""), &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %s: %v, want %q in it", tt.role, tt.config, err, tt.want)
		}
	}
}

func TestResultCheck(t *testing.T) {
	good := Result{Row: "tell1", Ops: 1, WallNs: 1, CPUNs: 0}
	if err := good.Check("tell1"); err != nil {
		t.Error(err)
	}
	bad := map[string]func(*Result){
		"another row": func(r *Result) { r.Row = "tell4" },
		"error":       func(r *Result) { r.Error = "lost" },
		"no work":     func(r *Result) { r.Ops = 0 },
		"no time":     func(r *Result) { r.WallNs = 0 },
		"less CPU":    func(r *Result) { r.CPUNs = -1 },
	}
	for name, spoil := range bad {
		r := good
		spoil(&r)
		if err := r.Check("tell1"); err == nil {
			t.Errorf("%s passes the check", name)
		}
	}
}

func TestResultNames(t *testing.T) {
	text, err := json.Marshal(Result{Row: "x", Extra: map[string]float64{"p50_us": 1}, Note: "n", Error: "e"})
	const want = `{"row":"x","ops":0,"wallNs":0,"cpuNs":0,"allocs":0,"bytes":0,"extra":{"p50_us":1},"note":"n","error":"e"}`
	if err != nil || string(text) != want {
		t.Errorf("%s, %v; want %s", text, err, want)
	}
}

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		if err := poll(time.Second, "count", func() (bool, error) { n++; return n == 5, nil }); err != nil || n != 5 {
			t.Errorf("asked %d times: %v", n, err)
		}
		if err := poll(time.Second, "never", func() (bool, error) { return false, nil }); err == nil {
			t.Error("never became true without an error")
		}
	})
}
