package gossip_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// one is a Machine under test, with a clock that stands unless it is told otherwise.
type one struct {
	*gossip.Machine
	t   *testing.T
	now time.Time
	out []gossip.Effect // of the last step
}

func newOne(t *testing.T, id core.MemberID, view ...core.MemberID) *one {
	return newWith(t, gossip.Config{Self: id}, view...)
}

func newWith(t *testing.T, cfg gossip.Config, view ...core.MemberID) *one {
	t.Helper()
	cfg.Rand = rand.New(rand.NewPCG(1, 2))
	m, err := gossip.New(cfg)
	must(t, err)
	o := &one{Machine: m, t: t, now: time.Unix(1, 0)}
	if len(view) > 0 {
		o.do(gossip.Installed{IDs: view})
	}
	return o
}

func (o *one) do(in gossip.Input) { o.out = o.Step(o.now, in, nil) }

func (o *one) set(key, value string) { o.do(gossip.Set{Key: key, Value: text(value)}) }

// effects lists those of one type that the last step had.
func effects[E gossip.Effect](o *one) (found []E) {
	for _, e := range o.out {
		if e, ok := e.(E); ok {
			found = append(found, e)
		}
	}
	return found
}

// round ticks after a pause in which every exchange times out, and gives the request to one peer.
func (o *one) round(to core.MemberID) *gossip.Request {
	o.t.Helper()
	o.now = o.now.Add(time.Minute)
	o.do(gossip.Tick{})
	for _, s := range effects[gossip.Send](o) {
		if s.To == to {
			return s.Request
		}
	}
	o.t.Fatalf("no request to %s: %v", to, o.out)
	return nil
}

func (o *one) receive(from core.MemberID, r *gossip.Request) gossip.Reply {
	o.t.Helper()
	o.do(gossip.Received{From: from, Request: r})
	replies := effects[gossip.Reply](o)
	if len(replies) != 1 || replies[0].To != from {
		o.t.Fatalf("replies %v, want one to %s", replies, from)
	}
	return replies[0]
}

func (o *one) answer(from core.MemberID, r *gossip.Request) {
	o.do(gossip.Answered{From: from, Exchange: r.Exchange, Response: &gossip.Response{Exchange: r.Exchange}})
}

func values(pairs ...any) (vs []gossip.Value) {
	for i := 0; i < len(pairs); i += 2 {
		vs = append(vs, gossip.Value{Key: pairs[i].(string), Version: uint64(pairs[i+1].(int)), Message: text(pairs[i].(string))})
	}
	return vs
}

// tells describes the entries of a message: "b:k1 k2 c:k".
func tells(entries []gossip.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		b.WriteString(" " + string(e.Owner) + ":")
		for i, v := range e.Values {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(v.Key)
		}
	}
	return strings.TrimPrefix(b.String(), " ")
}

func wantTells(t *testing.T, entries []gossip.Entry, want string) {
	t.Helper()
	if got := tells(entries); got != want {
		t.Errorf("the message tells %q, want %q", got, want)
	}
}

func TestNewRefuses(t *testing.T) {
	_, err := gossip.New(gossip.Config{Interval: -1, Timeout: -1, FanOut: -1, MaxOwners: 1, MaxBytes: 1})
	if !errors.Is(err, core.ErrInvalid) {
		t.Fatalf("New = %v, want %v", err, core.ErrInvalid)
	}
	for _, name := range []string{"Self", "Interval", "Timeout", "FanOut", "MaxOwners", "MaxBytes", "Rand"} {
		if !strings.Contains(err.Error(), "Config."+name) {
			t.Errorf("the error does not name %s: %v", name, err)
		}
	}
	cfg := newOne(t, "a").Config()
	if cfg.Interval != 300*time.Millisecond || cfg.FanOut != 3 || cfg.MaxOwners != 50 || cfg.MaxBytes != 256<<10 || cfg.Timeout != 500*time.Millisecond {
		t.Errorf("defaults are %+v", cfg)
	}
}

// TestCommit: what a request carried counts as known only when this very request is answered.
func TestCommit(t *testing.T) {
	for name, tc := range map[string]struct {
		ack   func(o *one, first, second *gossip.Request)
		again string
	}{
		"answered":             {func(o *one, _, second *gossip.Request) { o.answer("b", second) }, ""},
		"nothing comes":        {func(*one, *gossip.Request, *gossip.Request) {}, "a:k"},
		"failed":               {func(o *one, _, second *gossip.Request) { o.do(gossip.Failed{To: "b", Exchange: second.Exchange}) }, "a:k"},
		"the old one answered": {func(o *one, first, _ *gossip.Request) { o.answer("b", first) }, "a:k"},
		"the old one, renumbered": {func(o *one, first, second *gossip.Request) {
			o.do(gossip.Answered{From: "b", Exchange: second.Exchange, Response: &gossip.Response{Exchange: first.Exchange}})
		}, "a:k"},
		"without a response": {func(o *one, _, second *gossip.Request) { o.do(gossip.Answered{From: "b", Exchange: second.Exchange}) }, "a:k"},
		"failed, then answered": {func(o *one, _, second *gossip.Request) {
			o.do(gossip.Failed{To: "b", Exchange: second.Exchange})
			o.answer("b", second)
		}, "a:k"},
		"another answers": {func(o *one, _, second *gossip.Request) { o.answer("c", second) }, "a:k"},
		"no exchange":     {func(o *one, _, _ *gossip.Request) { o.answer("b", &gossip.Request{}) }, "a:k"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOne(t, "a", "a", "b", "c")
			o.set("k", "v")
			first := o.round("b")
			wantTells(t, first.Entries, "a:k")
			tc.ack(o, first, o.round("b"))
			wantTells(t, o.round("b").Entries, tc.again)
		})
	}
}

// TestCommitOfResponses: a response counts when the next request says that it was merged.
func TestCommitOfResponses(t *testing.T) {
	for name, tc := range map[string]struct {
		answered uint64
		again    string
	}{"merged": {1, ""}, "not merged": {0, "a:k"}, "another was merged": {7, "a:k"}} {
		t.Run(name, func(t *testing.T) {
			o := newOne(t, "a", "a", "b")
			o.set("k", "v")
			wantTells(t, o.receive("b", &gossip.Request{Exchange: 1}).Response.Entries, "a:k")
			wantTells(t, o.receive("b", &gossip.Request{Exchange: 2, Answered: tc.answered}).Response.Entries, tc.again)
		})
	}
	o := newOne(t, "a", "a", "b")
	o.set("k", "v")
	o.receive("b", &gossip.Request{Exchange: 2})
	if r := o.receive("b", &gossip.Request{Exchange: 1, Answered: 2}).Response; len(r.Entries) > 0 || r.Exchange != 0 {
		t.Errorf("an old request is answered with %+v", r)
	}
	if r := o.receive("b", &gossip.Request{Exchange: 2}).Response; len(r.Entries) > 0 || r.Exchange != 0 {
		t.Errorf("a request that comes twice is answered with %+v", r)
	}
	wantTells(t, o.round("b").Entries, "a:k")
}

// TestLines: a peer that says that it holds less is told again, and only the newest word counts.
func TestLines(t *testing.T) {
	known := &gossip.Request{Exchange: 1, Entries: []gossip.Entry{{Owner: "c", Values: values("k", 5)}}}
	setup := func(t *testing.T) *one {
		o := newOne(t, "a", "a", "b", "c")
		o.receive("c", known)
		return o
	}
	t.Run("lowered", func(t *testing.T) {
		o := setup(t)
		o.answer("b", o.round("b"))
		wantTells(t, o.round("b").Entries, "")
		o.receive("b", &gossip.Request{Exchange: 1, Lines: []gossip.Line{{Owner: "c", Version: 0}}})
		wantTells(t, o.round("b").Entries, "c:k")
	})
	t.Run("never raised", func(t *testing.T) {
		o := setup(t)
		o.receive("b", &gossip.Request{Exchange: 1, Lines: []gossip.Line{{Owner: "c", Version: 5}, {Owner: "x", Version: 1}}})
		wantTells(t, o.round("b").Entries, "c:k")
	})
	t.Run("what is under way does not count", func(t *testing.T) {
		o := setup(t)
		under := o.round("b")
		o.receive("b", &gossip.Request{Exchange: 1, Lines: []gossip.Line{{Owner: "c", Version: 0}}})
		o.answer("b", under)
		wantTells(t, o.round("b").Entries, "c:k")
	})
	t.Run("neither does what an older request says", func(t *testing.T) {
		o := setup(t)
		b := newOne(t, "b", "a", "b", "c")
		b.receive("c", known)
		older := b.round("a") // claims to hold it
		older.Entries, older.Exchange = nil, 1
		o.receive("b", &gossip.Request{Exchange: 2, Lines: []gossip.Line{{Owner: "c", Version: 0}}})
		o.receive("b", older)
		wantTells(t, o.receive("b", &gossip.Request{Exchange: 3}).Response.Entries, "c:k")
		older.Exchange = 4
		wantTells(t, o.receive("b", older).Response.Entries, "")
	})
	t.Run("told until acknowledged", func(t *testing.T) {
		o := newOne(t, "a", "a", "b")
		o.do(gossip.Installed{IDs: []core.MemberID{"a", "b", "c"}})
		want := []gossip.Line{{Owner: "c", Version: 0}}
		if got := o.round("b").Lines; !slices.Equal(got, want) {
			t.Fatalf("lines %v, want %v", got, want)
		}
		again := o.round("b")
		if got := o.receive("b", &gossip.Request{Exchange: 1}).Response.Lines; !slices.Equal(again.Lines, want) || !slices.Equal(got, want) {
			t.Fatalf("lines %v, in the response %v, want %v", again.Lines, got, want)
		}
		o.answer("b", again)
		if got := o.round("b").Lines; len(got) > 0 {
			t.Errorf("lines %v after they were acknowledged", got)
		}
	})
}

// TestGap: what starts above what is held is taken, but not passed on.
func TestGap(t *testing.T) {
	o := newOne(t, "a", "a", "b", "c")
	o.receive("c", &gossip.Request{Exchange: 1, Entries: []gossip.Entry{{Owner: "c", Base: 5, Values: values("k", 9)}}})
	if v, found := o.Get("c", "k"); !found || v.Version != 9 {
		t.Fatalf("the value is not taken: %v, %v", v, found)
	}
	wantTells(t, o.round("b").Entries, "")
	o.receive("c", &gossip.Request{Exchange: 2, Entries: []gossip.Entry{{Owner: "c", Values: values("j", 4, "k", 9)}}})
	wantTells(t, o.round("b").Entries, "c:j k")
}

// TestNews: a peer that pulls is sent what is new, and what is old only when it asks.
func TestNews(t *testing.T) {
	a, b := newOne(t, "a", "a", "b"), newOne(t, "b", "a", "b")
	a.set("k", "v")
	for range 4 {
		lost := a.round("b")
		a.do(gossip.Failed{To: "b", Exchange: lost.Exchange})
	}
	a.receive("b", b.round("a")) // the response is lost
	silent := a.round("b")
	wantTells(t, silent.Entries, "")
	wantTells(t, a.receive("b", b.round("a")).Response.Entries, "a:k")
	a.answer("b", silent) // it has another view
	wantTells(t, a.round("b").Entries, "a:k")
}

// TestRounds: each round addresses FanOut peers, each peer once before any comes again, and none that
// still owes an answer.
func TestRounds(t *testing.T) {
	o := newOne(t, "a", "a", "b", "c", "d", "e", "f", "g")
	seen := map[core.MemberID]int{}
	for range 2 {
		o.do(gossip.Tick{})
		for _, s := range effects[gossip.Send](o) {
			seen[s.To]++
		}
		if got := len(effects[gossip.Send](o)); got != 3 {
			t.Fatalf("%d requests in a round, want 3", got)
		}
	}
	if len(seen) != 6 {
		t.Errorf("two rounds addressed %v, want six peers", seen)
	}
	o.do(gossip.Tick{})
	if got := effects[gossip.Send](o); len(got) > 0 {
		t.Errorf("%d requests to peers that owe an answer", len(got))
	}
	o.now = o.now.Add(gossip.DefaultTimeout)
	o.do(gossip.Tick{})
	if got := effects[gossip.Send](o); len(got) != 3 {
		t.Errorf("%d requests after the time-out, want 3", len(got))
	}
}

// TestPush: a leave is told to all at once, and it is known who has not confirmed it.
func TestPush(t *testing.T) {
	o := newOne(t, "a", "a", "b", "c", "d", "e", "f")
	o.do(gossip.Tick{}) // three owe an answer
	o.do(gossip.Set{Key: gossip.KeyLeft, Value: text(""), Push: true})
	sent := effects[gossip.Send](o)
	if len(sent) != 5 {
		t.Fatalf("%d requests, want 5", len(sent))
	}
	if got := o.Behind(gossip.KeyLeft); !slices.Equal(got, []core.MemberID{"b", "c", "d", "e", "f"}) {
		t.Errorf("behind are %v", got)
	}
	for _, s := range sent[1:] {
		o.answer(s.To, s.Request)
	}
	if got := o.Behind(gossip.KeyLeft); !slices.Equal(got, []core.MemberID{sent[0].To}) {
		t.Errorf("behind are %v, want %s", got, sent[0].To)
	}
	if got := o.Behind("none"); got != nil {
		t.Errorf("behind a key that is not set are %v", got)
	}
}

// TestClient: a client reads all and writes nothing.
func TestClient(t *testing.T) {
	a := newOne(t, "a", "a", "b")
	a.set("k", "v")
	c := newWith(t, gossip.Config{Self: "client", Client: true}, "a", "b")
	c.do(gossip.Set{Key: "k", Value: text("v")})
	if r := effects[gossip.Refused](c); len(r) != 1 || !errors.Is(r[0].Err, core.ErrUnsupported) {
		t.Errorf("a client's Set causes %v, want %v", c.out, core.ErrUnsupported)
	}
	if err := a.receive("client", c.round("a")).Err; !errors.Is(err, gossip.ErrUnknown) {
		t.Errorf("a client that is not connected gets %v", err)
	}
	a.do(gossip.Clients{IDs: []core.MemberID{"client"}})
	request := c.round("a")
	reply := a.receive("client", request)
	wantTells(t, request.Entries, "")
	wantTells(t, reply.Response.Entries, "a:k")
	c.do(gossip.Answered{From: "a", Exchange: request.Exchange, Response: reply.Response})
	if v, found := c.Get("a", "k"); !found || string(v.Message.Data) != "v" {
		t.Errorf("the client holds %v, %v", v, found)
	}
	request = c.round("a")
	wantTells(t, a.receive("client", request).Response.Entries, "")
	request.Exchange++
	request.Entries = []gossip.Entry{{Owner: "client", Values: values("k", 1)}, {Owner: "b", Relayed: true, Values: values("k", 1)}}
	a.receive("client", request)
	if r := effects[gossip.Refused](a); len(r) != 1 || !errors.Is(r[0].Err, gossip.ErrForeign) || r[0].Count != 2 {
		t.Errorf("entries of a client cause %v, want %v twice", a.out, gossip.ErrForeign)
	}
	a.do(gossip.Clients{})
	if got := a.Stats().Peers; got != 1 {
		t.Errorf("%d peers after the client has gone, want 1", got)
	}
}

// TestPlain: with a Proto.Actor node, which says nothing about what it holds or relays.
func TestPlain(t *testing.T) {
	o := newWith(t, gossip.Config{Self: "a", Plain: true}, "a", "b", "c")
	o.set("k", "v")
	reply := o.receive("b", &gossip.Request{Entries: []gossip.Entry{
		{Owner: "a", Values: values("k", 1)}, {Owner: "b", Values: values("k", 7)}, {Owner: "c", Values: values("k", 9)},
	}})
	if len(reply.Response.Entries) > 0 || len(effects[gossip.Refused](o)) > 0 || len(effects[gossip.Changed](o)) != 2 {
		t.Fatalf("effects %v", o.out)
	}
	first := o.round("b")
	wantTells(t, first.Entries, "a:k c:k")
	o.do(gossip.Answered{From: "b", Exchange: first.Exchange, Response: &gossip.Response{}})
	wantTells(t, o.round("b").Entries, "")
	many := make([]gossip.Value, 0, 70)
	for i := range 70 {
		many = append(many, gossip.Value{Key: strings.Repeat("x", i+1), Version: uint64(i + 10), Message: text("")})
	}
	o.receive("b", &gossip.Request{Entries: []gossip.Entry{{Owner: "b", Values: many}}})
	if got := len(o.Keys("b")); got != gossip.MaxKeys {
		t.Errorf("%d keys of a Proto.Actor node, want %d", got, gossip.MaxKeys)
	}
}

// TestRefute: who claims a version that was never written is answered with higher ones, and with what keys there
// are.
func TestRefute(t *testing.T) {
	o := newOne(t, "a", "a", "b")
	o.set("j", "1")
	o.set("k", "2")
	o.receive("b", &gossip.Request{Exchange: 1, Known: 1_000})
	got := o.Keys("a")
	if len(got) != 3 || got[0].Version != 1_001 || got[1].Version != 1_002 || got[2].Version != 1_003 || got[1].Key != "j" {
		t.Fatalf("own values %v, want versions 1001 to 1003", got)
	}
	wantTells(t, o.round("b").Entries, "a:"+gossip.KeyKeys+" j k")
	o.set("j", "3")
	if v, _ := o.Get("a", "j"); v.Version != 1_004 {
		t.Errorf("the next write has version %d, want 1004", v.Version)
	}
	o.receive("b", &gossip.Request{Exchange: 2, Known: math.MaxInt64 - gossip.MaxKeys - 1})
	if v, _ := o.Get("a", "j"); v.Version != 1_004+gossip.MaxJump+3 {
		t.Errorf("one claim moves the version to %d, want one jump", v.Version)
	}
	o.receive("b", &gossip.Request{Exchange: 3, Known: math.MaxInt64})
	if v, _ := o.Get("a", "j"); v.Version != 1_004+gossip.MaxJump+3 {
		t.Errorf("a claim out of bounds moves the version to %d", v.Version)
	}
}

// TestForgeryHeals: a member gone bad relays a forged entry; the owner's own word wins in the end.
func TestForgeryHeals(t *testing.T) {
	w := newWorld(t, 5)
	nodes := cluster(w, 5)
	nodes[0].set("k", text("true"))
	w.run(3*time.Second, nil)
	forged := gossip.Entry{Owner: nodes[0].id, Relayed: true, Values: []gossip.Value{{Key: "k", Version: 1 << 30, Message: text("forged")}}}
	nodes[1].handle(nodes[4].id, &gossip.Request{Exchange: 1 << 20, Entries: []gossip.Entry{forged}})
	if !has(nodes[1], nodes[0].id, "k", "forged") {
		t.Fatal("a relay is not believed: the test shows nothing")
	}
	w.run(5*time.Second, nil)
	for _, n := range nodes {
		if !has(n, nodes[0].id, "k", "true") {
			t.Errorf("%s still holds the forged value", n.id)
		}
	}
}
