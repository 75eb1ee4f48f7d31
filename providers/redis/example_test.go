package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/providers/redis"
)

// What a provider promises rests on how the server is run.
func ExampleProvider() {
	client, cleanup, err := redis.Open(redis.Config{Address: "127.0.0.1:6379"}) // it connects later
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cleanup()
	for _, single := range []bool{false, true} {
		members, err := redis.NewProvider(redis.ProviderConfig{Name: "shop", SingleNode: single}, client)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%+v, a lease of %v\n", members.Promises(), members.LeaseTTL())
	}
	// Output:
	// {Ordered:true Linearizable:false Leases:false Compat:false}, a lease of 10s
	// {Ordered:true Linearizable:true Leases:false Compat:false}, a lease of 10s
}

// A store on an application's own client, here of a Sentinel deployment.
func ExampleStore() {
	own := goredis.NewFailoverClient(&goredis.FailoverOptions{MasterName: "main", SentinelAddrs: []string{"10.0.0.1:26379"}, MaxRetries: -1})
	defer own.Close()
	store, err := redis.NewStore(redis.StoreConfig{Prefix: "shop:"}, redis.Use(own))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, fences := any(store).(core.Fencer)
	fmt.Println("tokens are compared:", fences)
	_, err = redis.NewStore(redis.StoreConfig{TTL: 1}, redis.Use(own))
	fmt.Println(err)
	// Output:
	// tokens are compared: true
	// redis: StoreConfig.TTL is 1ns, want whole milliseconds, not negative: invalid
}

// A program that wants to know at its start whether the server can serve.
func ExampleClient() {
	client, cleanup, err := redis.Open(redis.Config{Address: "127.0.0.1:1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cleanup()
	err = client.Check(context.Background())
	fmt.Println(errors.Is(err, core.ErrUnreachable), strings.Contains(err.Error(), "127.0.0.1:1"))
	// Output: true true
}

// Sentinel and Cluster come as a client of the application's own. It does not retry: the parts that use it do, where
// that is right.
func ExampleUse() {
	sentinel := goredis.NewFailoverClient(&goredis.FailoverOptions{
		MasterName: "main", SentinelAddrs: []string{"10.0.0.1:26379", "10.0.0.2:26379", "10.0.0.3:26379"},
		MaxRetries: -1, ContextTimeoutEnabled: true,
	})
	defer sentinel.Close()
	members, err := redis.NewProvider(redis.ProviderConfig{Name: "shop"}, redis.Use(sentinel))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(members.Promises().Ordered, members.Promises().Linearizable)
	// Output: true false
}
