package memberlist

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// testNode is one provider of a pool within this process, and the views that it reported.
type testNode struct {
	*Provider
	self  core.Member
	log   *logBuffer
	views atomic.Int64 // reported after Leave had returned: must stay 0

	mu      sync.Mutex
	view    *core.View
	history []*core.View
	changed chan struct{}
	left    bool
	running atomic.Int32 // goroutines of Env.Go
}

// logBuffer keeps what was logged.
type logBuffer struct {
	mu   sync.Mutex
	text []byte
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	return len(b), nil
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

var lastPort atomic.Int64

// someMember is a row with an address that no other test member has.
func someMember(id string) core.Member {
	port := 20_000 + lastPort.Add(1)
	return core.Member{
		ID: core.MemberID(id), Address: fmt.Sprintf("127.0.0.1:%d", port), Kinds: []string{"Cart", "Hello"},
		Status: core.Up, Protocol: core.Protocol{Min: 1, Max: 1},
	}
}

func newNode(t testing.TB, cfg Config, self core.Member) *testNode {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n := &testNode{Provider: p, self: self, log: &logBuffer{}, changed: make(chan struct{})}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		n.leave(t, ctx)
		if t.Failed() && testing.Verbose() {
			t.Logf("log of %s:\n%s", n.self.ID, n.log)
		}
	})
	return n
}

func (n *testNode) env() core.Env {
	seed := uint64(lastPort.Add(1))
	return core.Env{
		Logger: slog.New(slog.NewTextHandler(io.MultiWriter(n.log), &slog.HandlerOptions{Level: slog.LevelDebug})),
		Clock:  core.SystemClock{},
		Rand:   rand.New(rand.NewPCG(seed, 1)),
		Hooks:  &core.Hooks{},
		Go: func(_ string, f func()) {
			n.running.Add(1)
			go func() {
				defer n.running.Add(-1)
				f()
			}()
		},
	}
}

func (n *testNode) report(v *core.View) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.left {
		n.views.Add(1)
	}
	n.view = v
	n.history = append(n.history, v)
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *testNode) join(ctx context.Context) error { return n.Join(ctx, n.env(), n.self, n.report) }

// leave leaves, and checks what must hold afterwards.
func (n *testNode) leave(t testing.TB, ctx context.Context) {
	t.Helper()
	if err := n.Leave(ctx); err != nil {
		t.Errorf("leave of %s: %v", n.self.ID, err)
	}
	n.mu.Lock()
	n.left = true
	n.mu.Unlock()
	n.joined(t)
}

// joined complains of goroutines. Their function has returned; the count may be a moment behind.
func (n *testNode) joined(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(patience); n.running.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("%s left %d goroutines", n.self.ID, n.running.Load())
			return
		}
	}
}

// crash ends the node without a word, as a killed process does.
func (n *testNode) crash() {
	n.mu.Lock()
	n.left = true
	n.mu.Unlock()
	crash(n.Provider)
}

// crash takes the port away, and stops what runs: nobody can tell that from the end of the process.
func crash(p *Provider) {
	p.mu.Lock()
	s := p.session
	p.session, p.stopped = nil, true
	p.mu.Unlock()
	s.close()
	close(p.done)
}

// await waits until ok holds for the reported view.
func (n *testNode) await(t testing.TB, what string, ok func(*core.View) bool) *core.View {
	t.Helper()
	timeout := time.After(patience)
	for {
		n.mu.Lock()
		view, changed := n.view, n.changed
		n.mu.Unlock()
		if view != nil && ok(view) {
			return view
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%s does not see %s; it sees %v", n.self.ID, what, ids(view))
		}
	}
}

// present is what was reported last, and an empty view before that.
func (n *testNode) present() *core.View {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.view == nil {
		return &core.View{}
	}
	return n.view
}

// since is what was reported, but for the first n.
func (n *testNode) since(first int) []*core.View {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.history[first:])
}

// eventually waits for what no view tells.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func ids(v *core.View) []string {
	var out []string
	if v == nil {
		return nil
	}
	for m := range v.All() {
		out = append(out, fmt.Sprintf("%s:%s", m.ID, m.Status))
	}
	return out
}

// shows tells that a view lists exactly these members.
func shows(nodes ...*testNode) func(*core.View) bool {
	var want []core.MemberID
	for _, n := range nodes {
		want = append(want, n.self.ID)
	}
	slices.Sort(want)
	return func(v *core.View) bool {
		var have []core.MemberID
		for m := range v.All() {
			have = append(have, m.ID)
		}
		return slices.Equal(have, want)
	}
}

func shout(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pool starts n members that all see each other.
func pool(t testing.TB, n int, cfg Config) []*testNode {
	t.Helper()
	var nodes []*testNode
	for i := range n {
		c := cfg
		if i > 0 {
			c.Seeds = append(slices.Clone(cfg.Seeds), nodes[0].Addr())
		}
		node := newNode(t, c, someMember(fmt.Sprintf("%s-%d", t.Name(), i)))
		shout(t, node.join(t.Context()))
		nodes = append(nodes, node)
	}
	for _, node := range nodes {
		node.await(t, "all members", shows(nodes...))
	}
	return nodes
}

// freePort is an address at which nobody listens, on TCP and on UDP. Its port is below the range from which
// kernels take ports by themselves, so that no connection gets it meanwhile.
func freePort(t testing.TB) string {
	t.Helper()
	for range 1_000 {
		at := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000))
		if isFree(at) {
			return at
		}
	}
	t.Fatal("no free port from 20000 to 29999")
	return ""
}

func isFree(at string) bool {
	l, err := net.Listen("tcp", at)
	if err != nil {
		return false
	}
	defer func() { _ = l.Close() }()
	c, err := net.ListenPacket("udp", at)
	return err == nil && c.Close() == nil
}
