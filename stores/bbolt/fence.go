package bbolt

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"

	bolt "go.etcd.io/bbolt"

	"github.com/granary-go/granary/core"
)

// Fence claims group for t.
func (s *Store) Fence(ctx context.Context, group string, t core.Token) (core.Store, error) {
	err := fits(core.Key{Group: group}, nil)
	if err == nil {
		err = s.update(ctx, func(tx *bolt.Tx) error {
			if err := checkClaim(tx, group, t); err != nil {
				return err
			}
			value := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, t.Epoch), t.Seq)
			return tx.Bucket(bucketClaims).Put(stored(group), value)
		})
	}
	if err != nil {
		return nil, fmt.Errorf("bbolt: fence %q: %w", group, err)
	}
	return &fenced{store: s, group: group, token: t}, nil
}

// checkClaim refuses a token below the greatest that was claimed for group.
func checkClaim(tx *bolt.Tx, group string, t core.Token) error {
	value := tx.Bucket(bucketClaims).Get(stored(group))
	if value == nil {
		return nil
	}
	if len(value) != 16 {
		return fmt.Errorf("a claim of %d bytes: %w", len(value), errDamaged)
	}
	greatest := core.Token{Epoch: binary.BigEndian.Uint64(value), Seq: binary.BigEndian.Uint64(value[8:])}
	if t.Compare(greatest) < 0 {
		return fmt.Errorf("token %s is below %s: %w", t, greatest, core.ErrFenced)
	}
	return nil
}

// fenced is the Store whose writes to one group carry a token.
type fenced struct {
	store *Store
	group string
	token core.Token
}

func (f *fenced) Get(ctx context.Context, k core.Key) (core.Item, error) { return f.store.Get(ctx, k) }

func (f *fenced) Put(ctx context.Context, k core.Key, value []byte, at core.Revision) (core.Revision, error) {
	return f.store.put(ctx, k, value, at, f)
}

func (f *fenced) Delete(ctx context.Context, k core.Key, at core.Revision) error {
	return f.store.remove(ctx, k, at, f)
}

func (f *fenced) List(ctx context.Context, group string) iter.Seq2[core.Item, error] {
	return f.store.List(ctx, group)
}
