package gossip_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// chaos is one schedule of faults over a world.
type chaos struct {
	*world
	members []core.MemberID // the view, as the provider has it
	made    int
	written map[string]bool   // "owner key value": who wrote what
	version map[string]uint64 // "node owner key": last seen
	cuts    map[[2]core.MemberID]bool
	over    bool
}

func newChaos(t *testing.T, seed uint64, members int) *chaos {
	c := &chaos{world: newWorld(t, seed), written: map[string]bool{}, version: map[string]uint64{}, cuts: map[[2]core.MemberID]bool{}}
	c.cut = func(from, to core.MemberID) bool { return c.cuts[[2]core.MemberID{from, to}] }
	c.changes = c.see
	c.world.removed = c.unsee
	c.withdrawn = c.end
	for range members {
		c.join()
	}
	return c
}

// see checks what a node takes: that the owner wrote it, and that it is no older than before.
func (c *chaos) see(n *node, e gossip.Changed) {
	if e.Member == n.id && n.writing {
		c.written[fmt.Sprint(n.id, e.Key, string(e.Value.Data))] = true
		return
	}
	if !c.written[fmt.Sprint(e.Member, e.Key, string(e.Value.Data))] {
		c.t.Fatalf("%s takes %s=%.80q of %s, which never wrote it", n.id, e.Key, e.Value.Data, e.Member)
	}
	at := fmt.Sprint(n.id, " ", e.Member, " ", e.Key)
	if c.version[at] >= e.Version {
		c.t.Fatalf("%s goes back to version %d from %d", at, e.Version, c.version[at])
	}
	c.version[at] = e.Version
}

// end checks that nothing is removed that was written later.
func (c *chaos) end(n *node, e gossip.Withdrawn) {
	at := fmt.Sprint(n.id, " ", e.Member, " ", e.Key)
	if v, found := n.Get(e.Member, e.Key); found && v.Version <= e.Version || c.version[at] == 0 && e.Member != n.id || c.version[at] >= e.Version {
		c.t.Fatalf("%s, last seen in version %d, is removed by version %d, and is %v", at, c.version[at], e.Version, v)
	}
	c.version[at] = e.Version
}

func (c *chaos) unsee(n *node, e gossip.Removed) {
	for i := range 8 {
		delete(c.version, fmt.Sprint(n.id, " ", e.Member, " k", i))
	}
	delete(c.version, fmt.Sprint(n.id, " ", e.Member, " ", gossip.KeyTopology))
	delete(c.version, fmt.Sprint(n.id, " ", e.Member, " ", gossip.KeyKeys))
}

// join starts a member; the others hear of it in their own time.
func (c *chaos) join() {
	c.made++
	n := c.add(member(c.made))
	must(c.t, n.AddCheck(sameTopology()))
	c.members = append(c.members, n.id)
	c.publish()
}

// crash takes a member out; sooner or later the others hear of it.
func (c *chaos) crash(i int) {
	c.nodes[c.members[i]].alive = false
	c.members = slices.Delete(slices.Clone(c.members), i, i+1)
	c.publish()
}

// publish lets every node install the newest view after a time of its own. A node never goes back to
// an older view, and some see the view between while others skip it.
func (c *chaos) publish() {
	view := slices.Clone(c.members)
	epoch := c.count
	for _, id := range c.live() {
		n := c.nodes[id]
		c.after(time.Duration(c.rng.Int64N(int64(2*time.Second))), func() {
			if epoch > n.epoch {
				n.epoch = epoch
				n.install(view...)
			}
		})
	}
}

func (c *chaos) pick() *node { return c.nodes[c.members[c.rng.IntN(len(c.members))]] }

func (c *chaos) write() {
	n := c.pick()
	key := fmt.Sprint("k", c.rng.IntN(8))
	if c.rng.IntN(5) == 0 {
		n.step(gossip.Unset{Key: key})
		return
	}
	n.step(gossip.Set{Key: key, Value: text(fmt.Sprint(n.id, key, c.count)), Push: c.rng.IntN(8) == 0})
}

// part cuts links for a while: one way, both ways, or all of one member.
func (c *chaos) part() {
	a, b := c.pick().id, c.pick().id
	pairs := [][2]core.MemberID{{a, b}}
	switch c.rng.IntN(3) {
	case 0:
		pairs = append(pairs, [2]core.MemberID{b, a})
	case 1:
		for _, o := range c.members {
			pairs = append(pairs, [2]core.MemberID{a, o}, [2]core.MemberID{o, a})
		}
	}
	for _, p := range pairs {
		c.cuts[p] = true
	}
	c.after(time.Duration(c.rng.Int64N(int64(5*time.Second))), func() {
		for _, p := range pairs {
			delete(c.cuts, p)
		}
	})
}

// flap lets one node lose another from its view, or block it, for a while.
func (c *chaos) flap() {
	n, other := c.pick(), c.pick().id
	if n.id == other {
		return
	}
	back := func() { n.install(n.view...) }
	if c.rng.IntN(3) == 0 {
		n.step(gossip.Block{IDs: []core.MemberID{other}})
		back = func() { n.step(gossip.Unblock{IDs: []core.MemberID{other}}) }
	} else {
		whole := n.view
		n.install(slices.DeleteFunc(slices.Clone(whole), func(id core.MemberID) bool { return id == other })...)
		epoch := n.epoch
		back = func() {
			if n.epoch == epoch {
				n.install(whole...)
			}
		}
	}
	c.after(time.Duration(c.rng.Int64N(int64(3*time.Second))), back)
}

// misattribute lets one node speak for two others, as a node with a fault would.
func (c *chaos) misattribute() {
	n, from, owner := c.pick(), c.pick().id, c.pick().id
	if from == n.id || from == owner {
		return
	}
	key := fmt.Sprint("k", c.rng.IntN(8))
	v, _ := n.Get(owner, key)
	forged := []gossip.Value{{Key: key, Version: v.Version + 1, Message: text("forged")}}
	n.handle(from, &gossip.Request{Entries: []gossip.Entry{{Owner: owner, Relayed: owner == n.id, Values: forged}}})
}

// run30 is 30 virtual seconds of faults, with a random half of the alphabet off.
func (c *chaos) run30() {
	faults := []func(){
		c.part, c.flap, c.misattribute,
		func() { c.loss = 0.3 * c.rng.Float64() },
		func() { c.double = 0.3 * c.rng.Float64() },
		func() { c.delay = time.Duration(c.rng.Int64N(int64(time.Second))) },
		func() { c.join() },
		func() {
			if len(c.members) > 2 {
				c.crash(c.rng.IntN(len(c.members)))
			}
		},
	}
	c.rng.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
	faults = faults[:len(faults)/2+1]
	for end := c.now.Add(30 * time.Second); c.now.Before(end); {
		c.run(time.Duration(c.rng.Int64N(int64(200*time.Millisecond))), nil)
		c.write()
		if c.rng.IntN(4) == 0 {
			faults[c.rng.IntN(len(faults))]()
		}
	}
}

// heal ends all faults.
func (c *chaos) heal() {
	c.loss, c.double, c.delay = 0, 0, 20*time.Millisecond
	c.run(6*time.Second, nil) // until what was on its way has arrived, and the last view too
	clear(c.cuts)
	for _, id := range c.live() {
		n := c.nodes[id]
		n.step(gossip.Unblock{IDs: c.members})
		n.install(c.members...)
	}
}

// settled tells what is not as it has to be after the last fault; empty: nothing.
func (c *chaos) settled() string {
	for _, id := range c.live() {
		n := c.nodes[id]
		if got, want := n.Members(), slices.Sorted(slices.Values(c.members)); !slices.Equal(got, want) {
			return fmt.Sprintf("%s knows %v, the view is %v", id, got, want)
		}
		for _, owner := range c.members {
			own, here := c.nodes[owner].Keys(owner), n.Keys(owner)
			if !slices.EqualFunc(own, here, sameValue) {
				return fmt.Sprintf("%s holds %d values of %s, which has %d, or others", id, len(here), owner, len(own))
			}
		}
		if _, agreed := n.Agreed("topology"); !agreed {
			return fmt.Sprintf("%s sees no agreement on the topology", id)
		}
	}
	return ""
}

func sameValue(a, b gossip.Value) bool {
	return a.Key == b.Key && a.Version == b.Version && a.Message.Type == b.Message.Type && string(a.Message.Data) == string(b.Message.Data)
}

func sameTopology() *gossip.Check {
	return gossip.NewCheck("topology", gossip.KeyTopology, func(m core.Message) (string, bool) { return string(m.Data), true })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestFaults: after 30 s of several faults at once, all members hold the same within the bound.
func TestFaults(t *testing.T) {
	worst := time.Duration(0)
	for seed := range *seeds * 3 {
		c := newChaos(t, seed, 3+int(seed%4))
		c.run30()
		c.heal()
		bound := time.Duration(math.Ceil(math.Log2(float64(len(c.members))))+4) * gossip.DefaultInterval
		begin := c.now
		for c.settled() != "" && c.now.Sub(begin) < bound {
			c.run(10*time.Millisecond, nil)
		}
		if what := c.settled(); what != "" {
			t.Fatalf("seed %d, %d members, %v after the last fault: %s", seed, len(c.members), bound, what)
		}
		worst = max(worst, c.now.Sub(begin))
		c.disagree(seed)
	}
	t.Logf("%d schedules, at worst %v after the last fault", *seeds*3, worst)
}

// disagree: the next change ends the agreement, everywhere.
func (c *chaos) disagree(seed uint64) {
	one := c.pick()
	one.set(gossip.KeyTopology, text("another"))
	c.run(10*gossip.DefaultInterval, nil)
	for _, id := range c.live() {
		if got, agreed := c.nodes[id].Agreed("topology"); agreed && len(c.members) > 1 {
			c.t.Fatalf("seed %d: %s sees agreement on %v after another change", seed, id, got)
		}
	}
}

// TestReplay: the same seed gives the same run.
func TestReplay(t *testing.T) {
	trace := func() string {
		c := newChaos(t, 11, 5)
		c.run30()
		return fmt.Sprint(c.bytes, c.messages, c.largest, c.count, c.live())
	}
	if a, b := trace(), trace(); a != b {
		t.Errorf("one seed, two runs:\n%s\n%s", a, b)
	}
}
