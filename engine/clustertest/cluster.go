package clustertest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/memory"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/remote"
)

// Config says what cluster to run. The zero value is three members that host nothing.
type Config struct {
	// Members is how many members are started. Default 3; negative: none.
	Members int
	// Kinds are those of every member.
	Kinds grain.Kinds
	// Lookup makes the lookup of one member. Default: the directory of the hub.
	Lookup func() (core.Lookup, error)
	// Provider makes the provider of one member. Default: that of the hub.
	Provider func() (core.Provider, error)
	// Node changes the configuration and the parts of the i-th node before it is made. Default: as
	// they are.
	Node func(i int, cfg *cluster.Config, parts *cluster.Components)
	// Network and Hub set up what the members share.
	Network remote.MemoryConfig
	Hub     memory.Config
	// Timeout bounds the start of one member, its stop, and the wait helpers. Default 30 s.
	Timeout time.Duration
	// Log gets what the nodes say. Default: nobody.
	Log *slog.Logger
}

// Cluster is a running cluster. Its methods are safe for concurrent use; those that fail the test are
// to be called from the test's own goroutine.
type Cluster struct {
	t       testing.TB
	cfg     Config
	Hub     *memory.Hub    // that the members share
	Network *remote.Memory // hosts are named "n0", "n1", … in the order in which nodes were made
	clock   core.Clock

	mu      sync.Mutex
	members []*member
}

type member struct {
	node     *cluster.Node
	host     string
	provider core.Provider
	client   bool
	gone     bool // stopped or killed
}

// Start runs a cluster and stops it at the end of the test.
func Start(t testing.TB, cfg Config) *Cluster {
	t.Helper()
	if cfg.Members == 0 {
		cfg.Members = 3
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	hub, err := memory.New(cfg.Hub)
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{t: t, cfg: cfg, Hub: hub, Network: remote.NewMemory(cfg.Network), clock: clock{started: time.Now()}}
	t.Cleanup(c.stopAll)
	for range cfg.Members {
		c.Add()
	}
	return c
}

// Add starts one more member and waits until it is ready.
func (c *Cluster) Add() *cluster.Node {
	c.t.Helper()
	return c.start(c.make(false))
}

// AddClient starts a client and waits until it is ready.
func (c *Cluster) AddClient() *cluster.Node {
	c.t.Helper()
	return c.start(c.make(true))
}

// New makes one more member without starting it.
func (c *Cluster) New() *cluster.Node {
	c.t.Helper()
	return c.make(false).node
}

func (c *Cluster) start(m *member) *cluster.Node {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.Timeout)
	defer cancel()
	if err := m.node.Start(ctx); err != nil {
		c.t.Fatalf("start %s: %v", m.host, err)
	}
	return m.node
}

func (c *Cluster) make(client bool) *member {
	c.t.Helper()
	c.mu.Lock()
	i := len(c.members)
	c.mu.Unlock()
	m := &member{host: fmt.Sprintf("n%d", i), client: client}
	cfg := cluster.Config{Name: "test", Logger: c.cfg.Log, Client: client, MinMembers: 1}
	cfg.Seams.Transport = c.Network.Host(m.host)
	cfg.Seams.Clock = c.clock
	parts := cluster.Components{Provider: c.Hub.Provider(), Lookup: c.Hub.Lookup(), State: c.Hub.Store(), Kinds: slices.Clone(c.cfg.Kinds)}
	var err error
	if c.cfg.Provider != nil {
		if parts.Provider, err = c.cfg.Provider(); err != nil {
			c.t.Fatal(err)
		}
	}
	if c.cfg.Lookup != nil {
		if parts.Lookup, err = c.cfg.Lookup(); err != nil {
			c.t.Fatal(err)
		}
	}
	if client {
		parts.Kinds = nil
	}
	if c.cfg.Node != nil {
		c.cfg.Node(i, &cfg, &parts)
	}
	m.provider = parts.Provider
	if m.node, err = cluster.New(cfg, parts); err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	c.members = append(c.members, m)
	c.mu.Unlock()
	return m
}

// Node is the i-th node that was made, from 0, also when it is gone.
func (c *Cluster) Node(i int) *cluster.Node { return c.member(i).node }

// Len is the number of nodes that were made.
func (c *Cluster) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.members)
}

// Nodes are the members that were neither stopped nor killed, in the order in which they were made.
func (c *Cluster) Nodes() []*cluster.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*cluster.Node
	for _, m := range c.members {
		if !m.gone && !m.client {
			out = append(out, m.node)
		}
	}
	return out
}

func (c *Cluster) member(i int) *member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members[i]
}

// Stop stops the i-th node gracefully and returns its error.
func (c *Cluster) Stop(i int) error {
	m := c.member(i)
	c.depart(m)
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.Timeout)
	defer cancel()
	return m.node.Stop(ctx)
}

func (c *Cluster) depart(m *member) {
	c.mu.Lock()
	m.gone = true
	c.mu.Unlock()
}

// Kill ends the i-th node as a crash would: its links are reset and its member is no longer renewed,
// but its row stays until the provider finds out. What is left of the node in this process is stopped
// when the test ends, cut off from everybody.
func (c *Cluster) Kill(i int) {
	m := c.member(i)
	c.depart(m)
	if p, ok := m.provider.(interface{ Crash() }); ok {
		p.Crash()
	}
	c.Network.Kill(m.host)
}

// Cut cuts the network between two nodes, in both directions, until Heal.
func (c *Cluster) Cut(i, j int) {
	a, b := c.member(i).host, c.member(j).host
	c.Network.Cut(a, b)
	c.Network.Cut(b, a)
}

// Heal mends what Cut has cut.
func (c *Cluster) Heal(i, j int) {
	a, b := c.member(i).host, c.member(j).host
	c.Network.Heal(a, b)
	c.Network.Heal(b, a)
}

// stopAll stops what is left, all nodes at once.
func (c *Cluster) stopAll() {
	c.mu.Lock()
	members := slices.Clone(c.members)
	c.mu.Unlock()
	errs := make([]error, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), c.cfg.Timeout)
			defer cancel()
			if err := m.node.Stop(ctx); err != nil && !m.gone {
				errs[i] = fmt.Errorf("stop %s: %w", m.host, err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		c.t.Error(err)
	}
}
