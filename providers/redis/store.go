package redis

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/granary-go/granary/core"
)

// StoreConfig sets up a Store. The zero value works.
type StoreConfig struct {
	// Prefix is in front of all keys: "granary:store:". Stores with different prefixes know nothing of
	// each other, where neither is the beginning of the other.
	Prefix string

	// TTL is after how long a group goes that nobody has written to, claims and all: 0 is never. It has
	// to be longer than any activation may live without a write, or else an old one is not refused
	// any more. In whole milliseconds.
	TTL time.Duration
}

// MaxValue is the largest value in bytes; a larger one gives core.ErrInvalid. It is what Redis itself allows
// (proto-max-bulk-len) less the revision.
const MaxValue = 512<<20 - revisionSize

// revisionSize is that of a revision as text, in front of each value.
const revisionSize = 16

// Store keeps each group in one hash, with a field for each item. It offers core.Fencer. Safe for concurrent
// use.
//
// A write through the Store itself carries no token and is not compared with claims; from Level 3 on the
// engine writes through Fence only.
type Store struct {
	client *Client
	prefix string
	ttl    time.Duration
}

// NewStore makes a store on a client. It does no I/O.
func NewStore(cfg StoreConfig, client *Client) (*Store, error) {
	if cfg.TTL < 0 || cfg.TTL%time.Millisecond != 0 {
		return nil, fmt.Errorf("redis: StoreConfig.TTL is %v, want whole milliseconds, not negative: %w", cfg.TTL, core.ErrInvalid)
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "granary:store:"
	}
	return &Store{client: client, prefix: cfg.Prefix, ttl: cfg.TTL}, nil
}

// The fields of a hash: the greatest token ever claimed, and the items, by name.
const (
	fieldClaim = "c"
	fieldItem  = "i"
)

func (s *Store) key(group string) string { return s.prefix + group }

// Get returns the item at k.
func (s *Store) Get(ctx context.Context, k core.Key) (core.Item, error) {
	record, err := s.client.redis.HGet(ctx, s.key(k.Group), fieldItem+k.Name).Result()
	var it core.Item
	switch {
	case errors.Is(err, goredis.Nil):
		err = core.ErrNotFound
	case err != nil:
		err = s.client.failure(ctx, err)
	default:
		it, err = item(k, record)
	}
	if err != nil {
		return core.Item{}, fmt.Errorf("redis: get %q/%q: %w", k.Group, k.Name, err)
	}
	return it, nil
}

// item reads a record: the revision as text, and the value.
func item(k core.Key, record string) (core.Item, error) {
	if len(record) < revisionSize {
		return core.Item{}, fmt.Errorf("a record of %d bytes: %w", len(record), core.ErrInvalid)
	}
	r, err := strconv.ParseUint(record[:revisionSize], 16, 64)
	if err != nil {
		return core.Item{}, fmt.Errorf("a record without revision: %w: %w", err, core.ErrInvalid)
	}
	return core.Item{Key: k, Value: []byte(record[revisionSize:]), Revision: core.Revision(r)}, nil
}

// Put writes value if the item is at revision at.
func (s *Store) Put(ctx context.Context, k core.Key, value []byte, at core.Revision) (core.Revision, error) {
	return s.put(ctx, k, value, at, nil)
}

// Delete removes the item if it is at revision at.
func (s *Store) Delete(ctx context.Context, k core.Key, at core.Revision) error {
	return s.remove(ctx, k, at, nil)
}

// put writes under a claim, if there is one.
func (s *Store) put(ctx context.Context, k core.Key, value []byte, at core.Revision, under *fenced) (core.Revision, error) {
	next, err := newRevision(), error(nil)
	if len(value) > MaxValue {
		err = fmt.Errorf("a value of %d bytes, the most is %d: %w", len(value), MaxValue, core.ErrInvalid)
	} else {
		err = s.write(ctx, putScript, k, at, under, text(next), value)
	}
	if err != nil {
		return 0, fmt.Errorf("redis: put %q/%q: %w", k.Group, k.Name, err)
	}
	return next, nil
}

// remove deletes under a claim, if there is one.
func (s *Store) remove(ctx context.Context, k core.Key, at core.Revision, under *fenced) error {
	if err := s.write(ctx, deleteScript, k, at, under, "", nil); err != nil {
		return fmt.Errorf("redis: delete %q/%q: %w", k.Group, k.Name, err)
	}
	return nil
}

// newRevision is drawn at random: a counter would die with the hash that it is in, or lie in another slot
// of a cluster. Of 2^64 none is drawn twice in practice.
func newRevision() core.Revision {
	for {
		if r := core.Revision(rand.Uint64()); r != core.Absent && r != core.Any {
			return r
		}
	}
}

func text(r core.Revision) string { return fmt.Sprintf("%016x", uint64(r)) }

// write runs one of the scripts that change an item.
func (s *Store) write(ctx context.Context, script *goredis.Script, k core.Key, at core.Revision, under *fenced, next string, value []byte) error {
	token := ""
	if under != nil && under.group == k.Group {
		token = under.token.String()
	}
	condition := ""
	switch at {
	case core.Any:
		condition = "*"
	case core.Absent:
	default:
		condition = text(at)
	}
	answer, err := script.Run(ctx, s.client.redis, []string{s.key(k.Group)}, fieldItem+k.Name, condition, token, s.ttl.Milliseconds(), next, value).Text()
	if err != nil {
		return s.client.failure(ctx, err)
	}
	return verdict(answer, token, at)
}

// verdict reads the answer of a script: a letter, and what was there instead.
func verdict(answer, token string, at core.Revision) error {
	switch {
	case answer == "done":
		return nil
	case len(answer) > 0 && answer[0] == 'F':
		return fmt.Errorf("token %s is below %s: %w", token, answer[1:], core.ErrFenced)
	case len(answer) > 0 && answer[0] == 'C':
		return fmt.Errorf("it is at revision %q, not %s: %w", answer[1:], text(at), core.ErrConflict)
	}
	return fmt.Errorf("the script answered %q: %w", answer, core.ErrInvalid)
}

// page is how many fields one step of List asks for; a step takes Redis microseconds.
const page = 256

// List walks a group. Redis may show a field twice while it moves its table; the names seen are kept to leave
// that out, so a walk holds all names of the group.
func (s *Store) List(ctx context.Context, group string) iter.Seq2[core.Item, error] {
	return func(yield func(core.Item, error) bool) {
		seen := map[string]bool{}
		for cursor := uint64(0); ; {
			fields, next, err := s.client.redis.HScan(ctx, s.key(group), cursor, fieldItem+"*", page).Result()
			if err != nil {
				yield(core.Item{}, fmt.Errorf("redis: list %q: %w", group, s.client.failure(ctx, err)))
				return
			}
			for i := 0; i+1 < len(fields); i += 2 {
				name := fields[i][len(fieldItem):]
				if seen[name] {
					continue
				}
				seen[name] = true
				it, err := item(core.Key{Group: group, Name: name}, fields[i+1])
				if err != nil {
					yield(core.Item{}, fmt.Errorf("redis: list %q: %q: %w", group, name, err))
					return
				}
				if !yield(it, nil) {
					return
				}
			}
			if cursor = next; cursor == 0 {
				return
			}
		}
	}
}

var (
	_ core.Store  = (*Store)(nil)
	_ core.Fencer = (*Store)(nil)
	_ core.Store  = (*fenced)(nil)
)
