package bbolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/granary-go/granary/core"
)

// fullDisk writes until there is no room: what was acknowledged stays, and room that is made is used.
func fullDisk(path string) error {
	ctx := context.Background()
	s, cleanup, err := Open(Config{Path: path})
	if err != nil {
		return err
	}
	key := func(i int) core.Key { return core.Key{Group: "g", Name: strconv.Itoa(i)} }
	written := 0
	for ; written < 1000; written++ {
		if _, err = s.Put(ctx, key(written), make([]byte, 20_000), core.Absent); err != nil {
			break
		}
	}
	if written < 3 || !errors.Is(err, core.ErrOverloaded) || !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("after %d items: %w", written, err)
	}
	there := func(s *Store) error {
		for i := range written {
			if it, err := s.Get(ctx, key(i)); err != nil || len(it.Value) != 20_000 {
				return fmt.Errorf("item %d of %d: %d bytes, %w", i, written, len(it.Value), err)
			}
		}
		if _, err := s.Get(ctx, key(written)); !errors.Is(err, core.ErrNotFound) {
			return fmt.Errorf("the item without room: %w", err)
		}
		return nil
	}
	if err := there(s); err != nil {
		return err
	}
	cleanup()
	if s, cleanup, err = Open(Config{Path: path}); err != nil {
		return fmt.Errorf("open again: %w", err)
	}
	defer cleanup()
	if err := there(s); err != nil {
		return fmt.Errorf("opened again: %w", err)
	}
	if err := syscall.Mount("tmpfs", filepath.Dir(path), "tmpfs", syscall.MS_REMOUNT, "size=8m"); err != nil {
		return err
	}
	if _, err := s.Put(ctx, key(written), make([]byte, 20_000), core.Absent); err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	return nil
}

// readOnly opens a store whose file may be read only.
func readOnly(dir string) error {
	path := filepath.Join(dir, "store.db")
	_, cleanup, err := Open(Config{Path: path})
	if err != nil {
		return err
	}
	cleanup()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return err
	}
	for _, file := range []string{path, filepath.Join(dir, "new.db")} {
		_, _, err := Open(Config{Path: file})
		if !errors.Is(err, syscall.EROFS) && !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("open %s on a read-only file system: %w", filepath.Base(file), err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "new.db")); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the new file: %w", err)
	}
	return nil
}
