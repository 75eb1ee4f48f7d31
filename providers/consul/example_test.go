package consul_test

import (
	"fmt"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/providers/consul"
)

// A provider is made without any I/O: Consul is asked when the node starts.
func ExampleNew() {
	p, err := consul.New(consul.Config{Address: "127.0.0.1:8500", Name: "shop"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%+v\n", p.Promises())
	if leases, ok := p.(core.MemberLeases); ok {
		fmt.Println("leases of", leases.LeaseTTL())
	}
	// Output:
	// {Ordered:true Linearizable:true Leases:true Compat:false}
	// leases of 10s
}

// In mode Catalog members are found by those of Proto.Actor, and find them.
func ExampleMode() {
	p, err := consul.New(consul.Config{Name: "shop", Mode: consul.Catalog})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%v: %+v\n", consul.Catalog, p.Promises())
	// Output: catalog: {Ordered:false Linearizable:false Leases:false Compat:true}
}

// What cannot work is told at once.
func ExampleConfig() {
	_, err := consul.New(consul.Config{Name: "shop/eu", TTL: 1})
	fmt.Println(err)
	// Output:
	// consul: Config.Name is "shop/eu", and may hold no slash and no control characters: invalid
	// Config.TTL is 1ns, want 1s to 24h: invalid
}
