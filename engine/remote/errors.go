package remote

import (
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/protos/actorpb"
	"github.com/granary-go/granary/protos/granarypb"
)

// ErrUnknownType says that a message has a type that is not registered. It is a core.ErrUnsupported.
var ErrUnknownType = fmt.Errorf("unknown message type: %w", core.ErrUnsupported)

// ErrDenied says that the peer may not send this message. It is a core.ErrUnsupported.
var ErrDenied = fmt.Errorf("not allowed: %w", core.ErrUnsupported)

// ErrPeerPlaintext says that this side speaks TLS and the peer does not; ErrPeerTLS the reverse. Both
// are core.ErrUnreachable.
var (
	ErrPeerPlaintext = fmt.Errorf("the peer speaks plaintext, this side TLS; give both the same TLS setting: %w", core.ErrUnreachable)
	ErrPeerTLS       = fmt.Errorf("the peer speaks TLS, this side plaintext; give both the same TLS setting: %w", core.ErrUnreachable)
)

// RefusedError says that a peer did not let this member in. It is a core.ErrUnreachable.
type RefusedError struct {
	Address string // dialled
	Reason  Refusal
	Text    string // of the peer, for people
}

// Error names the address and the reason.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("remote: %s refused the connection (%s): %s", e.Address, e.Reason, e.Text)
}

// Unwrap is core.ErrUnreachable.
func (e *RefusedError) Unwrap() error { return core.ErrUnreachable }

// Refusal is why a connection was refused.
type Refusal uint8

// The reasons; the numbers are those of the wire.
const (
	RefusedUnspecified Refusal = iota // the text tells
	RefusedCluster                    // of another cluster
	RefusedMember                     // another member was meant
	RefusedProtocol                   // no common protocol version
	RefusedBlocked                    // blocked: left, evicted or replaced
	RefusedIdentity                   // it is not what it claims to be
	RefusedEpoch                      // a newer connection of that member is here
	RefusedOverloaded                 // too many connections; try again
	RefusedInvalid                    // the handshake cannot be read
	RefusedStopping                   // the member is stopping
)

var refusalNames = [...]string{
	"unspecified", "cluster", "member", "protocol", "blocked", "identity", "epoch", "overloaded", "invalid", "stopping",
}

// String is the reason as one word.
func (r Refusal) String() string {
	if int(r) < len(refusalNames) {
		return refusalNames[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// refusal is a handshake's failure on the side that was dialled.
type refusal struct {
	reason Refusal
	text   string
}

func (r *refusal) Error() string { return fmt.Sprintf("refused (%s): %s", r.reason, r.text) }

func refuse(reason Refusal, format string, args ...any) *refusal {
	return &refusal{reason, fmt.Sprintf(format, args...)}
}

// protocolError is what a peer did against the form of frames; it ends the link.
type protocolError struct{ text string }

func (e *protocolError) Error() string { return "remote: protocol error: " + e.text }
func (e *protocolError) Unwrap() error { return core.ErrInvalid }

func violation(format string, args ...any) error {
	return &protocolError{fmt.Sprintf(format, args...)}
}

// ErrorCodec turns the error of an answer into a message and back. It is safe for concurrent use.
type ErrorCodec interface {
	// EncodeError gives the message for err, which is not nil.
	EncodeError(err error) proto.Message
	// DecodeError gives the error that a message of type typ stands for; false: it is no error.
	DecodeError(typ string, data []byte) (error, bool)
}

// coreErrors is the default: actor.DeadLetterResponse for what found no process, granary.CallError
// for all else.
type coreErrors struct{}

const (
	typeDeadLetter = "actor.DeadLetterResponse"
	typeCallError  = "granary.CallError"
)

func (coreErrors) EncodeError(err error) proto.Message {
	// Not for a dead letter that the handler met itself: the form would say that the ask was not delivered.
	if dead, ok := errors.AsType[*actor.DeadLetterError](err); ok && core.DeliveryOf(err) == core.Undelivered {
		return &actorpb.DeadLetterResponse{Target: convert.PIDToProto(dead.Target), Sentinel: core.ErrStopped.Error()}
	}
	return convert.ErrorToProto(err)
}

func (coreErrors) DecodeError(typ string, data []byte) (error, bool) {
	switch typ {
	case typeDeadLetter:
		var m actorpb.DeadLetterResponse
		if err := unmarshal(data, &m); err != nil {
			return badAnswer(typ, err), true
		}
		return &actor.DeadLetterError{Target: core.PID{
			Address: m.GetTarget().GetAddress(), ID: m.GetTarget().GetId(), Member: core.MemberID(m.GetTarget().GetMember()),
		}}, true
	case typeCallError:
		var m granarypb.CallError
		if err := unmarshal(data, &m); err != nil {
			return badAnswer(typ, err), true
		}
		return convert.ErrorFromProto(&m), true
	}
	return nil, false
}

func badAnswer(typ string, err error) error {
	return fmt.Errorf("remote: decode answer of type %s: %w: %w", typ, err, core.ErrInvalid)
}

// undelivered says that doing did not happen, for certain.
func undelivered(err error) error { return core.WithDelivery(err, core.Undelivered) }

func newRand() *rand.Rand {
	var seed [16]byte
	_, _ = crand.Read(seed[:]) // never fails: crypto/rand ends the process instead
	return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(seed[:8]), binary.LittleEndian.Uint64(seed[8:])))
}

// quiet lets a few lines a second into the log, since a peer decides how often they are due.
type quiet struct {
	mu    sync.Mutex
	began time.Time
	n     int
}

const quietLines = 5

func (q *quiet) allow(now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Sub(q.began) >= time.Second {
		q.began, q.n = now, 0
	}
	q.n++
	return q.n <= quietLines
}

// cut notes a connection that was ended for what it left incomplete.
func (r *Remote) cut(a net.Addr, err error) {
	r.count("remote.cut")
	r.log.LogAttrs(r.root, slog.LevelWarn, "remote: connection cut", slog.String("address", a.String()), attrError(err))
}

// turnedAway notes a connection that was not let in.
func (r *Remote) turnedAway(address string, err error) {
	r.count("remote.turned_away")
	if r.quiet.allow(r.clock.Now()) {
		r.log.LogAttrs(r.root, slog.LevelWarn, "remote: connection refused", slog.String("address", address), attrError(err))
	}
}

func (r *Remote) count(name string) {
	if f := r.cfg.Env.Hooks.Counted; f != nil {
		f(name, 1)
	}
}

// levelOf is how loud the end of a link is: those that are meant are quiet.
func levelOf(reason error) slog.Level {
	for _, meant := range []error{errDisconnected, errReplaced, errLeft, errStopping} {
		if errors.Is(reason, meant) {
			return slog.LevelDebug
		}
	}
	return slog.LevelInfo
}

func attrMember(id core.MemberID) slog.Attr { return slog.String("member", string(id)) }
func attrEpoch(epoch uint64) slog.Attr      { return slog.Uint64("epoch", epoch) }
func attrError(err error) slog.Attr         { return slog.String("error", err.Error()) }

// maxBlocked is how many blocked IDs are remembered; the oldest are forgotten, and are then refused as
// unknown instead.
const maxBlocked = 65_536

// blockList is a bounded set of IDs. Not safe for concurrent use.
type blockList struct {
	set   map[core.MemberID]bool // it tried to connect since
	order []core.MemberID
}

func (b *blockList) has(id core.MemberID) bool {
	_, ok := b.set[id]
	return ok
}

// tried notes that a blocked member tried to connect; true: for the first time.
func (b *blockList) tried(id core.MemberID) bool {
	before := b.set[id]
	b.set[id] = true
	return !before
}

func (b *blockList) add(id core.MemberID) {
	if b.has(id) || id == "" {
		return
	}
	if b.set == nil {
		b.set = make(map[core.MemberID]bool)
	}
	if len(b.order) >= maxBlocked {
		delete(b.set, b.order[0])
		b.order = slices.Delete(b.order, 0, 1)
	}
	b.set[id] = false
	b.order = append(b.order, id)
}

func (b *blockList) remove(id core.MemberID) {
	if b.has(id) {
		delete(b.set, id)
		b.order = slices.DeleteFunc(b.order, func(o core.MemberID) bool { return o == id })
	}
}
