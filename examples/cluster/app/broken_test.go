package app

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/examples/cluster/counterpb"
	"github.com/granary-go/granary/examples/cluster/wiring"
	"github.com/granary-go/granary/providers/memberlist"
)

// broken makes the parts of the program with one of them broken, by name. All of them are patient:
// the machine that runs tests is busy with others, and a member that stands still for a second is not
// to be taken for dead.
func broken(what string) Parts {
	parts := Parts{Config: func(_ string, c *wiring.Config) { c.Memberlist.Preset = memberlist.LAN }}
	what, base, _ := strings.Cut(what, " at ")
	switch what {
	case "impatient user":
		parts.Hurried = 1
	case "slow leave":
		parts.Config = slowLeave
	case "slow leave that nobody is told of":
		parts.Config = slowLeave
		parts.Provider = func(p core.Provider) core.Provider { return untold{p.(*memberlist.Provider)} }
		parts.Leave = func(ctx context.Context, n *cluster.Node) error {
			_ = n.Stop(ctx) // it complains of the step that is taken out
			return nil
		}
	case "same addresses":
		parts.Config = func(process string, c *wiring.Config) { sameAddresses(base, process, c) }
		parts.Changes = restartsInPlace
	case "two owners":
		parts.Config = func(_ string, c *wiring.Config) {
			c.Memberlist.Preset = memberlist.LAN
			c.Cluster.CacheSize = 1 // else every caller stays with the owner that it found first
		}
		parts.Lookup = func(inner core.Lookup) core.Lookup { return &twoOwners{Lookup: inner} }
	case "no re-placement":
		parts.Lookup = func(inner core.Lookup) core.Lookup { return &deafToDeath{routing: inner.(routing)} }
	case "crash":
		parts.Lookup = func(inner core.Lookup) core.Lookup { return &crashing{routing: inner.(routing)} }
	case "call never ends":
		parts.Call = everyTenth(func(Calling, context.Context, string, uint64) (*counterpb.AddReply, error) { select {} })
	case "sent twice":
		parts.Call = everyTenth(func(call Calling, ctx context.Context, key string, request uint64) (*counterpb.AddReply, error) {
			if _, err := call(ctx, key, request); err != nil {
				return nil, err
			}
			return call(ctx, key, request)
		})
	case "untyped error":
		parts.Call = everyTenth(func(Calling, context.Context, string, uint64) (*counterpb.AddReply, error) {
			return nil, errors.New("something went wrong")
		})
	case "long leave":
		parts.Leave = func(ctx context.Context, _ *cluster.Node) error {
			<-ctx.Done()
			return ctx.Err()
		}
	case "ignores stop":
		parts.Patience = 5 * time.Second
		parts.Leave = func(context.Context, *cluster.Node) error { select {} }
	}
	return parts
}

// everyTenth breaks one call of the first caller in ten, but none of those that look whether every identity
// answers, which are made again until they are answered.
func everyTenth(broken func(call Calling, ctx context.Context, key string, request uint64) (*counterpb.AddReply, error)) func(Calling) Calling {
	return func(call Calling) Calling {
		return func(ctx context.Context, key string, request uint64) (*counterpb.AddReply, error) {
			if request>>32 == 1 && uint32(request)%10 == 5 {
				return broken(call, ctx, key, request)
			}
			return call(ctx, key, request)
		}
	}
}

// routing is what disthash offers.
type routing interface {
	core.Lookup
	core.Router
	core.Holder
}

// twoOwners has every member think that it owns everything, and callers take turns between two.
type twoOwners struct {
	core.Lookup
	self core.MemberID
	view atomic.Pointer[core.View]
	turn atomic.Uint64
}

func (l *twoOwners) Start(ctx context.Context, host core.Host, env core.Env) error {
	l.self = host.Self().ID
	return l.Lookup.Start(ctx, host, env)
}

func (l *twoOwners) Reshape(t core.Topology) error {
	l.view.Store(t.View)
	return nil
}

func (l *twoOwners) Owner(core.Identity) (core.Member, bool) {
	v := l.view.Load()
	if v == nil {
		return core.Member{}, false
	}
	if m, ok := v.Member(l.self); ok {
		return m, true
	}
	turn, owner, found := l.turn.Add(1)%2, core.Member{}, false
	n := uint64(0)
	for m := range v.All() {
		if n == turn {
			owner, found = m, true
		}
		n++
	}
	return owner, found
}

// deafToDeath does not hear that a member is gone, so that what lived there is placed nowhere else.
type deafToDeath struct{ routing }

func (l *deafToDeath) Reshape(t core.Topology) error {
	if len(t.Left) > 0 {
		return nil
	}
	return l.routing.Reshape(t)
}

// crashing ends its process in the middle of its life, in one member of three.
type crashing struct {
	routing
	self core.MemberID
}

func (l *crashing) Start(ctx context.Context, host core.Host, env core.Env) error {
	l.self = host.Self().ID
	return l.routing.Start(ctx, host, env)
}

func (l *crashing) Owner(id core.Identity) (core.Member, bool) {
	m, ok := l.routing.Owner(id)
	if id.Key == "7" && m.ID == l.self { // asked by members when a call arrives
		os.Exit(3)
	}
	return m, ok
}

var (
	_ core.Router = (*twoOwners)(nil)
	_ routing     = (*deafToDeath)(nil)
	_ routing     = (*crashing)(nil)
)
