package app

import (
	"context"
	"fmt"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/examples/cluster/counterpb"
	"github.com/granary-go/granary/examples/cluster/wiring"
)

// Own is what an application puts in place of the provider and the lookup that this program has, to have the
// same checks passed with its own.
type Own struct {
	Provider, Lookup string        // their names, for what is printed and recorded
	Recovery         time.Duration // how long a recovery may take
	Make             func(wiring.Config) (wiring.Process, func(), error)
}

// Parts lets other programs run this one with parts of their own, and its tests break what it is made of. The
// zero value is the program as it is.
type Parts struct {
	Own      *Own
	Config   func(process string, c *wiring.Config)     // changes what the node of a process is made of
	Provider func(core.Provider) core.Provider          // stands between the node and its provider
	Lookup   func(core.Lookup) core.Lookup              // stands between the node and its lookup
	Leave    func(context.Context, *cluster.Node) error // how a member leaves; nil: Node.Stop
	Call     func(Calling) Calling                      // stands between the load and the client
	Patience time.Duration                              // for a process to end; 0: processLimit
	Hurried  time.Duration                              // when the judge stops reading; 0: hurriedEnd
	Changes  func(*driver) []planned                    // what the driver does instead of what the flags say
}

// Calling is one call of one counter.
type Calling func(ctx context.Context, key string, request uint64) (*counterpb.AddReply, error)

// build makes the node: by the wired injector, or by hand where a test puts itself between.
func (p Parts) build(s start, c wiring.Config) (wiring.Process, func(), error) {
	if p.Config != nil {
		p.Config(s.Name, &c)
	}
	build := func(c wiring.Config) (wiring.Process, func(), error) { return wiring.Make(s.Options.Provider, c) }
	if p.Own != nil {
		build = p.Own.Make
	}
	made, end, err := build(c)
	if err != nil || p.Lookup == nil && p.Provider == nil {
		return made, end, err
	}
	parts := *made.Parts
	if p.Lookup != nil {
		parts.Lookup = p.Lookup(parts.Lookup)
	}
	if p.Provider != nil {
		parts.Provider = p.Provider(parts.Provider)
	}
	if made.Node, err = cluster.New(c.Cluster, parts); err != nil {
		end()
	}
	return made, end, err
}

// named puts the names of own parts into the options.
func (p Parts) named(o Options) Options {
	if p.Own != nil {
		o.Provider, o.Lookup, o.Recovery = p.Own.Provider, p.Own.Lookup, p.Own.Recovery
	}
	return o
}

// leave has a node leave. That it could not do so in order is no error if there was no time for it.
func (p Parts) leave(told *pipe, node *cluster.Node) error {
	ctx, hurried, end := told.leaving()
	defer end()
	stop := p.Leave
	if stop == nil {
		stop = func(ctx context.Context, node *cluster.Node) error { return node.Stop(ctx) }
	}
	if err := stop(ctx, node); err != nil && !hurried() {
		return fmt.Errorf("leave: %w", err)
	}
	return nil
}
