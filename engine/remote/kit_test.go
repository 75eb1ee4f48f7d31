package remote

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
)

// node is a member, or a client, of a test: a system and its remoting.
type node struct {
	t    testing.TB
	sys  *actor.System
	r    *Remote
	addr string
	id   core.MemberID
	log  *logSink
}

// logSink collects log lines.
type logSink struct {
	mu    sync.Mutex
	lines []string
}

func (l *logSink) Enabled(context.Context, slog.Level) bool { return true }
func (l *logSink) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logSink) WithGroup(string) slog.Handler            { return l }
func (l *logSink) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += fmt.Sprintf(" %s=%v", a.Key, a.Value); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

func (l *logSink) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprint(l.lines)
}

// startNode makes a node that is stopped with the test. edit may change its configuration.
func startNode(t testing.TB, id string, edit func(*Config)) *node {
	t.Helper()
	n := prepareNode(t, id, edit)
	if err := n.r.Start(n.sys); err != nil {
		t.Fatalf("start %s: %v", id, err)
	}
	return n
}

func prepareNode(t testing.TB, id string, edit func(*Config)) *node {
	t.Helper()
	n := &node{t: t, id: core.MemberID(id), log: &logSink{}}
	cfg := Config{
		Cluster: "test", Member: n.id, Types: NewTypes(&wrapperspb.BytesValue{}, &wrapperspb.StringValue{}, &wrapperspb.Int64Value{}),
		Env: core.Env{Logger: slog.New(n.log)},
	}
	if edit != nil {
		edit(&cfg)
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatalf("new %s: %v", id, err)
	}
	n.r = r
	if n.addr, err = r.Listen(t.Context()); err != nil {
		t.Fatalf("listen %s: %v", id, err)
	}
	n.sys, err = actor.New(actor.Config{Member: n.id, Address: n.addr, Logger: slog.New(n.log)})
	if err != nil {
		t.Fatalf("system %s: %v", id, err)
	}
	t.Cleanup(n.stop)
	return n
}

func (n *node) stop() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(n.t.Context()), time.Minute)
	defer cancel()
	if err := n.r.Stop(ctx); err != nil {
		n.t.Errorf("stop remoting of %s: %v", n.id, err)
	}
	if err := n.sys.Stop(ctx); err != nil {
		n.t.Errorf("stop system of %s: %v", n.id, err)
	}
}

func (n *node) member() core.Member {
	return core.Member{ID: n.id, Address: n.addr, Status: core.Up, Protocol: Protocol()}
}

// topology is a view of these members after one of those before.
func topology(t testing.TB, before *core.View, members ...core.Member) core.Topology {
	t.Helper()
	v, err := core.NewView(core.ViewRecord{Members: members})
	if err != nil {
		t.Fatal(err)
	}
	return core.Diff(before, v)
}

// join gives all nodes the view of all that are no clients, and waits for the links.
func join(t testing.TB, nodes ...*node) *core.View {
	t.Helper()
	top := show(t, nodes...)
	for _, n := range nodes {
		var ids []core.MemberID
		for m := range top.View.All() {
			ids = append(ids, m.ID)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := n.r.Connected(ctx, ids); err != nil {
			t.Fatalf("%s: %v\nlog: %s", n.id, err, n.log.text())
		}
	}
	return top.View
}

// show gives all nodes the view.
func show(t testing.TB, nodes ...*node) core.Topology {
	t.Helper()
	var rows []core.Member
	for _, n := range nodes {
		if !n.r.cfg.Client {
			rows = append(rows, n.member())
		}
	}
	top := topology(t, nil, rows...)
	for _, n := range nodes {
		n.r.SetMembers(top)
	}
	return top
}

// spawn starts an actor under a name.
func (n *node) spawn(name string, f func(c *actor.Context)) *actor.Ref {
	n.t.Helper()
	ref, err := n.sys.SpawnNamed(name, actor.FromFunc(f))
	if err != nil {
		n.t.Fatalf("spawn %s: %v", name, err)
	}
	return ref
}

// echo starts an actor that answers with what it gets.
func (n *node) echo(name string) *actor.Ref {
	return n.spawn(name, func(c *actor.Context) {
		switch m := c.Message().(type) {
		case *wrapperspb.BytesValue, *wrapperspb.StringValue, *wrapperspb.Int64Value:
			c.Respond(m)
		}
	})
}

// at is a reference of n to a process of another node.
func (n *node) at(other *node, name string) *actor.Ref {
	return n.sys.Ref(core.PID{Address: other.addr, ID: name, Member: other.id})
}

func (n *node) ask(to *actor.Ref, msg any, limit time.Duration) (any, error) {
	ctx, cancel := context.WithTimeout(n.t.Context(), limit)
	defer cancel()
	return n.sys.Ask(ctx, to, msg)
}

func str(s string) *wrapperspb.StringValue { return wrapperspb.String(s) }

func wantText(t testing.TB, got any, err error, want string) {
	t.Helper()
	if err != nil {
		t.Fatalf("ask: %v", err)
	}
	s, ok := got.(*wrapperspb.StringValue)
	if !ok || s.GetValue() != want {
		t.Fatalf("answer %T %v, want %q", got, got, want)
	}
}

// eventually waits until f is true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// countLines counts the log lines that contain text.
func countLines(l *logSink, text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}
