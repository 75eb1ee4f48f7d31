package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/cluster"
	"github.com/asynkron/protoactor-go/cluster/clusterproviders/automanaged"
	"github.com/asynkron/protoactor-go/cluster/clusterproviders/test"
	"github.com/asynkron/protoactor-go/cluster/identitylookup/disthash"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/bench/kit"
)

// formLimit is how long members may take to see each other.
const formLimit = 20 * time.Second

// providerRefresh is the default of [automanaged.New].
const providerRefresh = 2 * time.Second

// newMember makes one member with the kinds that it hosts.
func newMember(index int, provider cluster.ClusterProvider) *cluster.Cluster {
	var kinds []*cluster.Kind
	for _, k := range kit.Kinds() {
		if k.Hosts(index) {
			kinds = append(kinds, newKind(k, index))
		}
	}
	cfg := cluster.Configure("bench", provider, disthash.New(), remote.Configure(loopback, 0), cluster.WithKinds(kinds...))
	return cluster.New(actor.NewActorSystem(), cfg)
}

// members is a cluster in this process.
type members []*cluster.Cluster

// Cluster implements [kit.Subject].
func (subject) Cluster(n int) (kit.Cluster, error) {
	agent := test.NewInMemAgent()
	all := make(members, n)
	var wg sync.WaitGroup
	for i := range all {
		all[i] = newMember(i, test.NewTestProvider(agent))
		wg.Go(all[i].StartMember)
	}
	wg.Wait()
	deadline := time.Now().Add(formLimit)
	for _, m := range all {
		for m.MemberList.Length() != n {
			if time.Now().After(deadline) {
				return nil, fmt.Errorf("form: a member sees %d of %d", m.MemberList.Length(), n)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return all, nil
}

// Grain implements [kit.Cluster].
func (m members) Grain(kind kit.Kind, key string) (kit.Caller, error) {
	return &grainClient{m[0], string(kind), key, wrapperspb.Bytes(kit.Payload(16))}, nil
}

// member is one process of a cluster.
type member struct{ cluster *cluster.Cluster }

// Member implements [kit.Subject].
func (subject) Member(cfg kit.MemberConfig) (kit.Member, error) {
	hosts := make([]string, len(cfg.Ports))
	for i, p := range cfg.Ports {
		hosts[i] = fmt.Sprintf("%s:%d", loopback, p)
	}
	c := newMember(cfg.Index, automanaged.NewWithConfig(providerRefresh, cfg.Ports[cfg.Index], hosts...))
	c.StartMember()
	return &member{c}, nil
}

// Members implements [kit.Member].
func (m *member) Members() int { return m.cluster.MemberList.Length() }

// Where implements [kit.Member].
func (m *member) Where(key string) (int, error) {
	g := &grainClient{cluster: m.cluster, kind: string(kit.OnAll), key: key}
	reply, err := g.invoke(methodWhere, &wrapperspb.BytesValue{})
	if err != nil {
		return 0, err
	}
	if len(reply.Value) != 1 {
		return 0, fmt.Errorf("where: reply of %d bytes", len(reply.Value))
	}
	return int(reply.Value[0]), nil
}
