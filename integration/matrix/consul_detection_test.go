package matrix

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
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
	t.Cleanup(func() {
		for i := range c.Len() {
			_ = c.Stop(i) // how soon a node says goodbye to a busy server is not looked at here
		}
	})
	c.Agree()
	return c
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
