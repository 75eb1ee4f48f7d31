//go:build !race

// What is measured here is heap, which the race detector multiplies.

package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/protos/remotepb"
)

// The tests below run with the default limits: what peers may make a member hold is measured, and may be
// 32 MiB at most.
const heapBar = 32 << 20

// besieged is a member that serves clients, one of which calls it with large values and reads all answers
// until the test ends; none of its calls may fail.
func besieged(t *testing.T, edit func(*Config)) *node {
	t.Helper()
	n := startNode(t, "target", func(c *Config) {
		c.Authorize = func(Peer, string, string) error { return nil }
		if edit != nil {
			edit(c)
		}
	})
	n.echo("echo")
	honest := startNode(t, "honest", func(c *Config) { c.Client = true })
	join(t, n, honest)
	done, stop := make(chan struct{}), make(chan struct{})
	ctx := context.WithoutCancel(t.Context())
	var calls atomic.Int64
	go func() {
		defer close(done)
		large := wrapperspb.Bytes(make([]byte, 300_000))
		for {
			select {
			case <-stop:
				return
			default:
			}
			_, err := honest.sys.Ask(ctx, honest.at(n, "echo"), large)
			if errors.Is(err, core.ErrBusy) && core.DeliveryOf(err) == core.Undelivered {
				time.Sleep(time.Millisecond) // as the caller of a grain would
				continue
			}
			if err != nil {
				t.Errorf("a call of a client that reads its answers: %v\nlog: %s", err, n.log.text())
				return
			}
			calls.Add(1)
		}
	}()
	eventually(t, "calls flow", func() bool { return calls.Load() > 3 })
	t.Cleanup(func() {
		now := calls.Load()
		eventually(t, "calls flow at the end", func() bool { return calls.Load() > now+3 || t.Failed() })
		close(stop)
		<-done
		if held := n.r.clients.Used(); held < 0 {
			t.Errorf("%d bytes are held for clients", held)
		}
	})
	return n
}

// growth measures the live heap from now on: settled is by how much it has grown when it is called, after three
// collections, which also empty the pools; peak by how much it had grown at most before. What is live is what a
// collection found: garbage between two of them does not count.
func growth() (settled func() (now, peak uint64)) {
	live := func(before uint64) uint64 {
		runtime.GC()
		s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
		metrics.Read(s)
		return max(s[0].Value.Uint64()+s[1].Value.Uint64(), before) - before
	}
	before := live(0)
	stop, out := make(chan struct{}), make(chan uint64)
	go func() {
		peak := uint64(0)
		for {
			peak = max(peak, live(before))
			select {
			case <-stop:
				out <- peak
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() (now, peak uint64) {
		close(stop)
		peak = <-out
		live(before)
		live(before)
		return live(before), peak
	}
}

// wantGrowth holds what peers keep a member holding to the bar. While they flood it, frames in hand and the pools of
// gRPC come on top, by how the machine's other work is scheduled; that is only logged.
func wantGrowth(t *testing.T, settled func() (now, peak uint64)) {
	t.Helper()
	now, peak := settled()
	t.Logf("the heap has grown by %.1f MiB, %.1f MiB at most", float64(now)/(1<<20), float64(peak)/(1<<20))
	if now > heapBar {
		t.Errorf("the heap has grown by %.1f MiB, %d MiB are allowed", float64(now)/(1<<20), heapBar>>20)
	}
}

// bytesAsk is a frame with one message of size bytes, an ask if request is not 0.
func bytesAsk(n *node, to string, request uint64, size int) []byte {
	data := protowire.AppendVarint([]byte{1<<3 | 2}, uint64(size))
	x := &target{node: n, t: n.t, raw: core.Member{Address: "raw"}}
	return x.batch(to, request, func(b *remotepb.MessageBatch) {
		b.TypeNames = []string{"google.protobuf.BytesValue"}
		b.Senders = nil
		b.Envelopes[0].MessageData = append(data, make([]byte, size)...)
	})
}

// muteConn is a connection whose own side buffers next to nothing of what it does not read.
func muteConn(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
		grpc.WithStaticStreamWindowSize(65_535), grpc.WithStaticConnWindowSize(65_535))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// clientsOf opens streams as clients of their own on each of conns connections.
func clientsOf(t *testing.T, n *node, conns, streams int) (out []*rawStream) {
	t.Helper()
	for c := range conns {
		cc := muteConn(t, n.addr)
		for s := range streams {
			link := openRaw(t, cc)
			r, err := link.hello(hello{member: core.MemberID(fmt.Sprintf("mute-%d-%d", c, s)), client: true, cluster: "test", protocol: Protocol(), epoch: 1, target: n.id})
			if err != nil || r.GetRefusal() != nil {
				t.Fatalf("handshake: %v, %v", r, err)
			}
			out = append(out, link)
		}
	}
	return out
}

// TestRow15_ClientsThatNeverRead: clients that ask for large answers and read none, on one connection or on
// many, hold little memory, not for long, and no other client's call fails.
func TestRow15_ClientsThatNeverRead(t *testing.T) {
	for name, shape := range map[string]struct{ conns, streams int }{"one connection": {1, 40}, "many connections": {40, 1}} {
		t.Run(name, func(t *testing.T) {
			n := besieged(t, nil)
			links := clientsOf(t, n, shape.conns, shape.streams)
			frame := bytesAsk(n, "echo", 1, 1_000_000)
			settled := growth()
			var wg sync.WaitGroup
			for _, s := range links {
				wg.Go(func() {
					for range 12 {
						s.send(frame)
					}
				})
			}
			wg.Wait()
			wantGrowth(t, settled)
			eventually(t, "next to nothing is held", func() bool { return n.r.clients.Used() < 2<<20 })
		})
	}
}

// TestRow15_OneUnreadAnswer: a client that leaves one answer unread is ended by time alone.
func TestRow15_OneUnreadAnswer(t *testing.T) {
	n := besieged(t, func(c *Config) { c.Limits.ClientStall = 2 * time.Second })
	s := clientsOf(t, n, 1, 1)[0]
	s.send(bytesAsk(n, "echo", 1, 1_000_000))
	eventually(t, "the link is ended", func() bool { return countLines(n.log, "nothing was read in time") > 0 })
}

// TestRow15_ArgumentsPileUp: what clients send to a process that is slow to answer is bounded too, also what
// awaits no answer; beyond it they are told to try again. When it has been handled, there is room.
func TestRow15_ArgumentsPileUp(t *testing.T) {
	for name, shape := range map[string]struct{ conns, streams, first int }{
		"one connection": {1, 6, 1}, "many connections": {40, 1, 1}, "no answer awaited": {1, 4, 0},
	} {
		t.Run(name, func(t *testing.T) {
			n := besieged(t, nil)
			open := make(chan struct{})
			release := sync.OnceFunc(func() { close(open) })
			t.Cleanup(release)
			_, err := n.sys.SpawnNamed("slow", &actor.Props{Mailbox: actor.MailboxConfig{Kind: actor.Unbounded}, New: func() actor.Actor {
				return actor.Func(func(c *actor.Context) {
					if _, ok := c.Message().(*wrapperspb.BytesValue); ok {
						<-open
						c.Respond(str("done"))
					}
				})
			}})
			if err != nil {
				t.Fatal(err)
			}
			links := clientsOf(t, n, shape.conns, shape.streams)
			frame := bytesAsk(n, "slow", uint64(shape.first), 1_000_000)
			settled := growth()
			var wg, sent sync.WaitGroup
			sent.Add(len(links))
			for _, s := range links {
				wg.Go(func() {
					for range 12 {
						s.send(frame)
					}
					sent.Done()
					if shape.first == 0 {
						s.send(bytesAsk(n, "echo", 7, 1))
						return
					}
					if typ, data, err := s.answer(1); err == nil && typ != "google.protobuf.StringValue" {
						got, ok := coreErrors{}.DecodeError(typ, data)
						if !ok || !errors.Is(got, core.ErrBusy) || core.DeliveryOf(got) != core.Undelivered {
							t.Errorf("answer %s %v", typ, got)
						}
					}
				})
			}
			eventually(t, "much is held", func() bool { return n.r.clients.Used() > 8<<20 })
			sent.Wait()
			wantGrowth(t, settled)
			release()
			wg.Wait()
		})
	}
}

// part is a connection by hand that keeps to flow control.
type part struct {
	*h2
	mu     sync.Mutex
	cond   *sync.Cond
	closed bool
	conn   int
	stream map[uint32]int
}

// follow reads all that comes.
func follow(c *h2) *part {
	p := &part{h2: c, conn: 65_535, stream: map[uint32]int{}}
	p.cond = sync.NewCond(&p.mu)
	go func() {
		for {
			f, err := c.fr.ReadFrame()
			p.mu.Lock()
			switch f := f.(type) {
			case *http2.WindowUpdateFrame:
				if f.StreamID == 0 {
					p.conn += int(f.Increment)
				} else {
					p.stream[f.StreamID] += int(f.Increment)
				}
			case *http2.SettingsFrame:
				if !f.IsAck() {
					_ = c.fr.WriteSettingsAck()
				}
			case *http2.RSTStreamFrame:
				p.stream[f.StreamID] = 1 << 30
			}
			p.closed = err != nil
			p.cond.Broadcast()
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return p
}

// send sends b on a stream in pieces; false: the connection has ended.
func (p *part) send(id uint32, b []byte, piece int) bool {
	for len(b) > 0 {
		n := min(len(b), piece)
		p.mu.Lock()
		for !p.closed && (p.conn < n || p.stream[id] < n) {
			p.cond.Wait()
		}
		if p.closed {
			p.mu.Unlock()
			return false
		}
		p.conn -= n
		p.stream[id] -= n
		err := p.fr.WriteData(id, false, b[:n])
		p.mu.Unlock()
		if err != nil {
			return false
		}
		b = b[n:]
	}
	return true
}

// begin opens a stream and shakes hands as a client.
func (p *part) begin(t *testing.T, n *node, id string) uint32 {
	t.Helper()
	frame, err := hello{member: core.MemberID(id), client: true, cluster: "test", protocol: Protocol(), epoch: 1, target: n.id}.frame()
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	stream, err := p.open("/remote.Remoting/Receive")
	p.stream[stream] = 1 << 20
	p.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	p.send(stream, grpcFrameBytes(0, frame), 16_000)
	eventually(t, "it is let in", func() bool {
		n.r.mu.Lock()
		defer n.r.mu.Unlock()
		return n.r.incoming[core.MemberID(id)] != nil
	})
	return stream
}

// TestRow15_FramesThatNeverEnd: frames of the largest size but one byte, on one connection or on many, and in
// pieces of any size, hold little memory, and their connections end; no other client's call fails.
func TestRow15_FramesThatNeverEnd(t *testing.T) {
	for name, shape := range map[string]struct{ conns, streams, size, piece int }{
		"one connection":   {1, 60, 4 << 20, 16_000},
		"many connections": {16, 1, 4 << 20, 16_000},
		"small pieces":     {1, 20, 1 << 20, 7},
		"wasteful pieces":  {8, 4, 2 << 20, 4_097},
	} {
		t.Run(name, func(t *testing.T) {
			n := besieged(t, nil)
			body := bytes.Repeat([]byte{0}, shape.size-1)
			head := []byte{0, byte(shape.size >> 24), byte(shape.size >> 16), byte(shape.size >> 8), byte(shape.size)}
			type link struct {
				p  *part
				id uint32
			}
			var links []link
			for c := range shape.conns {
				p := follow(dialH2(t, n.addr))
				for s := range shape.streams {
					links = append(links, link{p, p.begin(t, n, fmt.Sprintf("torso-%d-%d", c, s))})
				}
			}
			settled := growth()
			var wg sync.WaitGroup
			for _, l := range links {
				wg.Go(func() {
					_ = l.p.send(l.id, head, 5) && l.p.send(l.id, body, shape.piece)
				})
			}
			eventually(t, "all of them have been ended", func() bool {
				n.r.mu.Lock()
				defer n.r.mu.Unlock()
				return len(n.r.incoming) == 1
			})
			wg.Wait()
			wantGrowth(t, settled)
		})
	}
}
