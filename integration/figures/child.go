package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/lookups/disthash"
)

// childVariable tells a process of this program which member to be.
const childVariable = "GRANARY_FIGURES_CHILD"

// child is a member in a process of its own, to be killed.
type child struct {
	Provider string
	At       string   // the server
	Seeds    []string // where there is none
	Node     bool     // a whole node, not the provider alone
}

// process is a child that runs.
type process struct {
	cmd *exec.Cmd
	in  io.Closer // its end ends the child
}

// start returns when the child has joined, with its ID.
func (c child) start(ctx context.Context) (*process, core.MemberID, error) {
	told, err := json.Marshal(c)
	if err != nil {
		return nil, "", err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	return launch(exec.CommandContext(ctx, program), childVariable+"="+string(told))
}

// launch starts a program that prints its ID when it has joined, and stays until its standard input ends.
func launch(cmd *exec.Cmd, env ...string) (*process, core.MemberID, error) {
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	p := &process{cmd, in}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = p.kill()
		return nil, "", fmt.Errorf("a child ended before it had joined: %w", err)
	}
	return p, core.MemberID(strings.TrimSpace(line)), nil
}

// kill ends a child with SIGKILL.
func (p *process) kill() error {
	err := p.cmd.Process.Kill()
	_ = p.cmd.Wait() // that it was killed is no news
	return err
}

// runChild is a child process: it joins, says so, and stays.
func runChild(ctx context.Context, told string, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithTimeout(ctx, 10*patience)
	defer cancel()
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }() // ends with the parent
	if err := be(ctx, told, stdout); err != nil {
		fmt.Fprintln(stderr, "child:", err)
		return 1
	}
	<-ctx.Done()
	return 0
}

func be(ctx context.Context, told string, stdout io.Writer) error {
	var c child
	if err := json.Unmarshal([]byte(told), &c); err != nil {
		return err
	}
	p, _, err := subjects[c.Provider].make(c.At, c.Seeds)
	if err != nil {
		return err
	}
	if !c.Node {
		self := row("victim")
		if err = p.Join(ctx, lent(), self, newSeen().report); err == nil {
			_, err = fmt.Fprintln(stdout, self.ID)
		}
		return err
	}
	node, err := newNode(p, newSeen())
	if err == nil {
		err = node.Start(ctx)
	}
	if err == nil {
		_, err = fmt.Fprintln(stdout, node.ID())
	}
	return err
}

// newNode makes a node on p that reports its topologies.
func newNode(p core.Provider, into *seen) (*cluster.Node, error) {
	lookup, err := disthash.New(disthash.Config{})
	if err != nil {
		return nil, err
	}
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	return cluster.New(cluster.Config{Name: "figures", Logger: quiet}, cluster.Components{
		Provider: p, Lookup: lookup,
		Telemetry: cluster.Telemetry{Observer: grain.Observer{Topology: func(t core.Topology) { into.report(t.View) }}},
	})
}

// nodes are nodes of one cluster in this process.
func (s subject) nodes(ctx context.Context, at string) (*watching, error) {
	w := &watching{}
	for range members {
		if err := s.node(ctx, at, w); err != nil {
			return nil, fmt.Errorf("start a node: %w", err)
		}
	}
	return w, nil
}

func (s subject) node(ctx context.Context, at string, w *watching) error {
	p, free, err := s.make(at, w.seeds)
	if err != nil {
		return err
	}
	into := newSeen()
	node, err := newNode(p, into)
	if err != nil {
		free()
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := node.Start(ctx); err != nil {
		free()
		return err
	}
	w.add(p, into, func(ctx context.Context) error {
		defer free()
		return node.Stop(ctx)
	})
	return all(ctx, w.seen, node.ID(), true)
}
