package connguard

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
)

// assembly follows the HTTP/2 frames of an accepted connection and knows by them what gRPC holds of
// messages that have begun and are not complete: gRPC itself tells of whole messages only, and would wait
// for the rest of 64 of them, of 4 MiB each, for as long as the connection lives.
type assembly struct {
	net.Conn
	c       *Conn
	in, out scanner
	ended   []uint32 // streams, by what is being written

	mu      sync.Mutex
	streams map[uint32]*message
	gone    bool

	held    atomic.Int64 // bytes of messages that are not complete
	member  atomic.Bool  // its bytes are bounded for the connection alone
	waiting atomic.Bool  // for room: its age does not count
	resumed atomic.Int64 // when it was let go on, in nanoseconds since the gate was made
	heard   atomic.Int64 // when bytes came last, likewise, if messages were incomplete then
	looks   atomic.Int64 // how often it was looked at since, while there was no room
}

// message is what is known of the message that a stream is bringing.
type message struct {
	head  [5]byte // of gRPC: a flag and the length
	got   int     // of head
	left  int     // of the body
	cost  int     // what is held of it; 0: nothing has begun
	began int64   // in nanoseconds since the gate was made; 0: nothing has begun
}

const (
	// clientPreface is the length of what an HTTP/2 connection begins with.
	clientPreface = 24
	// pieceCost is about what a piece of a message takes beside its bytes.
	pieceCost = 128
	// maxTracked is how many streams may seem open: gRPC refuses far fewer.
	maxTracked = 4_096
	// crowdedAge is how old an incomplete message may be when there is no room for others, and crowdedIdle
	// for how long nothing may come of it. The time in which the connection was made to wait is left out;
	// and it must have been looked at so many times meanwhile, lest a process that is starved blames others.
	crowdedAge   = 5 * time.Second
	crowdedIdle  = time.Second
	crowdedLooks = 50
	// crowdedTurns is how many connections, those with the oldest incomplete messages, may go on when there
	// is no room for others.
	crowdedTurns = 2
	// crowdedPause is how long a connection waits before it looks again whether there is room.
	crowdedPause = 10 * time.Millisecond
)

// HTTP/2 frames and flags of RFC 9113 that matter here.
const (
	frameData    = 0
	frameHeaders = 1
	frameReset   = 3

	flagEndStream = 1
	flagPadded    = 8
)

// Follow returns conn, which is secured by now and whose raw end is c, so that c knows of messages that are
// not complete. It is called once, before anything but a handshake of TLS was read.
func (c *Conn) Follow(conn net.Conn) net.Conn {
	a := &assembly{Conn: conn, c: c, streams: make(map[uint32]*message)}
	a.in.skip = clientPreface
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.left {
		c.parts = a
		c.g.follow(a)
	}
	return a
}

// Read reads, and waits while others' incomplete messages leave no room for those that the bytes begin.
func (a *assembly) Read(b []byte) (int, error) {
	n, err := a.Conn.Read(b)
	if n == 0 {
		return n, err
	}
	if broken := a.arrived(b[:n]); broken != nil {
		a.c.Fail(broken)
		return 0, broken
	}
	if a.held.Load() == 0 {
		return n, err
	}
	if a.c.g.crowded() && !a.member.Load() && !a.c.g.room(a) {
		return 0, a.c.Reason()
	}
	a.heard.Store(a.c.g.now())
	a.looks.Store(0)
	return n, err
}

// Write notes which streams end. gRPC writes from one goroutine at a time.
func (a *assembly) Write(b []byte) (int, error) {
	a.ended = a.ended[:0]
	a.out.scan(b, a.sent)
	if len(a.ended) > 0 {
		a.mu.Lock()
		before := a.held.Load()
		for _, id := range a.ended {
			a.drop(id)
		}
		a.count(before)
		a.mu.Unlock()
	}
	return a.Conn.Write(b)
}

// arrived takes what was read; the error ends the connection.
func (a *assembly) arrived(b []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.held.Load()
	a.in.scan(b, a.received)
	a.count(before)
	if held, most := a.held.Load(), a.c.g.limits.ConnectionPartialBytes; held > int64(most) {
		return fmt.Errorf("its messages that are not complete hold %d bytes, at most %d are allowed: %w", held, most, core.ErrOverloaded)
	}
	if len(a.streams) > maxTracked {
		return fmt.Errorf("more than %d streams: %w", maxTracked, core.ErrOverloaded)
	}
	return nil
}

// count tells the gate how much more is held than before. The caller holds a.mu.
func (a *assembly) count(before int64) {
	if a.gone {
		a.held.Store(0)
		return
	}
	if more := a.held.Load() - before; more != 0 && !a.member.Load() {
		a.c.g.partial.Add(more)
	}
}

// received takes a piece of a frame, its head first, with no bytes.
func (a *assembly) received(s *scanner, piece []byte) {
	m := a.streams[s.stream]
	switch {
	case s.kind == frameHeaders && m == nil && s.flags&flagEndStream == 0 && piece == nil:
		a.streams[s.stream] = &message{}
	case s.kind == frameReset && piece == nil:
		a.drop(s.stream)
	case s.kind == frameData && m != nil:
		a.data(m, s, piece)
	}
	if s.left == 0 && s.kind == frameData && s.flags&flagEndStream != 0 {
		a.drop(s.stream)
	}
}

// sent takes a piece of a frame that goes out.
func (a *assembly) sent(s *scanner, piece []byte) {
	if piece == nil && s.endsStream() {
		a.ended = append(a.ended, s.stream)
	}
}

// drop forgets a stream and what it was bringing.
func (a *assembly) drop(id uint32) {
	if m := a.streams[id]; m != nil {
		a.held.Add(int64(-m.cost))
		delete(a.streams, id)
	}
}

// data goes over the messages in a piece of a DATA frame.
func (a *assembly) data(m *message, s *scanner, piece []byte) {
	before := m.cost
	for len(piece) > 0 {
		if m.got < len(m.head) {
			n := copy(m.head[m.got:], piece)
			m.got += n
			m.cost += n
			piece = piece[n:]
			if m.got < len(m.head) {
				break
			}
			m.left = int(binary.BigEndian.Uint32(m.head[1:]))
		}
		n := min(m.left, len(piece))
		m.left -= n
		m.cost += n
		piece = piece[n:]
		if m.left == 0 {
			m.got, m.cost, m.began = 0, 0, 0
		}
	}
	if m.cost > 0 {
		if s.left == 0 {
			m.cost += pieceCost + waste(s.length)
		}
		if m.began == 0 {
			m.began = a.c.g.now()
		}
	}
	if more := m.cost - before; more != 0 {
		a.held.Add(int64(more))
	}
}

// waste is by how much the buffer that gRPC takes for a piece of n bytes is larger.
func waste(n int) int {
	switch {
	case n <= 1<<10:
		return 0
	case n <= 4<<10:
		return 4<<10 - n
	case n <= 16<<10:
		return 16<<10 - n
	}
	return 0
}

// oldest is when the message began that has been incomplete for longest; 0: there is none.
func (a *assembly) oldest() (began int64) {
	if a.held.Load() == 0 {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range a.streams {
		if m.began != 0 && (began == 0 || m.began < began) {
			began = m.began
		}
	}
	return began
}

// age is for how long a message has been incomplete through no fault of this side, and idle for how long
// nothing of any has come.
func (a *assembly) age(now int64) (age, idle time.Duration) {
	began := a.oldest()
	if began == 0 || a.waiting.Load() {
		return 0, 0
	}
	resumed := a.resumed.Load()
	return time.Duration(now - max(began, resumed)), time.Duration(now - max(began, resumed, a.heard.Load()))
}

// trust takes the connection's bytes out of what the connections of strangers and clients hold together.
func (a *assembly) trust() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.gone && !a.member.Swap(true) {
		a.c.g.partial.Add(-a.held.Load())
	}
}

// leave gives back what the connection held.
func (a *assembly) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.held.Swap(0)
	if !a.gone && !a.member.Load() {
		a.c.g.partial.Add(-before)
	}
	a.gone = true
	clear(a.streams)
}

// scanner splits the bytes of one direction of an HTTP/2 connection into frames.
type scanner struct {
	skip        int // of the preface
	head        [9]byte
	got         int // of head
	length      int // of the frame's payload
	left        int // of it
	pad         int // bytes of padding at its end; -1: not known yet
	kind, flags byte
	stream      uint32
}

func (s *scanner) endsStream() bool {
	return s.kind == frameReset || s.kind == frameHeaders && s.flags&flagEndStream != 0
}

// scan calls f for the head of each frame in b, with nil, and for each piece of the data of DATA frames.
func (s *scanner) scan(b []byte, f func(s *scanner, piece []byte)) {
	n := min(s.skip, len(b))
	s.skip -= n
	b = b[n:]
	for len(b) > 0 {
		if s.got < len(s.head) {
			n := copy(s.head[s.got:], b)
			s.got += n
			b = b[n:]
			if s.got == len(s.head) {
				s.begin(f)
			}
			continue
		}
		n := min(s.left, len(b))
		s.left -= n
		if s.kind == frameData {
			s.payload(b[:n], f)
		}
		b = b[n:]
		s.next()
	}
}

// begin reads the head of a frame.
func (s *scanner) begin(f func(*scanner, []byte)) {
	s.length = int(s.head[0])<<16 | int(s.head[1])<<8 | int(s.head[2])
	s.left, s.kind, s.flags = s.length, s.head[3], s.head[4]
	s.stream = binary.BigEndian.Uint32(s.head[5:]) & (1<<31 - 1)
	s.pad = 0
	if s.kind == frameData && s.flags&flagPadded != 0 {
		s.pad = -1
	}
	f(s, nil)
	s.next()
}

// next goes on to the next frame when this one is over.
func (s *scanner) next() {
	if s.left == 0 {
		s.got = 0
	}
}

// payload hands on what of b is data; s.left is what comes behind b.
func (s *scanner) payload(b []byte, f func(*scanner, []byte)) {
	if s.pad < 0 && len(b) > 0 {
		s.pad, b = int(b[0]), b[1:]
	}
	if beyond := s.pad - s.left; beyond > 0 {
		b = b[:max(len(b)-beyond, 0)]
	}
	f(s, b)
}
