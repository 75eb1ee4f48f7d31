package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/lookups/disthash"
	"github.com/granary-go/granary/providers/memberlist"

	"github.com/granary-go/granary/bench/kit"
)

// formLimit is how long members may take to see each other.
const formLimit = 20 * time.Second

// newNode makes the member with that index; its gossip has the port of that index and knows all
// others as seeds. Start returns when minimum members are up and linked.
func newNode(index, minimum int, ports []int, preset memberlist.Preset) (*cluster.Node, error) {
	addresses := make([]string, len(ports))
	for i, p := range ports {
		addresses[i] = fmt.Sprintf("127.0.0.1:%d", p)
	}
	members, err := memberlist.New(memberlist.Config{Bind: addresses[index], Seeds: addresses, Preset: preset})
	if err != nil {
		return nil, err
	}
	lookup, err := disthash.New(disthash.Config{})
	if err != nil {
		return nil, err
	}
	var kinds grain.Kinds
	for _, k := range kit.Kinds() {
		if k.Hosts(index) {
			kinds = append(kinds, newKind(k, index))
		}
	}
	cfg := cluster.Config{Name: "bench", MinMembers: minimum, Logger: slog.New(slog.DiscardHandler)}
	return cluster.New(cfg, cluster.Components{Provider: members, Lookup: lookup, Kinds: kinds})
}

// members is a cluster in this process.
type members struct {
	ctx    context.Context // of all calls
	cancel context.CancelFunc
	nodes  []*cluster.Node
}

// Cluster implements [kit.Subject].
func (subject) Cluster(n int) (kit.Cluster, error) {
	ports, err := kit.FreePorts(n)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), formLimit)
	defer cancel()
	nodes, errs := make([]*cluster.Node, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range nodes {
		if nodes[i], err = newNode(i, n, ports, memberlist.LAN); err != nil {
			return nil, err
		}
		wg.Go(func() { errs[i] = nodes[i].Start(ctx) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	m := &members{nodes: nodes}
	m.ctx, m.cancel = context.WithTimeout(context.Background(), kit.AskLimit)
	return m, nil
}

// Grain implements [kit.Cluster].
func (m *members) Grain(kind kit.Kind, key string) (kit.Caller, error) {
	to := core.Identity{Kind: string(kind), Key: key}
	return &grainClient{m.ctx, m.nodes[0], to, wrapperspb.Bytes(kit.Payload(16))}, nil
}

// member is one process of a cluster.
type member struct{ node *cluster.Node }

// Member implements [kit.Subject].
func (subject) Member(cfg kit.MemberConfig) (kit.Member, error) {
	node, err := newNode(cfg.Index, 1, cfg.Ports, memberlist.Local)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), formLimit)
	defer cancel()
	return &member{node}, node.Start(ctx)
}

// Members implements [kit.Member].
func (m *member) Members() int {
	n := 0
	for range m.node.View().All() {
		n++
	}
	return n
}

// Where implements [kit.Member]. The time limit is the node's own.
func (m *member) Where(key string) (int, error) {
	ctx := context.Background()
	g := &grainClient{ctx: ctx, caller: m.node, to: core.Identity{Kind: string(kit.OnAll), Key: key}}
	reply, err := g.do(ctx, whereSpec, &wrapperspb.BytesValue{})
	if err != nil {
		return 0, err
	}
	if len(reply.GetValue()) != 1 {
		return 0, fmt.Errorf("where: reply of %d bytes", len(reply.GetValue()))
	}
	return int(reply.GetValue()[0]), nil
}
