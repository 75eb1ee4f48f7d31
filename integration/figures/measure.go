package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/granary-go/granary/core"
)

// bounds of a run.
const (
	members    = 3                // that watch, while another joins or dies
	patience   = 2 * time.Minute  // for anything that is waited for
	quiet      = 20 * time.Second // in which the load is counted
	settling   = 5 * time.Second  // before it
	voteWindow = 11 * time.Second
	headRow    = "| figure | Granary |"
	headRule   = "|---|---|"
	peerRow    = " Proto.Actor Go |"
	peerRule   = "---|"
	emptyCell  = "–"
)

// measure takes all figures of s, and returns them as a table.
func measure(ctx context.Context, s subject, rounds int, progress io.Writer) (string, error) {
	say := func(format string, args ...any) { fmt.Fprintf(progress, format+"\n", args...) }
	own, err := ours(ctx, s, rounds, say)
	if err != nil {
		return "", err
	}
	var peer figures
	if s.peer != "" {
		if peer, err = theirs(ctx, s, rounds, say); err != nil {
			return "", fmt.Errorf("Proto.Actor: %w", err)
		}
	}
	return table(own, peer, s.peer != ""), nil
}

// figures are by the words of their row.
type figures map[string]string

// The rows, in the order of the table.
const (
	visible = "a member that registers is seen by the others after"
	expired = "a killed member is out of the others' views after, by the provider alone"
	voted   = "the same between nodes, whose refused connections count as votes"
	load    = "requests to the server, per member and second, at rest"
)

func table(own, peer figures, both bool) string {
	var out strings.Builder
	head, rule := headRow, headRule
	if both {
		head, rule = head+peerRow, rule+peerRule
	}
	fmt.Fprintf(&out, "%s\n%s\n", head, rule)
	for _, name := range []string{visible, expired, voted, load} {
		if own[name] == "" {
			continue
		}
		line := fmt.Sprintf("| %s | %s |", name, own[name])
		if cell := peer[name]; both {
			if cell == "" {
				cell = emptyCell
			}
			line += " " + cell + " |"
		}
		fmt.Fprintln(&out, line)
	}
	return out.String()
}

// ours are the figures of a provider of Granary's.
func ours(ctx context.Context, s subject, rounds int, say func(string, ...any)) (figures, error) {
	f := figures{}
	var at server
	if s.serve != nil {
		say("starting the server")
		var err error
		if at, err = s.serve(ctx); err != nil {
			return nil, err
		}
		defer func() { _ = at.stop() }() // the figures stand
	}
	w, err := s.watchers(ctx, at.at)
	if err != nil {
		return nil, err
	}
	err = func() (err error) {
		say("%d members joining, and seen", rounds)
		if f[visible], err = s.join(ctx, at.at, w, rounds); err != nil {
			return err
		}
		if at.load != nil {
			say("the load of %d members at rest, %v", members, quiet)
			if f[load], err = atRest(ctx, at.load); err != nil {
				return err
			}
		}
		say("%d members killed, and gone by the provider alone", rounds)
		f[expired], err = s.kill(ctx, child{Provider: s.name, At: at.at, Seeds: w.seeds}, w.seen, rounds)
		return err
	}()
	if err = errors.Join(err, w.leave()); err != nil {
		return nil, err
	}
	say("%d nodes killed, and gone by votes", rounds)
	nodes, err := s.nodes(ctx, at.at)
	if err != nil {
		return nil, err
	}
	f[voted], err = s.kill(ctx, child{Provider: s.name, At: at.at, Seeds: nodes.seeds, Node: true}, nodes.seen, rounds)
	return f, errors.Join(err, nodes.leave())
}

// watching are members of one cluster in this process.
type watching struct {
	seen  []*seen
	seeds []string
	ends  []func() error
}

func (w *watching) leave() (err error) {
	for _, end := range w.ends {
		err = errors.Join(err, end())
	}
	return err
}

// watchers are members without a node.
func (s subject) watchers(ctx context.Context, at string) (*watching, error) {
	w := &watching{}
	for range members {
		if err := s.watch(ctx, at, w); err != nil {
			return nil, errors.Join(err, w.leave())
		}
	}
	return w, nil
}

// watch has one more member join and watch.
func (s subject) watch(ctx context.Context, at string, w *watching) error {
	p, free, err := s.make(at, w.seeds)
	if err != nil {
		return err
	}
	self, into := row("watcher"), newSeen()
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := p.Join(limited, lent(), self, into.report); err != nil {
		free()
		return err
	}
	w.add(p, into, func(ctx context.Context) error {
		defer free()
		return p.Leave(ctx)
	})
	return all(limited, w.seen, self.ID, true)
}

// add takes in one more that watches.
func (w *watching) add(p core.Provider, into *seen, end func(context.Context) error) {
	w.seen = append(w.seen, into)
	w.ends = append(w.ends, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		return end(ctx)
	})
	if a, ok := p.(interface{ Addr() string }); ok && w.seeds == nil {
		w.seeds = []string{a.Addr()}
	}
}

// join takes how long it is from the call of Join until all others see the member.
func (s subject) join(ctx context.Context, at string, w *watching, rounds int) (string, error) {
	var times taken
	for range rounds {
		took, err := s.joinOne(ctx, at, w)
		if err != nil {
			return "", err
		}
		times = append(times, took)
	}
	return times.String(), nil
}

func (s subject) joinOne(ctx context.Context, at string, w *watching) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p, free, err := s.make(at, w.seeds)
	if err != nil {
		return 0, err
	}
	defer free()
	self := row("joiner")
	began := time.Now()
	if err := p.Join(ctx, lent(), self, newSeen().report); err != nil {
		return 0, err
	}
	err = all(ctx, w.seen, self.ID, true)
	took = time.Since(began)
	return took, errors.Join(err, p.Leave(ctx), all(ctx, w.seen, self.ID, false))
}

// kill takes how long it is from kill(2) until nobody sees the member.
func (s subject) kill(ctx context.Context, c child, watchers []*seen, rounds int) (string, error) {
	var times taken
	for i := range rounds {
		if c.Node && i > 0 { // of few members one is voted out in so long
			if err := pause(ctx, voteWindow); err != nil {
				return "", err
			}
		}
		took, err := s.killOne(ctx, c, watchers)
		if err != nil {
			return "", err
		}
		times = append(times, took)
	}
	return times.String(), nil
}

func (s subject) killOne(ctx context.Context, c child, watchers []*seen) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p, id, err := c.start(ctx)
	if err != nil {
		return 0, err
	}
	if err := all(ctx, watchers, id, true); err != nil {
		return 0, errors.Join(err, p.kill())
	}
	if err := p.kill(); err != nil {
		return 0, err
	}
	began := time.Now()
	err = all(ctx, watchers, id, false)
	return time.Since(began), err
}

// atRest counts what the members ask of the server.
func atRest(ctx context.Context, load func(context.Context) (int64, error)) (string, error) {
	if err := pause(ctx, settling); err != nil {
		return "", err
	}
	before, err := load(ctx)
	if err != nil {
		return "", err
	}
	if err := pause(ctx, quiet); err != nil {
		return "", err
	}
	after, err := load(ctx)
	return fmt.Sprintf("%.1f", float64(after-before)/members/quiet.Seconds()), err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
