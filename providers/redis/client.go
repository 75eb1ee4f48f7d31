package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/granary-go/granary/core"
)

// Config says where the server is, and how to be let in. Only Address is needed.
type Config struct {
	// Address is host:port of one server; with TLS the host is what its certificate names.
	Address string

	Username string // of an ACL; empty: the default user
	Password string
	Database int         // SELECTed after connecting: 0
	TLS      *tls.Config // nil: plain

	// Timeout bounds connecting, and each command beside its context: 3 s.
	Timeout time.Duration
}

// Client is a connection pool to a Redis server, or to a Sentinel or Cluster deployment. Several stores
// and providers may share one. Safe for concurrent use.
type Client struct {
	redis goredis.UniversalClient
	name  string // of the server, for errors
}

// Open makes a client of one server. It connects to it at the first command, not before; the function it
// returns closes the client. It returns core.ErrInvalid for a Config that cannot work.
func Open(cfg Config) (*Client, func(), error) {
	if cfg.Address == "" || !strings.Contains(cfg.Address, ":") {
		return nil, nil, fmt.Errorf("redis: Config.Address is %q, want host:port: %w", cfg.Address, core.ErrInvalid)
	}
	if cfg.Database < 0 || cfg.Timeout < 0 {
		return nil, nil, fmt.Errorf("redis: Config.Database is %d, Timeout %v, neither may be negative: %w", cfg.Database, cfg.Timeout, core.ErrInvalid)
	}
	timeout := cmp.Or(cfg.Timeout, 3*time.Second)
	c := goredis.NewClient(&goredis.Options{
		Addr: cfg.Address, Username: cfg.Username, Password: cfg.Password, DB: cfg.Database, Dialer: dialer(cfg.TLS, timeout),
		DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, ContextTimeoutEnabled: true,
		MaxRetries:               -1, // a write whose answer was lost must not be told as a conflict with itself
		DialerRetries:            1,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	return &Client{redis: c, name: cfg.Address}, func() { _ = c.Close() }, nil // what was written was answered
}

// dialer connects, with TLS where there is a config of it.
func dialer(config *tls.Config, timeout time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil || config == nil {
			return conn, err
		}
		config := config.Clone()
		if config.ServerName == "" {
			config.ServerName, _, _ = net.SplitHostPort(address)
		}
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close() // the reason is err
			return nil, fmt.Errorf("TLS handshake: %w", err)
		}
		return secure, nil
	}
}

// Use makes a client of an application's own go-redis client: for Sentinel, Cluster, and what Config does
// not say. The application closes it. It should not retry (MaxRetries: -1): else a Delete at a revision whose
// answer was lost may end as a conflict with itself.
func Use(client goredis.UniversalClient) *Client {
	name := "the application's client"
	switch c := client.(type) {
	case *goredis.Client:
		name = c.Options().Addr // of a Sentinel deployment the word FailoverClient
	case *goredis.ClusterClient:
		name = strings.Join(c.Options().Addrs, ",")
	}
	return &Client{redis: client, name: name}
}

// oldest is the first version of Redis that has all that is used here.
const oldest = 6

// Check asks the server whether it can serve: reachable, of Redis 6 or later, the user let in and allowed to
// run scripts. A program that wants to know at its start calls it there; a Provider asks by itself.
func (c *Client) Check(ctx context.Context) error {
	err := c.version(ctx)
	if err == nil {
		if err = goredis.NewScript("return 1").Run(ctx, c.redis, []string{"granary:check"}).Err(); err != nil {
			err = c.failure(ctx, err)
		}
	}
	if err != nil {
		return fmt.Errorf("redis: check: %w", err)
	}
	return nil
}

// version asks the server for its own, and refuses one that is too old.
func (c *Client) version(ctx context.Context) error {
	info, err := c.redis.Info(ctx, "server").Result()
	if err != nil {
		return c.failure(ctx, err)
	}
	_, version, _ := strings.Cut(info, "redis_version:")
	version, _, _ = strings.Cut(version, "\r")
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err != nil || n < oldest {
		return fmt.Errorf("%s is of version %q; use one of Redis %d or later: %w", c.name, version, oldest, core.ErrUnsupported)
	}
	return nil
}

// failure gives an error of the client its kind, and says whose it is and what to do about it.
func (c *Client) failure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w: %w", c.name, err, ctx.Err())
	}
	for _, f := range failures {
		if strings.Contains(err.Error(), f.mark) {
			return fmt.Errorf("%s: %w: %s: %w", c.name, err, f.way, f.kind)
		}
	}
	var answer goredis.Error
	if errors.As(err, &answer) {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return fmt.Errorf("%s: %w: see that the server runs, and that it can be reached from here: %w", c.name, err, core.ErrUnreachable)
}

var failures = []struct {
	mark string
	kind error
	way  string
}{
	{"WRONGTYPE", core.ErrInvalid, "the key is somebody else's; choose another prefix"},
	{"OOM ", core.ErrOverloaded, "maxmemory is reached; raise it, and keep maxmemory-policy noeviction"},
	{"READONLY", core.ErrUnreachable, "the server is a replica; connect to the master, or by Sentinel"},
	{"can't run this command", core.ErrInvalid, "the user's ACL forbids it; allow the commands that the documentation of this package lists"},
	{"NOPERM", core.ErrInvalid, "the user's ACL forbids it; allow the commands that the documentation of this package lists"},
	{"WRONGPASS", core.ErrInvalid, "check Config.Username and Config.Password"},
	{"NOAUTH", core.ErrInvalid, "the server wants a password: Config.Password"},
	{"LOADING", core.ErrUnreachable, "the server is starting"},
	{"MASTERDOWN", core.ErrUnreachable, "the replica has lost its master"},
	{"CLUSTERDOWN", core.ErrUnreachable, "the cluster has slots without a master"},
	{"does not look like a TLS handshake", core.ErrInvalid, "that port speaks no TLS; leave Config.TLS out"},
	{"tls: ", core.ErrInvalid, "check Config.TLS: its authorities, and its certificate where the server wants one"},
	{"TLS handshake", core.ErrUnreachable, "check Config.TLS; without TLS on that port leave it out"},
	{"EOF", core.ErrUnreachable, "the server closed the connection; where it wants TLS, set Config.TLS"},
	{"connection reset", core.ErrUnreachable, "the server closed the connection; where it wants TLS, set Config.TLS"},
	{"MISCONF", core.ErrUnreachable, "the server cannot write to its disk"},
}
