package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/remote"
)

// TestMemberKilledInMidCall fails what is outstanding on it at once, as unknown, and runs nothing
// twice; an idempotent call goes on elsewhere.
func TestMemberKilledInMidCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ran events
		c := clustertest.Start(t, clustertest.Config{Members: 3, Lookup: newRing, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
			if i > 0 {
				parts.Kinds = grain.Kinds{keeperKind("Keeper", ran.add)}
			}
		}})
		c.Agree()
		var far []core.Identity
		for _, id := range clustertest.Identities("Keeper", 60) {
			if _, err := keep(t.Context(), c.Node(0), id.Kind, id.Key, "x"); err != nil {
				t.Fatal(err)
			}
			if c.Hosts(id)[0] == c.Node(1) {
				far = append(far, id)
			}
		}
		type result struct {
			err  error
			took time.Duration
		}
		results := make(chan result, len(far))
		var killed time.Time
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for i, id := range far[2:] {
			go func() {
				_, err := keep(ctx, c.Node(0), id.Kind, id.Key, fmt.Sprint("sleep-once", i), grain.Header("h", "v"))
				results <- result{err, time.Since(killed)}
			}()
		}
		idempotent := make(chan error, 1)
		go func() {
			_, err := keep(ctx, c.Node(0), far[0].Kind, far[0].Key, "sleep", grain.Idempotent())
			idempotent <- err
		}()
		hung := make(chan result, 1)
		go func() {
			_, err := keep(ctx, c.Node(0), far[1].Kind, far[1].Key, "hang")
			hung <- result{err, time.Since(killed)}
		}()
		time.Sleep(10 * time.Millisecond)
		for range far[2:] {
			if r := <-results; r.err != nil {
				t.Fatalf("before the kill: %v", r.err)
			}
		}
		killed = time.Now()
		c.Kill(1)
		r := <-hung
		if !errors.Is(r.err, core.ErrUnreachable) || core.DeliveryOf(r.err) != core.DeliveryUnknown {
			t.Errorf("the call under way: %v, %v", r.err, core.DeliveryOf(r.err))
		}
		if r.took > 10*time.Millisecond {
			t.Errorf("it failed after %v", r.took)
		}
		c.Agree()
		if err := <-idempotent; err != nil {
			t.Errorf("the idempotent call: %v", err)
		}
		for _, id := range far {
			if _, err := keep(ctx, c.Node(0), id.Kind, id.Key, "x"); err != nil {
				t.Errorf("%s after the kill: %v", id, err)
			}
		}
	})
}

// TestMoves adds members and takes them out: each grain runs where its owner is, once, and calls from
// everywhere go on without an error.
func TestMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}})
		c.Agree()
		client := c.AddClient()
		ids := clustertest.Identities("Keeper", 100)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := w; ctx.Err() == nil; i++ {
					call, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					caller := client
					if w > 1 {
						caller = c.Nodes()[0]
					}
					if _, err := keep(call, caller, "Keeper", ids[i%len(ids)].Key, "x"); err != nil && !errors.Is(err, core.ErrStopped) {
						t.Errorf("worker %d: %v", w, err)
					}
					cancel()
					time.Sleep(time.Duration(700+100*w) * time.Microsecond)
				}
			})
		}
		for i := range 3 {
			c.Add()
			time.Sleep(50 * time.Millisecond)
			if err := c.Stop(i + btoi(i >= 2)); err != nil { // the third node is the client
				t.Error(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		stop()
		wg.Wait()
		c.Agree()
		time.Sleep(time.Second)
		for _, id := range ids {
			if hosts := c.Hosts(id); len(hosts) > 1 {
				t.Errorf("%s runs on %d members", id, len(hosts))
			}
		}
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestClientMayOnlyCallGrains has a client send what members send.
func TestClientMayOnlyCallGrains(t *testing.T) {
	ca := newCA(t)
	c := clustertest.Start(t, clustertest.Config{Members: 1, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(i int, cfg *cluster.Config, _ *cluster.Components) {
		cfg.TLS = ca.member(t, "test")
		if i > 0 {
			cfg.TLS = ca.client(t, "test")
		}
	}})
	client, member := c.AddClient(), c.Node(0)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := keep(ctx, client, "Keeper", "x", "x"); err != nil {
		t.Fatal(err)
	}
	var place core.PID
	for a := range member.Activations() {
		place = a.PID
	}
	sys := cluster.System(client)
	for _, to := range []string{"partition-activator", "gossip", "$grain", place.ID} {
		for _, typ := range []string{"granary.LookupRequest", "granary.ProcessRequest", "granary.ActivationsTerminated", "cluster.ActivationRequest", "cluster.GossipRequest"} {
			ask := sys.NewAsk()
			ref := sys.Ref(core.PID{Address: member.Address(), ID: to, Member: member.ID()})
			if err := ref.Send(actor.Envelope{Message: core.Message{Type: typ, Data: []byte{0x0a, 0x00}}, Reply: sys, ReplyID: ask.ID()}); err != nil {
				ask.Cancel()
				continue
			}
			if _, err := ask.WaitRaw(ctx); err == nil || core.DeliveryOf(err) != core.Undelivered {
				t.Errorf("%s to %s: %v, %v", typ, to, err, core.DeliveryOf(err))
			}
		}
		ref := sys.Ref(core.PID{Address: member.Address(), ID: to, Member: member.ID()})
		_ = ref.Stop()
	}
	if got, err := keep(ctx, client, "Keeper", "x", "x"); got != "2" || err != nil {
		t.Fatalf("afterwards: %q, %v: the grain was stopped or lost", got, err)
	}
}

// TestViewIsInstalledInOrder records who is told of a view, and in which order.
func TestViewIsInstalledInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s steps
		c := clustertest.Start(t, clustertest.Config{Members: 1, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
			if i != 0 {
				return
			}
			parts.Lookup = reshaped{parts.Lookup, s.note}
			parts.Services = grain.Services{&recordedService{name: "service", note: s.note}}
			parts.Telemetry.Observer.Topology = func(core.Topology) { s.note("observer") }
		}})
		var seen []cluster.Event
		var mu sync.Mutex
		actor.SubscribeOf(c.Node(0).Events(), func(e cluster.Event) {
			switch e.(type) {
			case cluster.MemberJoined, cluster.MemberChanged:
			default:
				return
			}
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, e)
		})
		s.mu.Lock()
		s.list = nil
		s.mu.Unlock()
		n := c.Add()
		c.Agree()
		if got := s.String(); strings.ReplaceAll(got+" ", "lookup service.Reshape observer ", "") != "" || got == "" {
			t.Errorf("order: %s", got)
		}
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(seen) == 0 {
			t.Fatal("no events")
		}
		joined, ok := seen[0].(cluster.MemberJoined)
		if !ok || joined.Member.ID != n.ID() || len(seen) > 2 {
			t.Errorf("events %+v", seen)
		}
		if up, ok := seen[len(seen)-1].(cluster.MemberChanged); len(seen) == 2 && (!ok || up.Before != core.Joining || up.Member.Status != core.Up) {
			t.Errorf("events %+v", seen)
		}
	})
}

type reshaped struct {
	core.Lookup
	note func(string)
}

func (r reshaped) Reshape(t core.Topology) error {
	r.note("lookup")
	return r.Lookup.Reshape(t)
}

// TestServices have a service on each member talk to its peers by a process of its own.
func TestServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var services []*talker
		c := clustertest.Start(t, clustertest.Config{Members: 2, Node: func(_ int, _ *cluster.Config, parts *cluster.Components) {
			s := &talker{}
			services = append(services, s)
			parts.Services = grain.Services{s}
		}})
		c.Agree()
		for i, s := range services {
			for _, peer := range c.Nodes() {
				m, err := s.rt.Send(t.Context(), peer.Self(), "$talk", core.Message{Type: "t.Hello", Data: []byte("hi")})
				if want := fmt.Sprintf("%s said hi to %s", c.Node(i).ID(), peer.ID()); err != nil || string(m.Data) != want {
					t.Errorf("%q, %v: want %q", m.Data, err, want)
				}
			}
			if _, err := s.rt.Send(t.Context(), c.Node(0).Self(), "$talk", core.Message{Type: "t.Bad"}); !errors.Is(err, core.ErrConflict) {
				t.Errorf("an error of the handler: %v", err)
			}
			if _, err := s.rt.Send(t.Context(), c.Node(0).Self(), "$talk", core.Message{Type: "t.Panic"}); grain.CodeOf(err) != grain.Internal {
				t.Errorf("a panic of the handler: %v", err)
			}
			if _, err := s.rt.Send(t.Context(), c.Node(1-i).Self(), "$nobody", core.Message{Type: "t.Hello"}); core.DeliveryOf(err) != core.Undelivered {
				t.Errorf("a process that is not there: %v", err)
			}
			if _, err := s.rt.Send(t.Context(), c.Node(1-i).Self(), "$talk", core.Message{Type: "t.Hello", Data: make([]byte, 1<<20)}); !errors.Is(err, core.ErrInvalid) {
				t.Errorf("too large: %v", err)
			}
		}
	})
}

type talker struct{ rt grain.Runtime }

func (s *talker) Kinds() []grain.Kind { return nil }
func (s *talker) Start(_ context.Context, rt grain.Runtime) error {
	s.rt = rt
	rt.Handle("$talk", func(_ context.Context, from core.Member, m core.Message) (core.Message, error) {
		switch m.Type {
		case "t.Bad":
			return core.Message{}, fmt.Errorf("bad: %w", core.ErrConflict)
		case "t.Panic":
			panic("in a handler")
		}
		return core.Message{Type: "t.Reply", Data: fmt.Appendf(nil, "%s said %s to %s", from.ID, m.Data, rt.Self.ID)}, nil
	})
	return nil
}
func (s *talker) Stop(context.Context) error { return nil }

// failer is a grain whose methods fail.
type failer struct{}

// TestResolvedIsTheSearchAlone: what it tells has nothing of the call that follows, its time and its error.
func TestResolvedIsTheSearchAlone(t *testing.T) {
	for name, lookup := range map[string]func() (core.Lookup, error){"directory": nil, "owner": newRing} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &events{}
				slow := grain.KindOf("Slow", func(grain.Self) (*failer, error) { return &failer{}, nil },
					grain.Method("Fail", func(*failer, context.Context, string) (string, error) {
						time.Sleep(time.Second)
						return "", errKeeper
					}))
				c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: lookup, Kinds: grain.Kinds{slow},
					Node: func(_ int, _ *cluster.Config, parts *cluster.Components) {
						parts.Telemetry.Observer.Resolved = func(_ core.Identity, source string, took time.Duration, err error) {
							e.add(fmt.Sprint(source, " ", took >= time.Second, " ", err))
						}
					}})
				for i := range 8 {
					if _, err := grain.Call[string](t.Context(), c.Node(0), core.Identity{Kind: "Slow", Key: fmt.Sprint(i)}, "Fail", ""); grain.CodeOf(err) != grain.Unknown {
						t.Error(err)
					}
				}
				list := e.take()
				if len(list) < 8 {
					t.Errorf("told of %d searches", len(list))
				}
				for _, told := range list {
					if told != "owner false <nil>" {
						t.Errorf("told %q", told)
					}
				}
			})
		})
	}
}

func TestInterceptorsAndObserver(t *testing.T) {
	bothWaysWith(t, func(i int, parts *cluster.Components, e *events) {
		parts.Interceptors = grain.Interceptors{{
			Call: func(ctx context.Context, r grain.Request, next grain.CallFunc) (grain.Reply, error) {
				e.add(fmt.Sprint("call at ", i))
				r.Options = append(slices.Clone(r.Options), grain.Header("h", "intercepted"))
				return next(ctx, r)
			},
			Tell: func(ctx context.Context, r grain.Request, next grain.TellFunc) error {
				e.add(fmt.Sprint("tell at ", i))
				return next(ctx, r)
			},
			Handle: func(ctx context.Context, in grain.Invocation, next grain.HandleFunc) (any, error) {
				e.add(fmt.Sprint("handle ", in.Method.Name, " at ", i))
				return next(ctx, in)
			},
		}}
		parts.Telemetry.Observer.Activated = func(a core.Activation, _ time.Duration) { e.add("activated " + a.Identity.Key) }
		parts.Telemetry.Observer.Resolved = func(_ core.Identity, source string, _ time.Duration, err error) {
			e.add(fmt.Sprint("resolved by ", source, " ", err))
		}
	}, func(t *testing.T, caller *cluster.Node, at int, e *events) {
		if got, err := keep(t.Context(), caller, "Keeper", "x", "turn"); got != "true intercepted true" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		list := e.take()
		slices.Sort(list)
		want := []string{"activated x", fmt.Sprint("call at ", at), "handle Keep at 1", "resolved by owner <nil>"}
		if !slices.Equal(list, want) {
			t.Errorf("the first call: %v, want %v", list, want)
		}
		if err := grain.Tell(t.Context(), caller, core.Identity{Kind: "Keeper", Key: "x"}, "Keep", "x"); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Millisecond)
		want = []string{"handle Keep at 1", "resolved by cache <nil>", fmt.Sprint("tell at ", at)}
		list = e.take()
		slices.Sort(list)
		if !slices.Equal(list, want) {
			t.Errorf("a tell: %v, want %v", list, want)
		}
	})
}

func bothWaysWith(t *testing.T, edit func(i int, parts *cluster.Components, e *events), f func(t *testing.T, caller *cluster.Node, at int, e *events)) {
	for at, way := range []string{"remote", "local"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &events{}
				c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newRing, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
					if i == 1 {
						parts.Kinds = grain.Kinds{keeperKind("Keeper", nil)}
					}
					edit(i, parts, e)
				}})
				c.Agree()
				e.take()
				f(t, c.Node(at), at, e)
			})
		})
	}
}

// TestBehindAndAhead has a member whose provider is slow take calls that were routed by a newer view:
// they wait for it, and nothing is lost.
func TestBehindAndAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
			if i == 1 {
				parts.Provider = lateProvider{parts.Provider, 300 * time.Millisecond}
			}
		}, Network: remote.MemoryConfig{}})
		c.Agree()
		n := c.Add()
		for _, id := range clustertest.Identities("Keeper", 60) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			if _, err := keep(ctx, n, id.Kind, id.Key, "x"); err != nil {
				t.Errorf("%s: %v", id, err)
			}
			if _, err := keep(ctx, c.Node(1), id.Kind, id.Key, "x"); err != nil {
				t.Errorf("%s from the late one: %v", id, err)
			}
			cancel()
		}
	})
}

// TestMessageThatWaitsIsNotOvertaken by what the same member sends after it, although an activation has been made
// meanwhile that could take the latter.
func TestMessageThatWaitsIsNotOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Members: 2, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Lookup: newRing, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
			if i == 1 {
				parts.Provider = lateProvider{parts.Provider, 300 * time.Millisecond}
			}
		}, Network: remote.MemoryConfig{}})
		c.Agree()
		late, ahead := c.Node(1), c.Node(0)
		var joining sync.WaitGroup
		defer joining.Wait()
		joining.Go(func() { c.Add() })
		for ahead.View().Len() < 3 {
			time.Sleep(time.Millisecond)
		}
		up := ahead.View().Record()
		for i := range up.Members {
			up.Members[i].Status = core.Up
		}
		next, err := core.NewView(up)
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(clustertest.Identities("Keeper", 60), func(id core.Identity) bool {
			return ownedBy(late.View(), id) == late.ID() && ownedBy(next, id) == late.ID()
		})
		id := clustertest.Identities("Keeper", 60)[at]
		if err := grain.Tell(t.Context(), ahead, id, "Keep", "x"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		if got, err := keep(t.Context(), late, id.Kind, id.Key, "x"); got != "1" || err != nil {
			t.Errorf("the message has not waited: the call of the late one is number %q, %v", got, err)
		}
		if got, err := keep(t.Context(), ahead, id.Kind, id.Key, "x"); got != "3" || err != nil {
			t.Errorf("the call after the message is number %q, %v", got, err)
		}
	})
}

// ownedBy is who owns an identity by a view, under a ring.
func ownedBy(v *core.View, id core.Identity) core.MemberID {
	r := &ring{}
	r.view.Store(v)
	m, _ := r.Owner(id)
	return m.ID
}

// lateProvider reports later than others.
type lateProvider struct {
	core.Provider
	by time.Duration
}

func (p lateProvider) Join(ctx context.Context, e core.Env, self core.Member, report func(*core.View)) error {
	var mu sync.Mutex
	var last uint64
	return p.Provider.Join(ctx, e, self, func(v *core.View) {
		e.Clock.AfterFunc(p.by, func() {
			mu.Lock()
			defer mu.Unlock()
			if v.Epoch() > last { // reports come in order
				last = v.Epoch()
				report(v)
			}
		})
	})
}

func TestRefusalsOfTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var host core.Host
		c := clustertest.Start(t, clustertest.Config{Members: 1, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(_ int, _ *cluster.Config, parts *cluster.Components) {
			parts.Lookup = hosted{parts.Lookup, &host}
		}})
		ctx := t.Context()
		id := core.Identity{Kind: "Keeper", Key: "x"}
		low, mid, high := core.Token{Epoch: 1, Seq: 1}, core.Token{Epoch: 1, Seq: 2}, core.Token{Epoch: 2}
		place, err := host.Activate(ctx, id, mid)
		if err != nil || place.Token != mid || place.PID.Member != c.Node(0).ID() {
			t.Fatalf("%v, %v", place, err)
		}
		for token, want := range map[core.Token]error{mid: nil, {}: nil, low: core.ErrFenced, high: core.ErrConflict} {
			if got, err := host.Activate(ctx, id, token); got != place || !errors.Is(err, want) {
				t.Errorf("activate under %v: %v, %v: want %v, %v", token, got, err, place, want)
			}
		}
		if _, err := host.Activate(ctx, core.Identity{Kind: "Nope", Key: "x"}, mid); !errors.Is(err, core.ErrNoKind) {
			t.Errorf("unknown kind: %v", err)
		}
		if _, err := host.Activate(ctx, core.Identity{Kind: "Keeper"}, mid); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("bad identity: %v", err)
		}
		if err := host.Deactivate(ctx, id, low, core.StopMoved); err != nil || c.Node(0).Kinds()[0].Live != 1 {
			t.Errorf("deactivate another token: %v", err)
		}
		slow, err := host.Activate(ctx, core.Identity{Kind: "Keeper", Key: "slow-deactivate"}, mid)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			done <- host.Deactivate(ctx, core.Identity{Kind: "Keeper", Key: "slow-deactivate"}, slow.Token, core.StopMoved)
		}()
		time.Sleep(100 * time.Millisecond)
		_, err = host.Activate(ctx, core.Identity{Kind: "Keeper", Key: "slow-deactivate"}, high)
		if after, ok := core.RetryAfter(err); !errors.Is(err, core.ErrBusy) || !ok || after <= 0 {
			t.Errorf("activate behind one that stops: %v", err)
		}
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		if err := host.Deactivate(short, core.Identity{Kind: "Keeper", Key: "slow-deactivate"}, slow.Token, core.StopMoved); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("deactivate with little time: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("deactivate: %v", err)
		}
		if err := host.Deactivate(ctx, id, mid, core.StopMoved); err != nil {
			t.Error(err)
		}
		for a := range host.Activations() {
			t.Errorf("%v is left", a)
		}
		if host.Strategy("Keeper") == nil || host.Strategy("Nope") == nil {
			t.Error("a strategy is nil")
		}
		if m, ok := host.Strategy("Nope").Pick(id, c.Node(0).View().Hosting("Keeper")); ok {
			t.Errorf("the strategy of a kind that is not hosted here picks %s", m.ID)
		}
		if !strings.HasPrefix(place.PID.ID, "g/") {
			t.Errorf("process %s", place.PID.ID)
		}
	})
}

// hosted lets a test have the host of a lookup.
type hosted struct {
	core.Lookup
	host *core.Host
}

func (h hosted) Start(ctx context.Context, host core.Host, env core.Env) error {
	*h.host = host
	return h.Lookup.Start(ctx, host, env)
}

// TestAnErrorTellsThePlaceToo: the second call goes there at once, although the first has failed.
func TestAnErrorTellsThePlaceToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &events{}
		fails := grain.KindOf("Fails", func(grain.Self) (*failer, error) { return &failer{}, nil },
			grain.Method("Fail", func(*failer, context.Context, string) (string, error) { return "", errKeeper }))
		c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newRing, Kinds: grain.Kinds{fails},
			Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
				if i == 0 {
					parts.Telemetry.Observer.Resolved = func(id core.Identity, source string, _ time.Duration, _ error) { e.add(source) }
				}
			}})
		for _, want := range []string{"owner", "cache"} {
			for i := range 20 {
				if _, err := grain.Call[string](t.Context(), c.Node(0), core.Identity{Kind: "Fails", Key: fmt.Sprint(i)}, "Fail", ""); grain.CodeOf(err) != grain.Unknown {
					t.Error(err)
				}
			}
			list := e.take()
			slices.Sort(list)
			if list = slices.Compact(list); !slices.Equal(list, []string{want}) {
				t.Errorf("found by %v, want %s", list, want)
			}
		}
	})
}
