package clustertest

import (
	"slices"
	"time"

	"github.com/granary-go/granary/engine/remote"
)

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

// Pause holds the i-th node as SIGSTOP and a slow network would, until Resume: no timer of its clock
// fires, nothing that it sends or is sent arrives, and it and its provider hear nothing of each other.
// What runs goes on until it waits for one of these; time that grains measure with package time goes on
// too.
func (c *Cluster) Pause(i int) {
	m := c.member(i)
	if !c.setPaused(m, true) {
		return
	}
	m.clock.hold()
	c.Network.Cut(m.host, remote.AnyHost)
	c.Network.Cut(remote.AnyHost, m.host)
	c.provide(m, 1, 0)
}

// Resume lets a paused node go on: all timers that were due meanwhile fire at once.
func (c *Cluster) Resume(i int) {
	m := c.member(i)
	if !c.setPaused(m, false) {
		return
	}
	c.provide(m, -1, 0)
	c.Network.Heal(m.host, remote.AnyHost)
	c.Network.Heal(remote.AnyHost, m.host)
	m.clock.release()
}

func (c *Cluster) setPaused(m *member, paused bool) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed = m.paused != paused
	m.paused = paused
	return changed
}

// SetClock puts the wall clock of the i-th node ahead of the others'; negative: behind. As on a real machine
// its monotonic clock, by which intervals and timers go, does not notice.
func (c *Cluster) SetClock(i int, ahead time.Duration) { c.member(i).clock.shift(ahead) }

// SetRate has the clock of the i-th node run rate times as fast as the others', from now on: 1 is right, 1.1
// gains 6 minutes an hour. Contexts and what gRPC does by itself follow package time and stay right.
func (c *Cluster) SetRate(i int, rate float64) { c.member(i).clock.run(rate) }

// Cut cuts the network between two nodes, in both directions, until Heal.
func (c *Cluster) Cut(i, j int) {
	c.CutOneWay(i, j)
	c.CutOneWay(j, i)
}

// CutOneWay holds what node i sends to node j, until Heal. New links between the two need both ways.
func (c *Cluster) CutOneWay(i, j int) {
	c.mu.Lock()
	c.cuts[[2]int{i, j}] = true
	c.mu.Unlock()
	c.Network.Cut(c.member(i).host, c.member(j).host)
}

// Heal mends what Cut, CutOneWay or Partition has cut between two nodes. What was held arrives.
func (c *Cluster) Heal(i, j int) {
	c.healOneWay(i, j)
	c.healOneWay(j, i)
}

func (c *Cluster) healOneWay(i, j int) {
	c.mu.Lock()
	delete(c.cuts, [2]int{i, j})
	c.mu.Unlock()
	c.Network.Heal(c.member(i).host, c.member(j).host)
}

// Partition parts the network: nodes of different groups do not reach each other. Nodes in no group
// reach all.
func (c *Cluster) Partition(groups ...[]int) {
	for g, group := range groups {
		for _, other := range groups[g+1:] {
			for _, i := range group {
				for _, j := range other {
					c.Cut(i, j)
				}
			}
		}
	}
}

// Slow adds d to what a message from i to j takes, and from j to i; 0 takes it back.
func (c *Cluster) Slow(i, j int, d time.Duration) {
	a, b := c.member(i).host, c.member(j).host
	c.Network.Slow(a, b, d)
	c.Network.Slow(b, a, d)
}

// Drop loses the connections between two nodes, and whatever is on them: who waits for an answer is told
// that its request may have been handled. They are made anew at once.
func (c *Cluster) Drop(i, j int) { c.Network.Reset(c.member(i).host, c.member(j).host) }

// CutProvider parts the i-th node from the provider until HealProvider: no view comes, and its calls wait
// for as long as their contexts last. It has no effect where Config.Provider or Config.Node brings
// another provider than the hub's.
func (c *Cluster) CutProvider(i int) { c.provide(c.member(i), 1, 0) }

// HealProvider takes back one CutProvider.
func (c *Cluster) HealProvider(i int) { c.provide(c.member(i), -1, 0) }

// StaleProvider has the i-th node read views from a replica that lags behind, until FreshProvider: it is
// told of an old view, and of no new one. Writes arrive.
func (c *Cluster) StaleProvider(i int) { c.provide(c.member(i), 0, 1) }

// FreshProvider takes back one StaleProvider.
func (c *Cluster) FreshProvider(i int) { c.provide(c.member(i), 0, -1) }

// Outage takes the provider away from all nodes there are, until HealAll or until HealProvider was called
// for each.
func (c *Cluster) Outage() {
	for i := range c.Len() {
		c.CutProvider(i)
	}
}

func (c *Cluster) provide(m *member, broken, lagging int) {
	if p, ok := m.provider.(*provider); ok {
		p.fault(broken, lagging)
	}
}

// HealAll ends all cuts, all pauses and everything that is wrong with the provider. What was killed stays
// dead.
func (c *Cluster) HealAll() {
	c.mu.Lock()
	cuts := make([][2]int, 0, len(c.cuts))
	for cut := range c.cuts {
		cuts = append(cuts, cut)
	}
	c.mu.Unlock()
	slices.SortFunc(cuts, func(a, b [2]int) int { return slices.Compare(a[:], b[:]) }) // a run is like the one before
	for _, cut := range cuts {
		c.healOneWay(cut[0], cut[1])
	}
	for i := range c.Len() {
		c.Resume(i)
		if p, ok := c.member(i).provider.(*provider); ok {
			p.mend()
		}
	}
}
