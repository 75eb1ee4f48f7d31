package core

import (
	"context"
	"iter"
)

// Key names one item. A group is what is listed, fenced and kept together: the identity of one
// grain or topic, as text. Backends map it to one Redis hash, one SQL partition, one file bucket.
type Key struct{ Group, Name string }

// Revision is the backend's version of one item. Only equality means anything, and none is ever
// repeated for a key, also not after Delete.
type Revision uint64

// The two revisions that are not the backend's.
const (
	Absent Revision = 0         // the item must not exist
	Any    Revision = 1<<64 - 1 // unconditional
)

// Item is what a Store holds.
type Item struct {
	Key      Key
	Value    []byte // the caller owns it
	Revision Revision
}

// Store keeps small values by key.
//
// Implemented by core/memory, stores/bbolt and applications, which call it from their grains. Safe for
// concurrent use. Writes are durable, as far as the backend is configured to be, when the call returns.
// No retries inside; after an error other than the sentinels named here a write may or may not have
// happened.
type Store interface {
	Get(ctx context.Context, k Key) (Item, error) // ErrNotFound

	// Put writes value if the item is at revision at. It does not keep value. ErrConflict.
	Put(ctx context.Context, k Key, value []byte, at Revision) (Revision, error)

	// Delete removes the item if it is at revision at. Deleting what is absent with Any is nil.
	// ErrConflict.
	Delete(ctx context.Context, k Key, at Revision) error

	// List walks a group in no order. A concurrent write may or may not be seen; an item is never
	// seen twice. The first error ends the walk.
	List(ctx context.Context, group string) iter.Seq2[Item, error]
}

// Fencer is offered by stores that can compare tokens.
type Fencer interface {
	// Fence claims group for t and returns a Store whose writes to that group carry t. A claim or
	// write below the greatest token ever claimed gives ErrFenced and changes nothing. Claim and
	// check are one atomic step with the write.
	Fence(ctx context.Context, group string, t Token) (Store, error)
}
