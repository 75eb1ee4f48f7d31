package cluster_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
)

// post is where the event stream of a node brings texts.
type post struct {
	mu    sync.Mutex
	texts []*wrapperspb.StringValue
}

func (p *post) note(m *wrapperspb.StringValue) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.texts = append(p.texts, m)
}

func (p *post) take() []*wrapperspb.StringValue {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.texts
	p.texts = nil
	return out
}

func subscribed(n *cluster.Node) *post {
	p := &post{}
	actor.SubscribeOf(n.Events(), p.note)
	return p
}

// broadcasting are members that take texts and lists; the fourth node takes none.
func broadcasting(t *testing.T, members int) *clustertest.Cluster {
	t.Helper()
	return clustertest.Start(t, clustertest.Config{Members: members, Lookup: newRing, Node: func(i int, cfg *cluster.Config, _ *cluster.Components) {
		if i != 3 {
			cfg.Broadcasts = []proto.Message{&wrapperspb.StringValue{}, &structpb.Value{}}
		}
	}})
}

// TestBroadcast reaches the event stream of every member, the own one too, with a copy for each; a client
// gets none.
func TestBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := broadcasting(t, 3)
		c.Agree()
		client := c.AddClient()
		var posts []*post
		for _, n := range append(c.Nodes(), client) {
			posts = append(posts, subscribed(n))
		}
		m := wrapperspb.String("hello")
		out, err := c.Node(1).Broadcast(t.Context(), m)
		if err != nil || len(out) != 3 {
			t.Fatalf("%+v, %v", out, err)
		}
		for i, o := range out {
			if o.Err != nil || i > 0 && out[i-1].Member >= o.Member {
				t.Errorf("outcome %d: %+v", i, o)
			}
		}
		m.Value = "changed"
		for i, p := range posts {
			got := p.take()
			switch {
			case i == 3 && len(got) != 0:
				t.Errorf("the client got %v", got)
			case i < 3 && (len(got) != 1 || got[0].GetValue() != "hello"):
				t.Errorf("member %d got %v", i, got)
			}
		}
	})
}

// TestBroadcastOutcomes tells for each member what is known of it, within the time of ctx.
func TestBroadcastOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := broadcasting(t, 4)
		c.Agree()
		time.Sleep(time.Second)
		c.Cut(0, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		out, err := c.Node(0).Broadcast(ctx, wrapperspb.String("x"))
		if err != nil || len(out) != 4 || time.Since(began) > time.Second {
			t.Fatalf("%+v, %v after %v", out, err, time.Since(began))
		}
		for _, o := range out {
			switch o.Member {
			case c.Node(1).ID():
				if !errors.Is(o.Err, context.DeadlineExceeded) || core.DeliveryOf(o.Err) != core.DeliveryUnknown {
					t.Errorf("who is cut off: %v (%v)", o.Err, core.DeliveryOf(o.Err))
				}
			case c.Node(3).ID():
				if !errors.Is(o.Err, core.ErrUnsupported) || core.DeliveryOf(o.Err) != core.Undelivered {
					t.Errorf("who does not know the type: %v (%v)", o.Err, core.DeliveryOf(o.Err))
				}
			default:
				if o.Err != nil {
					t.Errorf("%s: %v", o.Member, o.Err)
				}
			}
		}
		c.Heal(0, 1)
		c.Kill(2)
		began = time.Now()
		out, err = c.Node(0).Broadcast(t.Context(), wrapperspb.String("x")) // without a deadline
		if err != nil || time.Since(began) > 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		for _, o := range out {
			if o.Member == c.Node(2).ID() && !errors.Is(o.Err, core.ErrUnreachable) {
				t.Errorf("who was killed: %v", o.Err)
			}
		}
	})
}

// TestBroadcastRefused refuses as a whole what cannot be sent, before anything is.
func TestBroadcastRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := broadcasting(t, 2)
		c.Agree()
		client := c.AddClient()
		fresh := c.New()
		over, cancel := context.WithCancel(t.Context())
		cancel()
		all := []*post{subscribed(c.Node(0)), subscribed(c.Node(1))}
		for _, test := range []struct {
			name string
			ctx  context.Context
			n    *cluster.Node
			m    proto.Message
			is   error
		}{
			{"nil", t.Context(), c.Node(0), nil, core.ErrInvalid},
			{"typed nil", t.Context(), c.Node(0), (*wrapperspb.StringValue)(nil), core.ErrInvalid},
			{"not registered", t.Context(), c.Node(0), durationpb.New(time.Second), core.ErrUnsupported},
			{"too large", t.Context(), c.Node(0), wrapperspb.String(strings.Repeat("x", cluster.MaxBroadcast)), core.ErrInvalid},
			{"not UTF-8", t.Context(), c.Node(0), wrapperspb.String("\xff"), core.ErrInvalid},
			{"a client", t.Context(), client, wrapperspb.String("x"), core.ErrUnsupported},
			{"not started", t.Context(), fresh, wrapperspb.String("x"), core.ErrStopped},
			{"too late", over, c.Node(0), wrapperspb.String("x"), context.Canceled},
		} {
			out, err := test.n.Broadcast(test.ctx, test.m)
			if !errors.Is(err, test.is) || out != nil || core.DeliveryOf(err) != core.Undelivered {
				t.Errorf("%s: %v, %v (%v)", test.name, out, err, core.DeliveryOf(err))
			}
		}
		if _, err := c.Node(0).Broadcast(t.Context(), wrapperspb.String(strings.Repeat("x", cluster.MaxBroadcast-8))); err != nil {
			t.Errorf("just small enough: %v", err)
		}
		for i, p := range all {
			if got := p.take(); len(got) != 1 {
				t.Errorf("member %d got %d messages", i, len(got))
			}
		}
		if err := c.Stop(0); err != nil {
			t.Error(err)
		}
		if _, err := c.Node(0).Broadcast(t.Context(), wrapperspb.String("x")); !errors.Is(err, core.ErrStopped) {
			t.Errorf("after Stop: %v", err)
		}
	})
}

// TestBroadcastFromOutside: what a client sends to the process is refused, and so is what cannot be read.
func TestBroadcastFromOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := broadcasting(t, 2)
		c.Agree()
		client := c.AddClient()
		p := subscribed(c.Node(0))
		var deep []byte // a list in a list in a list
		for range 200 {
			deep = protowire.AppendBytes([]byte{0x32}, protowire.AppendBytes([]byte{0x0a}, deep))
		}
		deep = protowire.AppendBytes(append([]byte("\x0a\x15google.protobuf.Value"), 0x12), deep)
		for name, data := range map[string][]byte{
			"text":        {0x0a, 4, 'n', 'o', 'n', 'e'},
			"a text":      append([]byte("\x0a\x1bgoogle.protobuf.StringValue\x12\x03"), 0x0a, 1, 'x'),
			"half a text": append([]byte("\x0a\x1bgoogle.protobuf.StringValue\x12\x03"), 0x0a, 9, 'x'),
			"empty":       nil,
			"deep":        deep,
		} {
			for _, from := range []*cluster.Node{client, c.Node(1)} {
				sys := cluster.System(from)
				ref := sys.Ref(core.PID{Address: c.Node(0).Address(), ID: "$broadcast", Member: c.Node(0).ID()})
				_, err := sys.Ask(t.Context(), ref, core.Message{Type: "granary.ProcessRequest", Data: data})
				good := from != client && name == "a text"
				if (err == nil) != good || err != nil && core.DeliveryOf(err) != core.Undelivered {
					t.Errorf("%s of %s: %v", name, from.ID(), err)
				}
			}
		}
		if got := p.take(); len(got) != 1 {
			t.Errorf("%d messages arrived", len(got))
		}
	})
}
