// Protoactor measures Proto.Actor Go's Consul provider for the program figures, which starts it: how soon its
// members see one that joins, and one that is killed.
//
//	protoactor -consul http://127.0.0.1:8500 -rounds 5
//
// It prints "visible NANOSECONDS" and "killed NANOSECONDS" for each round, and then "rest" and, after the time
// of -rest, "rested": meanwhile its three members do nothing but be there.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/cluster"
	"github.com/asynkron/protoactor-go/cluster/clusterproviders/consul"
	"github.com/asynkron/protoactor-go/cluster/identitylookup/disthash"
	"github.com/asynkron/protoactor-go/remote"
	"github.com/hashicorp/consul/api"
)

// members watch while another joins or dies.
const members = 3

// patience is for anything that is waited for.
const patience = 2 * time.Minute

func main() {
	at := flag.String("consul", "", "`URL` of Consul's API")
	rounds := flag.Int("rounds", 5, "how often each time is taken")
	rest := flag.Duration("rest", 25*time.Second, "how long to be at rest in the end")
	victim := flag.Bool("victim", false, "be a member that stays until standard input ends")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	do := func() error { return measure(ctx, *at, *rounds, *rest) }
	if *victim {
		do = func() error { return be(*at) }
	}
	if err := do(); err != nil {
		stop()
		log.Fatal(err) //nolint:gocritic // stop has run
	}
}

// watcher is a member that counts the others.
type watcher struct {
	*cluster.Cluster

	mu      sync.Mutex // guards what follows
	n       int
	changed chan struct{}
}

func newWatcher(at string) (*watcher, error) {
	provider, err := consul.NewWithConfig(&api.Config{Address: at})
	if err != nil {
		return nil, err
	}
	w := &watcher{changed: make(chan struct{})}
	w.Cluster = cluster.New(actor.NewActorSystem(), cluster.Configure("figures", provider, disthash.New(), remote.Configure("127.0.0.1", 0)))
	w.ActorSystem.EventStream.Subscribe(func(event any) {
		if t, ok := event.(*cluster.ClusterTopology); ok {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.n = len(t.Members)
			close(w.changed)
			w.changed = make(chan struct{})
		}
	})
	w.StartMember()
	return w, nil
}

// until waits until n members are seen.
func (w *watcher) until(ctx context.Context, n int) error {
	for {
		w.mu.Lock()
		now, changed := w.n, w.changed
		w.mu.Unlock()
		if now == n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("a member sees %d, not %d: %w", now, n, ctx.Err())
		}
	}
}

func all(ctx context.Context, watchers []*watcher, n int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, w := range watchers {
		if err := w.until(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func measure(ctx context.Context, at string, rounds int, rest time.Duration) error {
	var watchers []*watcher
	for range members {
		w, err := newWatcher(at)
		if err != nil {
			return err
		}
		defer w.Shutdown(true)
		watchers = append(watchers, w)
	}
	if err := all(ctx, watchers, members); err != nil {
		return err
	}
	for range rounds {
		if err := round(ctx, at, watchers); err != nil {
			return err
		}
	}
	fmt.Println("rest")
	select {
	case <-time.After(rest):
	case <-ctx.Done():
		return ctx.Err()
	}
	fmt.Println("rested")
	return nil
}

// round has one more member join here and leave, and then one join in a process of its own, which is killed.
func round(ctx context.Context, at string, watchers []*watcher) error {
	began := time.Now()
	w, err := newWatcher(at)
	if err != nil {
		return err
	}
	err = all(ctx, watchers, members+1)
	took := time.Since(began)
	w.Shutdown(true)
	if err != nil {
		return err
	}
	fmt.Println("visible", took.Nanoseconds())
	if err := all(ctx, watchers, members); err != nil {
		return err
	}

	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, "-victim", "-consul", at)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe() // its end, with this process, ends the victim
	if err != nil {
		return err
	}
	defer in.Close()
	if err := cmd.Start(); err != nil {
		return err
	}
	err = all(ctx, watchers, members+1)
	_ = cmd.Process.Kill()
	began = time.Now()
	_ = cmd.Wait() // that it was killed is no news
	if err == nil {
		err = all(ctx, watchers, members)
	}
	if err != nil {
		return err
	}
	fmt.Println("killed", time.Since(began).Nanoseconds())
	return nil
}

// be is the member that is killed.
func be(at string) error {
	if _, err := newWatcher(at); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
