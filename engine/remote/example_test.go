package remote_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/remote"
)

// Two members of one cluster on a network in memory; one asks an actor of the other.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	network := remote.NewMemory(remote.MemoryConfig{})
	types := remote.NewTypes(&wrapperspb.StringValue{})

	var members []core.Member
	var remotes []*remote.Remote
	var systems []*actor.System
	for _, id := range []core.MemberID{"a", "b"} {
		r, err := remote.New(remote.Config{Cluster: "shop", Member: id, Transport: network.Host(string(id)), Types: types,
			Env: core.Env{Logger: slog.New(slog.DiscardHandler)}})
		if err != nil {
			log.Fatal(err)
		}
		address, err := r.Listen(ctx)
		if err != nil {
			log.Fatal(err)
		}
		sys, err := actor.New(actor.Config{Member: id, Address: address})
		if err != nil {
			log.Fatal(err)
		}
		if err := r.Start(sys); err != nil {
			log.Fatal(err)
		}
		members = append(members, core.Member{ID: id, Address: address, Status: core.Up})
		remotes, systems = append(remotes, r), append(systems, sys)
	}
	view, err := core.NewView(core.ViewRecord{Members: members})
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range remotes {
		r.SetMembers(core.Diff(nil, view))
	}

	_, err = systems[1].SpawnNamed("greeter", actor.FromFunc(func(c *actor.Context) {
		if m, ok := c.Message().(*wrapperspb.StringValue); ok {
			c.Respond(wrapperspb.String("hello " + m.GetValue()))
		}
	}))
	if err != nil {
		log.Fatal(err)
	}
	greeter := systems[0].Ref(core.PID{Address: members[1].Address, ID: "greeter", Member: "b"})
	answer, err := greeter.Ask(ctx, wrapperspb.String("a"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.(*wrapperspb.StringValue).GetValue())

	for i := range remotes {
		if err := remotes[i].Stop(ctx); err != nil {
			log.Fatal(err)
		}
		if err := systems[i].Stop(ctx); err != nil {
			log.Fatal(err)
		}
	}
	// Output: hello a
}

// A Memory delays, cuts and heals.
func ExampleMemory() {
	network := remote.NewMemory(remote.MemoryConfig{})
	listener, err := network.Host("b").Listen(context.Background(), "b:0")
	if err != nil {
		log.Fatal(err)
	}
	conn, err := network.Host("a").Dial(context.Background(), listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	peer, err := listener.Accept()
	if err != nil {
		log.Fatal(err)
	}
	network.Cut("a", "b")
	_, _ = io.WriteString(conn, "held")
	_ = peer.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	_, err = peer.Read(make([]byte, 4))
	ne, _ := err.(net.Error)
	fmt.Println("timeout:", ne != nil && ne.Timeout())

	network.Heal("a", "b")
	_ = peer.SetReadDeadline(time.Time{})
	b := make([]byte, 4)
	_, err = io.ReadFull(peer, b)
	fmt.Println(string(b), err)
	_, _, _ = conn.Close(), peer.Close(), listener.Close()
	// Output:
	// timeout: true
	// held <nil>
}

// A certificate names its holder's cluster and role in a URI.
func ExampleRoleURI() {
	fmt.Println(remote.RoleURI("shop", remote.RoleMember, ""))
	fmt.Println(remote.RoleURI("shop", remote.RoleClient, "reporting"))
	// Output:
	// cluster/shop/member/member
	// cluster/shop/member/client/reporting
}
