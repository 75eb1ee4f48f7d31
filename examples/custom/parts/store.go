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
type Store struct {
	folder Folder
	locks  [16]lock // an item has one, by its name
}

// lock is held by one goroutine of one process at a time.
type lock struct {
	file *os.File
	turn chan struct{} // holds one while this process has it: who waits for a file's lock blocks a thread
}

// NewStore makes the store of a folder, which it creates. The function it returns closes the store.
func NewStore(f Folder) (*Store, func(), error) {
	err := os.MkdirAll(string(f), 0o755)
	if err != nil {
		return nil, nil, fmt.Errorf("files: %w", err)
	}
	s := &Store{folder: f}
	for i := range s.locks {
		name := filepath.Join(string(f), fmt.Sprint("lock", i))
		if s.locks[i].file, err = os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644); err != nil {
			s.close()
			return nil, nil, fmt.Errorf("files: %w", err)
		}
		s.locks[i].turn = make(chan struct{}, 1)
	}
	return s, s.close, nil
}

func (s *Store) close() {
	for _, l := range s.locks {
		_ = l.file.Close() // nothing is written to it
	}
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
			err := os.WriteFile(place+"~", data, 0o644)
			if errors.Is(err, fs.ErrNotExist) { // the first of its group
				if err = os.MkdirAll(filepath.Dir(place), 0o755); err == nil {
					err = os.WriteFile(place+"~", data, 0o644)
				}
			}
			return errors.Join(err, os.Rename(place+"~", place))
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
	place := s.place(k)
	name := filepath.Base(place)
	l := &s.locks[int(name[0]+name[1])%len(s.locks)]
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := syscall.Flock(int(l.file.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	defer func() { _ = syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN) }() // fails for a closed file alone, which has no lock
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
