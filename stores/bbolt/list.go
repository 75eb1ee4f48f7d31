package bbolt

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	bolt "go.etcd.io/bbolt"

	"github.com/granary-go/granary/core"
)

// A page is what List reads in one transaction: a walk that held one would keep the file growing, and a
// write from within it could wait for ever.
const (
	pageItems = 128
	pageBytes = 1 << 20
)

// List walks a group by name. It sees of concurrent writes what is ahead of it.
func (s *Store) List(ctx context.Context, group string) iter.Seq2[core.Item, error] {
	return func(yield func(core.Item, error) bool) {
		var after []byte // the last name of the page before; nil: none
		for {
			page, more, err := s.page(ctx, group, after)
			if err != nil {
				yield(core.Item{}, fmt.Errorf("bbolt: list %q: %w", group, err))
				return
			}
			for _, it := range page {
				if !yield(it, nil) {
					return
				}
			}
			if !more {
				return
			}
			after = stored(page[len(page)-1].Key.Name)
		}
	}
}

// page reads the items that follow a name.
func (s *Store) page(ctx context.Context, name string, after []byte) (items []core.Item, more bool, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		g := groupOf(tx, name)
		if g.Bucket == nil {
			return nil
		}
		c := g.Cursor()
		key, record := c.Seek(after)
		if after != nil && bytes.Equal(key, after) {
			key, record = c.Next()
		}
		for size := 0; key != nil; key, record = c.Next() {
			if len(items) == pageItems || size > pageBytes {
				more = true
				return nil
			}
			it, err := item(core.Key{Group: name, Name: string(key[1:])}, record)
			if err != nil {
				return err
			}
			items, size = append(items, it), size+len(record)
		}
		return nil
	})
	return items, more, err
}
