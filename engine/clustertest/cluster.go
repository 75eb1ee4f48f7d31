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
	// ProviderDelay is how long a message between the i-th node and the provider of the hub takes.
	// Default: no time.
	ProviderDelay func(i int) time.Duration
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
	started time.Time
	making  sync.Mutex // so that indexes are in order

	mu      sync.Mutex
	members []*member
	cuts    map[[2]int]bool // of links, by node, that Heal and HealAll mend
}

type member struct {
	node     *cluster.Node
	host     string
	clock    *clock
	provider core.Provider
	client   bool
	gone     bool // stopped or killed
	paused   bool
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
	c := &Cluster{t: t, cfg: cfg, Hub: hub, Network: remote.NewMemory(cfg.Network), started: time.Now(), cuts: map[[2]int]bool{}}
	t.Cleanup(c.stopAll)
	for range cfg.Members {
		c.Add()
	}
	return c
}

// Add starts one more member and waits until it is ready.
func (c *Cluster) Add() *cluster.Node {
	c.t.Helper()
	return c.start(c.make(false, ""))
}

// AddClient starts a client and waits until it is ready.
func (c *Cluster) AddClient() *cluster.Node {
	c.t.Helper()
	return c.start(c.make(true, ""))
}

// New makes one more member without starting it.
func (c *Cluster) New() *cluster.Node {
	c.t.Helper()
	return c.make(false, "").node
}

// Restart starts a new process in the place of the i-th node, which was stopped or killed: a member with
// an ID of its own and the next index, at the same address. It waits until the member is ready.
func (c *Cluster) Restart(i int) *cluster.Node {
	c.t.Helper()
	return c.start(c.make(false, c.Node(i).Address()))
}

// NewAt is New at the address of the i-th node. It can be started when that one has been stopped or
// killed.
func (c *Cluster) NewAt(i int) *cluster.Node {
	c.t.Helper()
	return c.make(false, c.Node(i).Address()).node
}

// start brings a node up. Its context, like those of the other methods, is not the test's own: that one has
// ended when cleanups run, which stop the nodes.
func (c *Cluster) start(m *member) *cluster.Node {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.Timeout)
	defer cancel()
	if err := m.node.Start(ctx); err != nil {
		c.t.Fatalf("start %s: %v", m.host, err)
	}
	return m.node
}

func (c *Cluster) make(client bool, address string) *member {
	c.t.Helper()
	c.making.Lock()
	defer c.making.Unlock()
	i := c.Len()
	m := &member{host: fmt.Sprintf("n%d", i), client: client, clock: &clock{started: c.started}}
	cfg := cluster.Config{Name: "test", Logger: c.cfg.Log, Client: client, MinMembers: 1, Address: address}
	cfg.Seams.Transport = c.Network.Host(m.host)
	cfg.Seams.Clock = m.clock
	parts := c.parts(i)
	if client {
		parts.Kinds = nil
	}
	if c.cfg.Node != nil {
		c.cfg.Node(i, &cfg, &parts)
	}
	m.provider = parts.Provider
	var err error
	if m.node, err = cluster.New(cfg, parts); err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	c.members = append(c.members, m)
	c.mu.Unlock()
	return m
}

// parts are those of the i-th node, before Config.Node changes them.
func (c *Cluster) parts(i int) cluster.Components {
	c.t.Helper()
	var delay time.Duration
	if f := c.cfg.ProviderDelay; f != nil {
		delay = f(i)
	}
	parts := cluster.Components{Lookup: c.Hub.Lookup(), Kinds: slices.Clone(c.cfg.Kinds)}
	parts.Provider = newProvider(c.Hub.Provider(), delay)
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
	return parts
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

// stopAll stops what is left, all nodes at once.
func (c *Cluster) stopAll() {
	c.HealAll()
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
