package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	goredis "github.com/redis/go-redis/v9"
)

// redisLoad is how many commands a Redis server has been sent, but for this one.
func redisLoad(ctx context.Context, at string) (int64, error) {
	client := goredis.NewClient(&goredis.Options{Addr: at, DisableIdentity: true})
	defer client.Close()
	info, err := client.Info(ctx, "stats").Result()
	if err != nil {
		return 0, fmt.Errorf("ask redis for its load: %w", err)
	}
	_, text, _ := strings.Cut(info, "total_commands_processed:")
	text, _, _ = strings.Cut(text, "\r")
	return strconv.ParseInt(text, 10, 64)
}

// counted puts a proxy that counts requests before an HTTP server.
func counted(at string) (*url.URL, *atomic.Int64, func() error, error) {
	target, err := url.Parse(at)
	if err != nil {
		return nil, nil, nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, nil, err
	}
	requests := &atomic.Int64{}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) } // who asked has gone
	serving := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = serving.Serve(listener) }() // ends with Close
	return &url.URL{Scheme: "http", Host: listener.Addr().String()}, requests, serving.Close, nil
}
