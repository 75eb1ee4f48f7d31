package outage

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/integration/servers"
	"github.com/granary-go/granary/integration/serverstest"
	"github.com/granary-go/granary/lookups/disthash"
	"github.com/granary-go/granary/providers/consul"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// patience is how long anything may take on a machine that does much else.
const patience = 3 * time.Minute

// busy is what such a machine may add to a time of some seconds.
const busy = 5 * time.Second

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// over waits for real time to pass.
func over(d time.Duration) { <-time.After(d) }

// until asks until ok.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); over(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("there is not, within %v: %s", patience, what)
		}
	}
}

type tally struct{ n int }

func tallyKind() grain.Kind {
	return grain.KindOf("Tally", func(grain.Self) (*tally, error) { return &tally{}, nil },
		grain.Method("Add", func(c *tally, _ context.Context, by int) (int, error) {
			c.n += by
			return c.n, nil
		}))
}

// consulCluster runs nodes at Level 0 with a Consul of default settings.
func consulCluster(t *testing.T, server *servers.Consul, nodes int) *clustertest.Cluster {
	t.Helper()
	c := clustertest.Start(t, clustertest.Config{
		Members:  nodes,
		Kinds:    grain.Kinds{tallyKind()},
		Timeout:  patience,
		Lookup:   func() (core.Lookup, error) { return disthash.New(disthash.Config{}) },
		Provider: func() (core.Provider, error) { return consul.New(consul.Config{Address: server.Addr}) },
	})
	t.Cleanup(func() {
		for i := range c.Len() {
			_ = c.Stop(i) // how soon a node says goodbye to a busy server is not looked at here
		}
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

// rate is how many calls a second each node makes: no more than the machine can take beside other tests.
const rate = 1000

// enough calls are made while Consul is away.
const enough = 100_000

// call has each node of c call identities over and over.
func call(t *testing.T, c *clustertest.Cluster) *callers {
	ctx, end := context.WithCancel(t.Context())
	k := &callers{end: end}
	t.Cleanup(k.stop)
	ids := clustertest.Identities("Tally", 300)
	for i, n := range c.Nodes() {
		k.all.Go(func() {
			begin := time.Now()
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
				over(time.Until(begin.Add(time.Duration(at-i) * time.Second / rate)))
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
			until(t, "enough calls", func() bool { return load.calls.Load()-called >= enough })
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
			if failed := load.fail.Load(); failed > 0 {
				t.Errorf("%d calls failed, want none", failed)
			}
			t.Logf("%d calls in %v without Consul, %d failed; all leases %v after its return", called, returned.Sub(begin), load.fail.Load(), took)
		})
	}
}
