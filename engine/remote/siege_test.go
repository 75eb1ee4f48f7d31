//go:build !race

// What is measured here is heap, which the race detector multiplies.

package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/protos/remotepb"
)

// siege is a flood of one kind, against a member with the default limits in a process of its own, while a
// client calls it.
type siege struct {
	*victim
	n *node // stands for the victim where a kit wants a node
}

// calm is what the heap may grow by at most.
const calm = 32 << 20

// floods are what peers do to a member. Each returns when it is over.
var floods = map[string]func(s *siege){
	"answers unread, one connection":     func(s *siege) { s.unread(1, 40) },
	"answers unread, many connections":   func(s *siege) { s.unread(40, 1) },
	"arguments pile up, one connection":  func(s *siege) { s.pile(1, 6, 1) },
	"arguments pile up, many":            func(s *siege) { s.pile(40, 1, 1) },
	"messages pile up":                   func(s *siege) { s.pile(40, 1, 0) },
	"small messages pile up":             func(s *siege) { s.batches(16, s.small(0)) },
	"headers of messages pile up":        func(s *siege) { s.batches(16, s.small(60)) },
	"frames without end, one connection": func(s *siege) { s.torsos(1, 60, 4<<20, 16_000) },
	"frames without end, many":           func(s *siege) { s.torsos(16, 4, 4<<20, 16_000) },
	"frames without end, small pieces":   func(s *siege) { s.torsos(1, 20, 1<<20, 7) },
	"frames without end, wasteful":       func(s *siege) { s.torsos(8, 4, 2<<20, 4_097) },
	"large frames, one connection":       func(s *siege) { s.large(1, 60) },
	"large frames, many":                 func(s *siege) { s.large(30, 4) },
	"idle connections":                   func(s *siege) { s.idle(600, 1, 0) },
	"idle streams":                       func(s *siege) { s.idle(40, 60, 0) },
	"large headers":                      func(s *siege) { s.idle(20, 14, 14_000) },
	"resets, unread":                     func(s *siege) { s.frames(func(p *h2) error { return p.reset("/remote.Remoting/Receive") }) },
	"unknown methods, unread":            func(s *siege) { s.frames(func(p *h2) error { _, err := p.open("/unknown/method"); return err }) },
	"window updates, unread":             func(s *siege) { s.frames(func(p *h2) error { return p.fr.WriteWindowUpdate(0, 1) }) },
	"settings, unread":                   func(s *siege) { s.frames(func(p *h2) error { return p.fr.WriteSettings() }) },
	"strangers":                          (*siege).strangers,
}

func (p *h2) reset(path string) error {
	id, err := p.open(path)
	if err != nil {
		return err
	}
	return p.fr.WriteRSTStream(id, http2.ErrCodeCancel)
}

// TestRow15_HeapAtItsHighest: whatever peers do, the heap of a member with default limits, garbage
// included, never grows by 32 MiB.
func TestRow15_HeapAtItsHighest(t *testing.T) {
	for name, flood := range floods {
		t.Run(name, func(t *testing.T) {
			v := startVictim(t)
			s := &siege{victim: v, n: &node{t: t, id: "target", addr: v.addr}}
			calls := s.honest()
			v.tell("measure")
			began := time.Now()
			flood(s)
			most, held, links := v.grown()
			now := calls.Load()
			eventually(t, "calls flow at the end", func() bool { return calls.Load() > now+3 || t.Failed() })
			t.Logf("the heap had grown by %.1f MiB at most; %.1f MiB are held for %d links; %v, %d calls", float64(most)/(1<<20), float64(held)/(1<<20), links, time.Since(began), calls.Load())
			if most > calm {
				t.Errorf("the heap had grown by %.1f MiB, %d MiB are allowed", float64(most)/(1<<20), calm>>20)
			}
		})
	}
}

// honest calls the member until the test ends; no call may fail.
func (s *siege) honest() *atomic.Int64 {
	t := s.t
	honest := startNode(t, "honest", func(c *Config) { c.Client = true })
	row := core.Member{ID: "target", Address: s.addr, Status: core.Up, Protocol: Protocol()}
	honest.r.SetMembers(topology(t, nil, row))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	calls, done := new(atomic.Int64), make(chan struct{})
	go func() {
		defer close(done)
		value := wrapperspb.Bytes(make([]byte, 300_000))
		for ctx.Err() == nil {
			_, err := honest.sys.Ask(ctx, honest.at(s.n, "echo"), value)
			if errors.Is(err, core.ErrBusy) && core.DeliveryOf(err) == core.Undelivered {
				time.Sleep(time.Millisecond) // as the caller of a grain would
				continue
			}
			if err != nil && ctx.Err() == nil {
				t.Errorf("a call of a client that reads its answers: %v\nlog: %s", err, honest.log.text())
				return
			}
			calls.Add(1)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	eventually(t, "calls flow", func() bool { return calls.Load() > 3 })
	return calls
}

func (s *siege) unread(conns, streams int) {
	frame := bytesAsk(s.n, "echo", 1, 1_000_000)
	s.each(clientsOf(s.t, s.n, conns, streams), 5, frame)
}

// each sends frame so many times on every link.
func (s *siege) each(links []*rawStream, times int, frame []byte) {
	var wg sync.WaitGroup
	for _, l := range links {
		wg.Go(func() {
			for range times {
				l.send(frame)
			}
		})
	}
	wg.Wait()
}

func (s *siege) pile(conns, streams, request int) {
	s.each(clientsOf(s.t, s.n, conns, streams), 5, bytesAsk(s.n, "slow", uint64(request), 1_000_000))
	s.tell("release")
}

// small is a batch of 1,000 messages that await no answer, with so many headers each.
func (s *siege) small(headers int) []byte {
	var h map[string]string
	for i := range headers {
		if h == nil {
			h = map[string]string{}
		}
		h[fmt.Sprintf("%02d", i)] = "v"
	}
	x := &target{node: s.n, t: s.t, raw: core.Member{Address: "raw"}}
	return x.batch("slow", 0, func(b *remotepb.MessageBatch) {
		b.TypeNames, b.Senders, b.Envelopes = []string{"google.protobuf.BytesValue"}, nil, nil
		for range 1_000 {
			b.Envelopes = append(b.Envelopes, &remotepb.MessageEnvelope{MessageHeader: &remotepb.MessageHeader{HeaderData: h}})
		}
	})
}

func (s *siege) batches(conns int, frame []byte) {
	s.each(clientsOf(s.t, s.n, conns, 1), 6, frame)
	s.tell("release")
}

func (s *siege) torsos(conns, streams, size, piece int) {
	body := bytes.Repeat([]byte{0}, size-1)
	head := []byte{0, byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}
	s.parts(conns, streams, func(p *part, id uint32) {
		if p.send(id, head, 5) && p.send(id, body, piece) {
			p.wait() // until it is ended
		}
	})
}

// large sends frames of the largest size, one after the other.
func (s *siege) large(conns, streams int) {
	body := protowire.AppendTag(nil, 1_000, protowire.BytesType) // an unknown field
	body = protowire.AppendVarint(body, uint64(4<<20-len(body)-4))
	body = append(body, make([]byte, 4<<20-len(body))...)
	frame := grpcFrameBytes(0, body)
	s.parts(conns, streams, func(p *part, id uint32) {
		for range 4 {
			if !p.send(id, frame, 16_000) {
				return
			}
		}
	})
}

func (s *siege) parts(conns, streams int, f func(p *part, id uint32)) {
	var wg sync.WaitGroup
	for c := range conns {
		p := follow(dialH2(s.t, s.addr))
		for i := range streams {
			id := p.client(s.t, s.n, fmt.Sprintf("part-%d-%d", c, i))
			wg.Go(func() { f(p, id) })
		}
	}
	wg.Wait()
}

// wait waits for the end of the connection.
func (p *part) wait() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed {
		p.cond.Wait()
	}
}

// client opens a stream and shakes hands as a client; headers are added to those of the request.
func (p *part) client(t testing.TB, n *node, id string, headers ...string) uint32 {
	t.Helper()
	frame, err := hello{member: core.MemberID(id), client: true, cluster: "test", protocol: Protocol(), epoch: 1, target: n.id}.frame()
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	stream, err := p.open("/remote.Remoting/Receive", headers...)
	if err != nil {
		return stream // the member has ended the connection
	}
	if p.stream[stream] == 0 {
		p.stream[stream] = 1 << 20
	}
	p.stream[stream] -= len(frame) + 5
	p.conn -= len(frame) + 5
	_ = p.fr.WriteData(stream, false, grpcFrameBytes(0, frame))
	for !p.heard[stream] && !p.closed {
		p.cond.Wait()
	}
	return stream
}

// idle opens links that say nothing after their handshake.
func (s *siege) idle(conns, streams, header int) {
	var headers []string
	if header > 0 {
		headers = []string{"x-large", strings.Repeat("y", header)}
	}
	for c := range conns {
		c2 := tryH2(s.t, s.addr)
		if c2 == nil {
			continue // it is closed at once
		}
		p := follow(c2)
		for i := range streams {
			p.client(s.t, s.n, fmt.Sprintf("idle-%d-%d", c, i), headers...)
		}
	}
}

// frames writes a frame again and again on connections that never read, after answers have filled them.
func (s *siege) frames(one func(p *h2) error) {
	var wg sync.WaitGroup
	for c := range 4 {
		p := dialH2(s.t, s.addr)
		hello, err := hello{member: core.MemberID(fmt.Sprint("deaf-", c)), client: true, cluster: "test", protocol: Protocol(), epoch: 1, target: "target"}.frame()
		if err != nil {
			s.t.Fatal(err)
		}
		if err := p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30}); err != nil {
			s.t.Fatal(err)
		}
		_ = p.fr.WriteWindowUpdate(0, 1<<30)
		p.shake(hello)
		wg.Go(func() {
			for _, b := range [][]byte{bytesAsk(s.n, "echo", 1, 1_000_000)} {
				for range 8 {
					for rest := grpcFrameBytes(0, b); len(rest) > 0; {
						n := min(len(rest), 16_000)
						_ = p.conn.SetWriteDeadline(time.Now().Add(time.Second))
						if p.fr.WriteData(1, false, rest[:n]) != nil {
							return
						}
						rest = rest[n:]
					}
				}
			}
			for range 100_000 {
				_ = p.conn.SetWriteDeadline(time.Now().Add(time.Second))
				if one(p) != nil {
					return
				}
			}
		})
	}
	wg.Wait()
}

// strangers connect and send what they may before they say who they are.
func (s *siege) strangers() {
	for range 2_000 {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			return
		}
		s.t.Cleanup(func() { _ = c.Close() })
		_, _ = io.WriteString(c, http2.ClientPreface)
		_ = c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		_, _ = c.Write(bytes.Repeat([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0}, 7_000))
	}
}
