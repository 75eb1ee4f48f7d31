package bbolt

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	bolt "go.etcd.io/bbolt"

	"github.com/granary-go/granary/core"
)

// Bounds of what is kept, in bytes. What is beyond them gives core.ErrInvalid, and nothing is written.
const (
	MaxName  = bolt.MaxKeySize - 1 // of a group, and of a name
	MaxValue = 64 << 20
)

// Store keeps items in a file. It offers core.Fencer. Safe for concurrent use. After Close every method
// returns core.ErrStopped.
//
// A write through the Store itself carries no token and is not compared with claims; from Level 3 on the
// engine writes through Fence only.
type Store struct {
	path string
	db   *bolt.DB

	closing sync.RWMutex // held for reading by every call
	closed  bool
}

// Get returns a copy of the item at k.
func (s *Store) Get(ctx context.Context, k core.Key) (core.Item, error) {
	var it core.Item
	err := s.view(ctx, func(tx *bolt.Tx) (err error) {
		it, err = item(k, groupOf(tx, k.Group).Get(stored(k.Name)))
		return err
	})
	if err != nil {
		return core.Item{}, fmt.Errorf("bbolt: get %q/%q: %w", k.Group, k.Name, err)
	}
	return it, nil
}

// Put writes value if the item is at revision at.
func (s *Store) Put(ctx context.Context, k core.Key, value []byte, at core.Revision) (core.Revision, error) {
	return s.put(ctx, k, value, at, nil)
}

// Delete removes the item if it is at revision at.
func (s *Store) Delete(ctx context.Context, k core.Key, at core.Revision) error {
	return s.remove(ctx, k, at, nil)
}

// Close ends the store, after the calls under way. A second call returns nil.
func (s *Store) Close() error {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("bbolt: close %s: %w", s.path, err)
	}
	return nil
}

// put writes under a claim, if there is one.
func (s *Store) put(ctx context.Context, k core.Key, value []byte, at core.Revision, under *fenced) (core.Revision, error) {
	var next core.Revision
	err := fits(k, value)
	if err == nil {
		err = s.update(ctx, func(tx *bolt.Tx) error {
			if _, err := check(tx, k, at, under); err != nil {
				return err
			}
			items := tx.Bucket(bucketItems)
			n, err := items.NextSequence()
			if err != nil {
				return err
			}
			group, err := items.CreateBucketIfNotExists(stored(k.Group))
			if err != nil {
				return err
			}
			next = core.Revision(n)
			return group.Put(stored(k.Name), append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(value)), n), value...))
		})
	}
	if err != nil {
		return 0, fmt.Errorf("bbolt: put %q/%q: %w", k.Group, k.Name, err)
	}
	return next, nil
}

// remove deletes under a claim, if there is one. A group without items is no more.
func (s *Store) remove(ctx context.Context, k core.Key, at core.Revision, under *fenced) error {
	err := s.update(ctx, func(tx *bolt.Tx) error {
		there, err := check(tx, k, at, under)
		if err != nil || there == core.Absent {
			return err
		}
		group := tx.Bucket(bucketItems).Bucket(stored(k.Group))
		if err := group.Delete(stored(k.Name)); err != nil {
			return err
		}
		if first, _ := group.Cursor().First(); first != nil {
			return nil
		}
		return tx.Bucket(bucketItems).DeleteBucket(stored(k.Group))
	})
	if err != nil {
		return fmt.Errorf("bbolt: delete %q/%q: %w", k.Group, k.Name, err)
	}
	return nil
}

// check is the revision of the item at k, if it may be written.
func check(tx *bolt.Tx, k core.Key, at core.Revision, under *fenced) (core.Revision, error) {
	if under != nil && k.Group == under.group {
		if err := checkClaim(tx, under.group, under.token); err != nil {
			return 0, err
		}
	}
	there := core.Absent
	if record := groupOf(tx, k.Group).Get(stored(k.Name)); record != nil {
		it, err := item(k, record)
		if err != nil {
			return 0, err
		}
		there = it.Revision
	}
	if at != core.Any && at != there {
		return 0, fmt.Errorf("it is at revision %d, not %d: %w", there, at, core.ErrConflict)
	}
	return there, nil
}

// fits refuses what bbolt would not keep.
func fits(k core.Key, value []byte) error {
	switch {
	case len(k.Group) > MaxName || len(k.Name) > MaxName:
		return fmt.Errorf("a group of %d and a name of %d bytes, the most is %d: %w", len(k.Group), len(k.Name), MaxName, core.ErrInvalid)
	case len(value) > MaxValue:
		return fmt.Errorf("a value of %d bytes, the most is %d: %w", len(value), MaxValue, core.ErrInvalid)
	}
	return nil
}

var (
	_ core.Store  = (*Store)(nil)
	_ core.Fencer = (*Store)(nil)
	_ core.Store  = (*fenced)(nil)
)
