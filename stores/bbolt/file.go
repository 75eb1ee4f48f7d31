package bbolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"syscall"

	bolt "go.etcd.io/bbolt"

	"github.com/granary-go/granary/core"
)

// The layout of the file: three buckets. A group is a bucket of its own within items, and the sequence of
// items is the last revision. Groups and names have a byte in front of them, since bbolt keeps no empty
// keys.
var (
	bucketFile   = []byte("granary") // format
	bucketItems  = []byte("items")   // group -> name -> revision (8 bytes, big endian), value
	bucketClaims = []byte("claims")  // group -> token (epoch, sequence: 8 bytes each, big endian)
	keyFormat    = []byte("format")
)

// format is the version of that layout.
const format = "1"

func stored(text string) []byte { return append([]byte{'.'}, text...) }

// group is a bucket that may not be there; then it is empty.
type group struct{ *bolt.Bucket }

func groupOf(tx *bolt.Tx, name string) group {
	return group{tx.Bucket(bucketItems).Bucket(stored(name))}
}

// Get is the record of a name, nil if there is none; it is valid within the transaction.
func (g group) Get(name []byte) []byte {
	if g.Bucket == nil {
		return nil
	}
	return g.Bucket.Get(name)
}

// item reads a record.
func item(k core.Key, record []byte) (core.Item, error) {
	switch {
	case record == nil:
		return core.Item{}, core.ErrNotFound
	case len(record) < 8:
		return core.Item{}, fmt.Errorf("a record of %d bytes: %w", len(record), errDamaged)
	}
	return core.Item{Key: k, Value: bytes.Clone(record[8:]), Revision: core.Revision(binary.BigEndian.Uint64(record))}, nil
}

// view reads.
func (s *Store) view(ctx context.Context, do func(*bolt.Tx) error) error {
	return s.transact(ctx, s.db.View, do)
}

// update writes: all of it, on disk, or nothing. It may wait for other writers; ctx is looked at before
// that and after.
func (s *Store) update(ctx context.Context, do func(*bolt.Tx) error) error {
	return s.transact(ctx, s.db.Update, func(tx *bolt.Tx) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return do(tx)
	})
}

// errDamaged says that the file is not what was written.
var errDamaged = fmt.Errorf("the file is damaged; put back a copy of it: %w", core.ErrInvalid)

// transact runs one transaction.
func (s *Store) transact(ctx context.Context, run func(func(*bolt.Tx) error) error, do func(*bolt.Tx) error) error {
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.closed {
		return core.ErrStopped
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err := guard(func() error { return run(do) })
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%s: %w: %w", s.path, err, core.ErrOverloaded)
	case errors.Is(err, errDamaged):
		return fmt.Errorf("%s: %w", s.path, err)
	}
	return err
}

// guard runs do. A file that was cut or overwritten shows itself as a fault of memory or as a panic of
// bbolt: that is an error of this call, and no end of the process.
func guard(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%v: %w", v, errDamaged)
		}
	}()
	return do()
}
