package remote

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
)

// victimVar makes this test binary a member with the default limits, whose heap is its own: see victim.
const victimVar = "GRANARY_REMOTE_VICTIM"

// victim is a member in a process of its own.
type victim struct {
	t    *testing.T
	addr string
	in   io.Writer
	out  *bufio.Scanner
}

// startVictim starts a member that serves clients: "echo" answers, "slow" only after release.
func startVictim(t *testing.T) *victim {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0]) // it ends with its input
	cmd.Env = append(os.Environ(), victimVar+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // it ends then
		if err := cmd.Wait(); err != nil {
			t.Errorf("the member: %v", err)
		}
	})
	v := &victim{t: t, in: in, out: bufio.NewScanner(out)}
	v.addr = v.line()
	return v
}

// line is what the process says next.
func (v *victim) line() string {
	v.t.Helper()
	if !v.out.Scan() {
		v.t.Fatalf("the member has ended: %v", v.out.Err())
	}
	return v.out.Text()
}

// tell has the process do something and waits until it has.
func (v *victim) tell(what string) string {
	v.t.Helper()
	if _, err := io.WriteString(v.in, what+"\n"); err != nil {
		v.t.Fatal(err)
	}
	return v.line()
}

// grown is by how many bytes the heap, garbage included, had grown at most since measure.
func (v *victim) grown() (most, held int64, links int) {
	v.t.Helper()
	if _, err := fmt.Sscan(v.tell("grown"), &most, &held, &links); err != nil {
		v.t.Fatal(err)
	}
	return most, held, links
}

// beVictim is the process of a victim. It ends when nobody writes to it any more.
func beVictim() {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	cfg := Config{
		Cluster: "test", Member: "target", Types: NewTypes(&wrapperspb.BytesValue{}, &wrapperspb.StringValue{}),
		Authorize: func(Peer, string, string) error { return nil },
		Env:       core.Env{Logger: slog.New(slog.DiscardHandler)},
	}
	r, err := New(cfg)
	fail(err)
	ctx := context.Background() // of a process that ends with its input
	addr, err := r.Listen(ctx)
	fail(err)
	sys, err := actor.New(actor.Config{Member: "target", Address: addr, Logger: cfg.Env.Logger})
	fail(err)
	open := make(chan struct{})
	for name, wait := range map[string]bool{"echo": false, "slow": true} {
		_, err = sys.SpawnNamed(name, &actor.Props{Mailbox: actor.MailboxConfig{Kind: actor.Unbounded}, New: func() actor.Actor {
			return actor.Func(func(c *actor.Context) {
				if _, ok := c.Message().(*wrapperspb.BytesValue); !ok {
					return
				}
				if wait {
					<-open
				}
				c.Respond(c.Message())
			})
		}})
		fail(err)
	}
	fail(r.Start(sys))
	v, err := core.NewView(core.ViewRecord{Members: []core.Member{{ID: "target", Address: addr, Status: core.Up, Protocol: Protocol()}}})
	fail(err)
	r.SetMembers(core.Diff(nil, v))
	fmt.Println(addr)
	var before, most atomic.Int64
	go func() {
		for {
			most.Store(max(most.Load(), heapAlloc()))
			time.Sleep(time.Millisecond)
		}
	}()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "measure":
			runtime.GC()
			runtime.GC()
			before.Store(heapAlloc())
			most.Store(0)
			fmt.Println("measured")
		case "grown":
			r.mu.Lock()
			links := len(r.incoming)
			r.mu.Unlock()
			fmt.Println(most.Load()-before.Load(), r.clients.Used(), links)
		case "release":
			close(open)
			fmt.Println("released")
		}
	}
	fail(r.Stop(ctx))
	fail(sys.Stop(ctx))
}

// heapAlloc is what runtime.MemStats calls so: objects, also those that no collection has found dead yet.
func heapAlloc() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64())
}
