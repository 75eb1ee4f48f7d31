package gossip

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/granary-go/granary/core"
)

// The bounds of an entry. They are not settings, since every member must keep to the same: what one
// accepts and another refuses would never converge.
const (
	MaxKeys    = 64           // keys of one member, those of the engine among them, but for KeyKeys
	MaxKey     = 256          // bytes of a key
	MaxType    = 256          // bytes of the name of a value's type
	MaxValue   = 64 << 10     // bytes of a value
	MaxJump    = 1 << 32      // how far what is relayed of a member may run ahead of what is known of it
	maxValues  = MaxKeys + 1  // of one member: all keys, and KeyKeys
	maxVersion = 1<<63 - 1    // the wire holds versions in an int64
	maxLines   = 256          // lines in one message; what does not fit goes with the next
	newsRounds = 2            // for so many rounds something new is sent unasked
	minBytes   = 2 * MaxValue // of a message: the largest value fits with room to spare
)

// The defaults of Config.
const (
	DefaultInterval  = 300 * time.Millisecond
	DefaultTimeout   = 500 * time.Millisecond
	DefaultFanOut    = 3
	DefaultMaxOwners = 50
	DefaultMaxBytes  = 256 << 10
)

// Config is what a Machine works by. Zero fields take their defaults.
type Config struct {
	// Self is the ID of this process.
	Self core.MemberID
	// Client says that this process is no member: it has no entry and reads those of all members.
	Client bool
	// Interval is the time between two rounds, 300 ms by default as in Proto.Actor; the shell keeps
	// it. A change reaches 50 members in about four rounds.
	Interval time.Duration
	// Timeout is how long the answer to an exchange is waited for, 500 ms by default: longer than a
	// round trip between continents. No second exchange with a peer begins before.
	Timeout time.Duration
	// FanOut is the number of peers that a round addresses, 3 by default: at 20 % loss a change still
	// spreads more than threefold a round.
	FanOut int
	// MaxOwners is the number of members that one message tells of, 50 by default. The rest follows
	// in the next messages, in turn.
	MaxOwners int
	// MaxBytes is about how large a message may be, 256 KiB by default and 128 KiB at least: well
	// below the 1 MiB of an envelope, so that gossip never holds up other traffic for long.
	MaxBytes int
	// Plain says that Proto.Actor nodes are among the peers: they do not mark what they relay, and
	// say nothing about what they hold.
	Plain bool
	// Rand chooses the peers of a round. Required: whoever hands it in decides whether runs repeat.
	Rand *rand.Rand
}

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	c.Interval = or(c.Interval, DefaultInterval)
	c.Timeout = or(c.Timeout, DefaultTimeout)
	c.FanOut = or(c.FanOut, DefaultFanOut)
	c.MaxOwners = or(c.MaxOwners, DefaultMaxOwners)
	c.MaxBytes = or(c.MaxBytes, DefaultMaxBytes)
	return c
}

func or[T comparable](v, other T) T {
	var zero T
	if v == zero {
		return other
	}
	return v
}

// check tells all that is wrong with c.
func (c Config) check() error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("gossip: "+format+": %w", append(args, core.ErrInvalid)...))
		}
	}
	want(c.Self != "", "Config.Self is empty, want the ID of this process")
	want(c.Interval > 0, "Config.Interval is %v, want more than 0", c.Interval)
	want(c.Timeout > 0, "Config.Timeout is %v, want more than 0", c.Timeout)
	want(c.FanOut > 0, "Config.FanOut is %d, want 1 or more", c.FanOut)
	want(c.MaxOwners > 1, "Config.MaxOwners is %d, want 2 or more", c.MaxOwners)
	want(c.MaxBytes >= minBytes, "Config.MaxBytes is %d, want %d or more", c.MaxBytes, minBytes)
	want(c.Rand != nil, "Config.Rand is nil, want a source of chance")
	return errors.Join(errs...)
}
