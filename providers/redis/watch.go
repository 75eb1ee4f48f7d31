package redis

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// quiet is after how long without a word the connection of a watch is asked whether it still is one.
const quiet = 10 * time.Second

// watch hears of news on one channel, by one connection. It may miss some: whoever relies on it polls besides.
type watch struct {
	client  *Client
	channel string
	news    chan struct{} // holds at most one

	mu  sync.Mutex // guards err
	err error      // why nothing is heard; nil: something is, or will be soon
}

func newWatch(c *Client, channel string) watch {
	return watch{client: c, channel: channel, news: make(chan struct{}, 1)}
}

// run hears until ctx ends, and subscribes again after each loss.
func (w *watch) run(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for wait := time.Duration(0); ctx.Err() == nil; wait = min(wait*2+50*time.Millisecond, time.Second) {
		pause.Reset(wait)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
		heard, err := w.hear(ctx)
		w.tell(err)
		if heard {
			wait = 0
		}
	}
}

// hear subscribes and listens until the connection is lost or ctx ends. heard: it was subscribed.
func (w *watch) hear(ctx context.Context) (heard bool, err error) {
	sub := w.client.redis.Subscribe(ctx, w.channel)
	defer sub.Close()
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })() // Receive does not end with ctx
	for asked := false; ; {
		m, err := sub.ReceiveTimeout(ctx, quiet)
		var slow net.Error
		switch {
		case err == nil:
			asked = false
		case errors.As(err, &slow) && slow.Timeout() && heard && !asked:
			asked = true
			if err := sub.Ping(ctx); err != nil {
				return heard, w.client.failure(ctx, err)
			}
			continue
		default:
			return heard, w.client.failure(ctx, err)
		}
		if _, pong := m.(*goredis.Pong); !pong {
			heard = true
			w.tell(nil)
		}
	}
}

// tell notes err, and wakes await: there may be news, or none any more.
func (w *watch) tell(err error) {
	w.mu.Lock()
	w.err = err
	w.mu.Unlock()
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// await waits for news, the end of the subscription, or that of ctx.
func (w *watch) await(ctx context.Context) error {
	w.mu.Lock()
	err := w.err
	w.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-w.news:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
