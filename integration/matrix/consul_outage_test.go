package matrix

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/integration/servers"
	"github.com/granary-go/granary/integration/serverstest"
	"github.com/granary-go/granary/lookups/disthash"
	"github.com/granary-go/granary/providers/consul"
)

// consulMember is the membership of a node that may die.
type consulMember struct{ recordMember }

// Crash cuts it off from Consul, as the end of its process would.
func (m consulMember) Crash() { m.cut() }

type tally struct{ n int }

func tallyKind() grain.Kind {
	return grain.KindOf("Tally", func(grain.Self) (*tally, error) { return &tally{}, nil },
		grain.Method("Add", func(c *tally, _ context.Context, by int) (int, error) {
			c.n += by
			return c.n, nil
		}))
}

// consulCluster runs nodes at Level 0 with a Consul of default settings. One more may be added.
func consulCluster(t *testing.T, server *servers.Consul, nodes int) *clustertest.Cluster {
	t.Helper()
	wires := make(chan *wire, nodes+1) // made before the nodes, so that they end after them
	for range nodes + 1 {
		wires <- newWire(t, server.Addr)
	}
	c := clustertest.Start(t, clustertest.Config{
		Members: nodes,
		Kinds:   grain.Kinds{tallyKind()},
		Timeout: 2 * patience,
		Lookup:  func() (core.Lookup, error) { return disthash.New(disthash.Config{}) },
		Provider: func() (core.Provider, error) {
			w := <-wires
			p, err := consul.New(consul.Config{Address: w.addr})
			if err != nil {
				return nil, err
			}
			return consulMember{recordMember{p, p.(core.ViewStore), p.(core.MemberLeases), p.(core.Refresher), w.cut}}, nil
		},
	})
	c.Agree()
	return c
}

// callers call until stop, and count the calls and those that failed.
type callers struct {
	all         sync.WaitGroup
	end         context.CancelFunc
	calls, fail atomic.Int64
}

// call has each node of c call identities over and over, not faster than the machine can take beside other tests.
func call(t *testing.T, c *clustertest.Cluster) *callers {
	ctx, end := context.WithCancel(t.Context())
	k := &callers{end: end}
	t.Cleanup(k.stop)
	ids := clustertest.Identities("Tally", 300)
	for i, n := range c.Nodes() {
		k.all.Go(func() {
			for at := i; ctx.Err() == nil; {
				for range 20 {
					at++
					one, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
					_, err := grain.Call[int](one, n, ids[at%len(ids)], "Add", 1)
					cancel()
					k.calls.Add(1)
					if err != nil && k.fail.Add(1) < 5 {
						t.Errorf("a call failed: %v", err)
					}
				}
				over(10 * time.Millisecond)
			}
		})
	}
	return k
}

func (k *callers) stop() {
	k.end()
	k.all.Wait()
}

// listed are the members whose lease Consul holds.
func listed(t *testing.T, server *servers.Consul) (n int) {
	t.Helper()
	data, err := server.Get(t.Context(), "/v1/kv/granary/granary/lease/?recurse&consistent")
	if err != nil {
		return 0
	}
	var pairs []struct{ Session string }
	must(t, json.Unmarshal(data, &pairs))
	for _, p := range pairs {
		if p.Session != "" {
			n++
		}
	}
	return n
}

// Consul is away for a minute. Calls go on, nobody's view changes, a node that starts meanwhile waits, and joins
// within the time of a lease after the return.
func TestConsulOutageUnderCalls(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		away, back func(*servers.Consul) error
		wiped      bool
	}{
		"data kept": {(*servers.Consul).Kill, func(*servers.Consul) error { return nil }, false},
		"wiped":     {(*servers.Consul).Kill, (*servers.Consul).Wipe, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serverstest.Consul(t, servers.ConsulConfig{})
			nodes := consulCluster(t, server, 3)
			before := nodes.Agree()
			load := call(t, nodes)
			must(t, c.away(server))
			begin, called := time.Now(), load.calls.Load()
			late := nodes.New()
			started := make(chan error, 1)
			go func() { started <- late.Start(t.Context()) }()
			over(time.Minute)
			called = load.calls.Load() - called
			for _, n := range nodes.Nodes()[:3] {
				if n.View().Epoch() != before.Epoch() {
					t.Errorf("%s: epoch %d during the outage, %d before", n.ID(), n.View().Epoch(), before.Epoch())
				}
			}
			select {
			case err := <-started:
				t.Errorf("a node started without Consul: %v", err)
			default:
			}
			must(t, c.back(server), server.Start(t.Context()))
			returned := time.Now()
			until(t, "all leases", func() bool { return listed(t, server) == 4 })
			took := time.Since(returned)
			if err := <-started; err != nil {
				t.Fatal(err)
			}
			after := nodes.Agree()
			load.stop()
			if after.Len() != 4 || (after.Lineage() == before.Lineage()) == c.wiped {
				t.Errorf("%d members in lineage %s, before %s", after.Len(), after.Lineage(), before.Lineage())
			}
			for m := range before.All() {
				if _, there := after.Member(m.ID); !there {
					t.Errorf("%s is gone", m.ID)
				}
			}
			if took > 10*time.Second+busy {
				t.Errorf("all leases were there %v after the return, want at most a TTL", took)
			}
			if called < 100_000 || load.fail.Load() > 0 {
				t.Errorf("%d calls during %v without Consul, %d failed in all; want 100,000 and none", called, returned.Sub(begin), load.fail.Load())
			}
			t.Logf("%d calls in %v without Consul, %d failed; all leases %v after its return", called, returned.Sub(begin), load.fail.Load(), took)
		})
	}
}

// A node that was killed is out of all views within 10 s by the votes of the others.
func TestConsulDetectionByVotes(t *testing.T) {
	t.Parallel()
	server := serverstest.Consul(t, servers.ConsulConfig{})
	nodes := consulCluster(t, server, 4)
	dead := nodes.Node(3).ID()
	begin := time.Now()
	nodes.Kill(3)
	until(t, "a view without the dead", func() bool {
		for i := range 3 {
			if _, there := nodes.Node(i).View().Member(dead); there {
				return false
			}
		}
		return true
	})
	took := time.Since(begin)
	t.Logf("by votes: %v", took)
	if took > 10*time.Second {
		t.Errorf("the dead was out %v after its end, want 10 s", took)
	}
}

// busy is what a machine may add to a time of 22 s while it does much else.
const busy = 5 * time.Second

// A member that was killed and that nobody votes against is out within 22 s, and not before its lease.
func TestConsulDetectionByExpiry(t *testing.T) {
	t.Parallel()
	server := serverstest.Consul(t, servers.ConsulConfig{})
	ms := mates(t, server.Addr, consul.Config{}, 3)
	begin := time.Now()
	ms[2].wire.cut()
	see(t, ms[:2]...)
	took := time.Since(begin)
	t.Logf("by expiry: %v", took)
	if took > 22*time.Second+busy || took < 10*time.Second {
		t.Errorf("the dead was out %v after its end, want 10 s to 22 s", took)
	}
}

// The leader of three servers is killed. Who speaks with another one loses nothing.
func TestConsulLeaderChange(t *testing.T) {
	t.Parallel()
	first := serverstest.Consul(t, servers.ConsulConfig{SessionTTL: time.Second})
	var members []struct {
		Name string
		Port int
	}
	data, err := first.Get(t.Context(), "/v1/agent/members")
	must(t, err, json.Unmarshal(data, &members))
	_, err = first.Do(t.Context(), "PUT", "/v1/operator/autopilot/configuration", `{"CleanupDeadServers":true,"ServerStabilizationTime":"100ms","LastContactThreshold":"1s","MaxTrailingLogs":250}`)
	must(t, err)
	var others []*servers.Consul
	for i := range 2 {
		others = append(others, serverstest.Consul(t, servers.ConsulConfig{SessionTTL: time.Second, Settings: map[string]any{
			"node_name": fmt.Sprint("other", i), "bootstrap_expect": nil, "retry_join": []string{fmt.Sprint("127.0.0.1:", members[0].Port)},
		}}))
	}
	until(t, "three voters", func() bool {
		data, err := first.Get(t.Context(), "/v1/operator/raft/configuration")
		return err == nil && strings.Count(strings.ReplaceAll(string(data), " ", ""), `"Voter":true`) == 3
	})
	cfg := consul.Config{TTL: 8 * time.Second}
	ms := []*mate{newMate(t, others[0].Addr, cfg, "m0").join(), newMate(t, others[1].Addr, cfg, "m1").join(), newMate(t, others[1].Addr, cfg, "m2").join()}
	see(t, ms...)
	before, _ := ms[0].last()
	must(t, first.Kill())
	untouched(t, others[0].Addr, cfg, ms, before)
}
