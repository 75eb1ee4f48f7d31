package remote

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/granary-go/granary/core"
)

// Limits are all bounds of remoting in one place. A field that is zero has its default, which the
// comment gives; New refuses negative values. Sizes are bytes.
//
// The bounds of frames, Frame to Recursion, hold for what is sent as well as for what is accepted, and are
// not negotiated: they must be equal on all members and clients of a cluster. A single message beyond the
// receiver's bounds is refused alone; a frame beyond them ends the link. All others may differ.
type Limits struct {
	// Frame is the largest frame sent or accepted: 4 MiB, gRPC's own default, which other nodes of
	// the wire line have too.
	Frame int
	// Envelope is the largest message: 1 MiB, so that one message never holds up a link for long.
	Envelope int
	// Batch is how many messages one frame may hold: 1,000.
	Batch int
	// Gather is the size at which a frame under construction is closed: 64 KiB, since larger frames
	// gain nothing and delay the first message in them.
	Gather int
	// Types is how many type names one frame may list: 256.
	Types int
	// Name is the longest type name: 256.
	Name int
	// ProcessID is the longest process ID: 1,024, room for a kind, a key and what surrounds them.
	ProcessID int
	// Headers is how many headers one message may have: 64.
	Headers int
	// HeaderBytes bounds all headers of one message together: 16 KiB.
	HeaderBytes int
	// Recursion is how deep messages may nest: 64; protobuf's own default is 10,000.
	Recursion int

	// QueueMessages and QueueBytes bound what waits for one peer: 65,536 messages and 16 MiB. Beyond
	// them Send refuses with core.ErrOverloaded.
	QueueMessages int
	QueueBytes    int
	// Asks is how many asks may be outstanding on one connection: 262,144. Those that nobody waits
	// for any more make room when it is reached.
	Asks int
	// AskAge is how long an ask may be outstanding before it is given up as of unknown delivery:
	// 1 h. It only bounds what asks leave behind whose target never answers.
	AskAge time.Duration
	// Watches is how many watches one peer may hold here: 65,536. Who watches beyond it is told
	// actor.TerminatedUnwatchable.
	Watches int

	// Streams is how many streams one connection may have: 64; gRPC's own default is unlimited.
	Streams uint32
	// HeaderList bounds the HTTP/2 headers of a stream: 16 KiB; gRPC's own default is 16 MiB.
	HeaderList uint32
	// Handshake is the time from accepting a connection to the end of the handshake: 5 s. A member
	// that is not in the view yet is waited for as long as that, and so the side that dials waits
	// twice as long.
	Handshake time.Duration
	// HandshakeBytes is what a connection may send before the end of its first handshake: 64 KiB.
	HandshakeBytes int
	// Connections, ConnectionsPerIP: accepted connections in all and of one IP address: 8,192 and
	// 1,024. More are closed at once.
	Connections      int
	ConnectionsPerIP int
	// Handshakes, HandshakesPerIP: those of them that have not ended their handshake: 256 and 64.
	Handshakes      int
	HandshakesPerIP int

	// Keepalive and KeepaliveTimeout find a silent peer: 10 s and 3 s. gRPC refuses less than 10 s.
	Keepalive        time.Duration
	KeepaliveTimeout time.Duration
	// KeepaliveMin is how often a peer may ping: every 5 s, half of what our own clients do.
	KeepaliveMin time.Duration
	// Idle is when an accepted connection without a stream is closed: 1 min.
	Idle time.Duration

	// BackoffMin and BackoffMax bound the pause between two dials of a peer: 20 ms and 2 s, doubling,
	// with full jitter above the half.
	BackoffMin time.Duration
	BackoffMax time.Duration
}

// overhead is what surrounds the message within an envelope, and an envelope within a frame, apart
// from names and headers.
const overhead = 64

// withDefaults fills what is zero and complains about what cannot work.
func (l Limits) withDefaults() (Limits, error) {
	var errs []error
	num := func(name string, v *int, def int) {
		if *v == 0 {
			*v = def
		}
		if *v < 0 {
			errs = append(errs, fmt.Errorf("limits: %s is %d: %w", name, *v, core.ErrInvalid))
		}
	}
	dur := func(name string, v *time.Duration, def time.Duration) {
		if *v == 0 {
			*v = def
		}
		if *v < 0 {
			errs = append(errs, fmt.Errorf("limits: %s is %v: %w", name, *v, core.ErrInvalid))
		}
	}
	num("Frame", &l.Frame, 4<<20)
	num("Envelope", &l.Envelope, 1<<20)
	num("Batch", &l.Batch, 1_000)
	num("Gather", &l.Gather, 64<<10)
	num("Types", &l.Types, 256)
	num("Name", &l.Name, 256)
	num("ProcessID", &l.ProcessID, 1_024)
	num("Headers", &l.Headers, 64)
	num("HeaderBytes", &l.HeaderBytes, 16<<10)
	num("Recursion", &l.Recursion, 64)
	num("QueueMessages", &l.QueueMessages, 65_536)
	num("QueueBytes", &l.QueueBytes, 16<<20)
	num("Asks", &l.Asks, 262_144)
	num("Watches", &l.Watches, 65_536)
	num("HandshakeBytes", &l.HandshakeBytes, 64<<10)
	num("Connections", &l.Connections, 8_192)
	num("ConnectionsPerIP", &l.ConnectionsPerIP, 1_024)
	num("Handshakes", &l.Handshakes, 256)
	num("HandshakesPerIP", &l.HandshakesPerIP, 64)
	dur("AskAge", &l.AskAge, time.Hour)
	dur("Handshake", &l.Handshake, 5*time.Second)
	dur("Keepalive", &l.Keepalive, 10*time.Second)
	dur("KeepaliveTimeout", &l.KeepaliveTimeout, 3*time.Second)
	dur("KeepaliveMin", &l.KeepaliveMin, 5*time.Second)
	dur("Idle", &l.Idle, time.Minute)
	dur("BackoffMin", &l.BackoffMin, 20*time.Millisecond)
	dur("BackoffMax", &l.BackoffMax, 2*time.Second)
	if l.Streams == 0 {
		l.Streams = 64
	}
	if l.HeaderList == 0 {
		l.HeaderList = 16 << 10
	}
	return l, errors.Join(append(errs, l.consistent())...)
}

func (l Limits) consistent() error {
	var errs []error
	if room := l.Gather + l.Envelope + l.Name + 4*l.ProcessID + 2*l.HeaderBytes + overhead; room > l.Frame {
		errs = append(errs, fmt.Errorf("limits: Frame is %d, less than the %d that Gather, Envelope and the names around it need: %w",
			l.Frame, room, core.ErrInvalid))
	}
	if l.Envelope >= 1<<lengthBits {
		errs = append(errs, fmt.Errorf("limits: Envelope is %d, want less than %d: %w", l.Envelope, 1<<lengthBits, core.ErrInvalid))
	}
	if l.Frame >= 1<<frameBits {
		errs = append(errs, fmt.Errorf("limits: Frame is %d, want less than %d: %w", l.Frame, 1<<frameBits, core.ErrInvalid))
	}
	if l.Keepalive < l.KeepaliveMin {
		errs = append(errs, fmt.Errorf("limits: Keepalive is %v, more often than the %v that KeepaliveMin accepts: %w",
			l.Keepalive, l.KeepaliveMin, core.ErrInvalid))
	}
	if l.BackoffMax < l.BackoffMin {
		errs = append(errs, fmt.Errorf("limits: BackoffMax is %v, less than BackoffMin, %v: %w", l.BackoffMax, l.BackoffMin, core.ErrInvalid))
	}
	return errors.Join(errs...)
}

// CheckHeader tells why the headers of a message would not be sent: there are too many, they are too
// large together, or they are not UTF-8. The error wraps core.ErrInvalid.
func (r *Remote) CheckHeader(h map[string]string) error { return r.limits.checkHeader(h) }

func (l *Limits) checkHeader(h map[string]string) error {
	if len(h) > l.Headers {
		return fmt.Errorf("%d headers, at most %d are allowed: %w", len(h), l.Headers, core.ErrInvalid)
	}
	size := 0
	for k, v := range h {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("header %q is not UTF-8: %w", k, core.ErrInvalid)
		}
		size += len(k) + len(v)
	}
	if size > l.HeaderBytes {
		return fmt.Errorf("headers of %d bytes, at most %d are allowed: %w", size, l.HeaderBytes, core.ErrInvalid)
	}
	return nil
}
