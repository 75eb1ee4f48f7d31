package app

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/examples/cluster/counterpb"
	"github.com/granary-go/granary/examples/cluster/history"
)

// counter is the grain: it counts what its one activation has handled, without a lock.
type counter struct {
	count      uint64
	id         string
	activation string
	rec        *recorder
}

// Add records that the request was run before the answer leaves.
func (c *counter) Add(_ context.Context, r *counterpb.AddRequest) (*counterpb.AddReply, error) {
	c.count++
	c.rec.file.Handle(c.rec.member(), r.GetRequest(), c.id, c.activation)
	return &counterpb.AddReply{Count: c.count, Activation: c.activation}, nil
}

// recorder writes what a member process does.
type recorder struct {
	file    *history.Writer
	pipe    *pipe
	id      atomic.Pointer[core.MemberID]
	running atomic.Int64
}

func (r *recorder) member() string {
	if id := r.id.Load(); id != nil {
		return string(*id)
	}
	return ""
}

// observer writes activations, deactivations and topologies as the engine tells them.
func (r *recorder) observer() grain.Observer {
	return grain.Observer{
		Topology: func(t core.Topology) {
			var members []string
			for m := range t.View.All() {
				members = append(members, string(m.ID))
			}
			hash := strconv.FormatUint(t.View.Hash(), 16)
			r.file.Write(history.Record{Ns: r.file.Now(), Member: r.member(), Event: history.Topology, Hash: hash, Members: members, Epoch: t.View.Epoch()})
			r.pipe.send(notice{Hash: hash, Members: members})
		},
		Activated: func(a core.Activation, _ time.Duration) {
			r.running.Add(1)
			r.file.Life(history.Activated, r.member(), a.Identity.String(), a.PID.String(), a.Token.String())
		},
		Deactivated: func(a core.Activation, _ core.StopReason) {
			r.running.Add(-1)
			r.file.Life(history.Deactivated, r.member(), a.Identity.String(), a.PID.String(), a.Token.String())
		},
	}
}

// runMember is the life of a member process: join, serve until told to stop, leave.
func runMember(ctx context.Context, s start, p *pipe, parts Parts) error {
	file, err := history.Create(s.Dir, s.Name, true)
	if err != nil {
		return err
	}
	rec := &recorder{file: file, pipe: p}
	kind := counterpb.CounterKind(func(self grain.Self) (counterpb.CounterGrain, error) {
		id := self.Identity()
		return &counter{id: id.String(), activation: self.Activation().PID.String(), rec: rec}, nil
	})
	kind.Idle = -1 // the run is short: only changes stop activations
	config := s.config(cluster.Config{StopTimeout: stopTimeout})
	config.Kinds, config.Telemetry = grain.Kinds{kind}, cluster.Telemetry{Observer: rec.observer()}
	made, end, err := parts.build(s, config)
	if err != nil {
		return err
	}
	defer end()
	id := made.Node.ID()
	rec.id.Store(&id)
	if err := begin(ctx, made.Node); err != nil {
		return err
	}
	p.send(notice{Member: rec.member(), Gossip: gossip(made.Parts.Provider)})
	p.send(notice{Ready: true})
	rec.serve(ctx)
	if err := parts.leave(p, made.Node); err != nil {
		return err
	}
	return file.Close()
}

// begin starts a node. That it was told to stop meanwhile is no error: the caller stops it in any
// case.
func begin(ctx context.Context, node *cluster.Node) error {
	limited, cancel := context.WithTimeout(ctx, formLimit)
	defer cancel()
	if err := node.Start(limited); err != nil && ctx.Err() == nil {
		return fmt.Errorf("start: %w", err)
	}
	return nil
}

// serve tells the number of activations each second and when asked, until the order to stop.
func (r *recorder) serve(ctx context.Context) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-second.C:
		case <-r.pipe.orders: // doCount is the only one for members
		}
		running := int(r.running.Load())
		r.pipe.offer(notice{Running: &running})
	}
}
