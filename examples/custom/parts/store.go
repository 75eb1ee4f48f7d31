package parts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"

	"github.com/granary-go/granary/core"
)

// Folder is where the processes of one machine keep what they share.
type Folder string

// Store is a core.Store of one file an item. What it has answered survives every process, but not the machine.
type Store struct{ folder Folder }

// NewStore makes the store of a folder, which it creates.
func NewStore(f Folder) (*Store, error) {
	if err := os.MkdirAll(string(f), 0o755); err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	return &Store{f}, nil
}

// file is the content of a file.
type file struct {
	Name     string
	Revision core.Revision
	Value    []byte
}

func (s *Store) group(name string) string { return filepath.Join(string(s.folder), digest(name)) }

func (s *Store) place(k core.Key) string { return filepath.Join(s.group(k.Group), digest(k.Name)) }

// digest makes any text the name of a file.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// Get reads one file. Files are replaced as a whole, so it needs no lock.
func (s *Store) Get(ctx context.Context, k core.Key) (core.Item, error) {
	f, err := s.read(ctx, s.place(k))
	if err != nil {
		return core.Item{}, fmt.Errorf("files: get %q/%q: %w", k.Group, k.Name, err)
	}
	return core.Item{Key: k, Value: f.Value, Revision: f.Revision}, nil
}

func (s *Store) read(ctx context.Context, place string) (f file, err error) {
	if err := ctx.Err(); err != nil {
		return f, err
	}
	data, err := os.ReadFile(place)
	if errors.Is(err, fs.ErrNotExist) {
		return f, core.ErrNotFound
	}
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	return f, err
}

// Put writes a file beside the old one and moves it there. Its revision is drawn, so none comes twice.
func (s *Store) Put(ctx context.Context, k core.Key, value []byte, at core.Revision) (core.Revision, error) {
	next := file{k.Name, core.Revision(rand.Uint64N(1<<63-1) + 1), value}
	data, err := json.Marshal(next)
	if err == nil {
		err = s.change(ctx, k, at, func(place string) error {
			if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(place+"~", data, 0o644); err != nil {
				return err
			}
			return os.Rename(place+"~", place)
		})
	}
	if err != nil {
		return 0, fmt.Errorf("files: put %q/%q: %w", k.Group, k.Name, err)
	}
	return next.Revision, nil
}

// Delete removes a file.
func (s *Store) Delete(ctx context.Context, k core.Key, at core.Revision) error {
	err := s.change(ctx, k, at, func(place string) error {
		if err := os.Remove(place); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("files: delete %q/%q: %w", k.Group, k.Name, err)
	}
	return nil
}

// change does write if the item is at revision at, while no other process changes anything.
func (s *Store) change(ctx context.Context, k core.Key, at core.Revision, write func(place string) error) error {
	lock, err := os.OpenFile(filepath.Join(string(s.folder), "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close() // and with it ends the lock
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	place := s.place(k)
	was, err := s.read(ctx, place)
	if err != nil && !errors.Is(err, core.ErrNotFound) {
		return err
	}
	if at != core.Any && at != was.Revision { // that of no file is core.Absent
		return core.ErrConflict
	}
	return write(place)
}

// List walks the folder of a group.
func (s *Store) List(ctx context.Context, group string) iter.Seq2[core.Item, error] {
	return func(yield func(core.Item, error) bool) {
		names, err := filepath.Glob(filepath.Join(s.group(group), "*[^~]"))
		for _, name := range names {
			f, failed := s.read(ctx, name)
			switch {
			case errors.Is(failed, core.ErrNotFound): // deleted meanwhile
				continue
			case failed != nil:
				err = failed
			case yield(core.Item{Key: core.Key{Group: group, Name: f.Name}, Value: f.Value, Revision: f.Revision}, nil):
				continue
			default:
				return
			}
			break
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			yield(core.Item{}, fmt.Errorf("files: list %q: %w", group, err))
		}
	}
}

var _ core.Store = (*Store)(nil)
