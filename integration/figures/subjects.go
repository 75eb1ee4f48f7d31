package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/integration/servers"
	"github.com/granary-go/granary/providers/consul"
	"github.com/granary-go/granary/providers/memberlist"
	"github.com/granary-go/granary/providers/redis"
)

// subject is one provider with default settings.
type subject struct {
	name  string
	serve func(ctx context.Context) (server, error)                      // nil: it needs none
	make  func(at string, seeds []string) (core.Provider, func(), error) // of one member; at is where the server is
	peer  string                                                         // folder of a program of Proto.Actor's with the same; empty: it has none
}

// server is one that was started for a run.
type server struct {
	at   string
	load func(ctx context.Context) (requests int64, err error) // since its start
	stop func() error
}

var subjects = map[string]subject{
	"memberlist":     {name: "memberlist", make: memberlistMember},
	"consul":         {name: "consul", serve: serveConsul, make: consulMember(consul.Record), peer: "peers/protoactor"},
	"consul-catalog": {name: "consul-catalog", serve: serveConsul, make: consulMember(consul.Catalog), peer: "peers/protoactor"},
	"redis":          {name: "redis", serve: serveRedis, make: redisMember},
}

func names() []string { return slices.Sorted(maps.Keys(subjects)) }

func memberlistMember(_ string, seeds []string) (core.Provider, func(), error) {
	p, err := memberlist.New(memberlist.Config{Seeds: seeds})
	return p, func() {}, err
}

func serveRedis(ctx context.Context) (server, error) {
	r, err := servers.StartRedis(ctx, servers.RedisConfig{})
	if err != nil {
		return server{}, err
	}
	return server{at: r.Addr, load: func(ctx context.Context) (int64, error) { return redisLoad(ctx, r.Addr) }, stop: r.Stop}, nil
}

func redisMember(at string, _ []string) (core.Provider, func(), error) {
	client, end, err := redis.Open(redis.Config{Address: at})
	if err != nil {
		return nil, nil, err
	}
	p, err := redis.NewProvider(redis.ProviderConfig{}, client)
	if err != nil {
		end()
		return nil, nil, fmt.Errorf("make the provider: %w", err)
	}
	return p, end, nil
}

// serveConsul puts a proxy that counts before a Consul server.
func serveConsul(ctx context.Context) (server, error) {
	c, err := servers.StartConsul(ctx, servers.ConsulConfig{})
	if err != nil {
		return server{}, err
	}
	url, requests, end, err := counted(c.URL)
	if err != nil {
		return server{}, errors.Join(err, c.Stop())
	}
	return server{
		at:   url.String(),
		load: func(context.Context) (int64, error) { return requests.Load(), nil },
		stop: func() error { return errors.Join(end(), c.Stop()) },
	}, nil
}

func consulMember(mode consul.Mode) func(string, []string) (core.Provider, func(), error) {
	return func(at string, _ []string) (core.Provider, func(), error) {
		p, err := consul.New(consul.Config{Address: at, Mode: mode})
		return p, func() {}, err
	}
}
