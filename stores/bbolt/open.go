package bbolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/granary-go/granary/core"
)

// Config says where the items are. Only Path is needed.
type Config struct {
	// Path is the file; it is made, readable by this user alone, if there is none. Its folder must be
	// there.
	Path string

	// LockTimeout is how long Open waits for another process that has the file open: 1 s.
	LockTimeout time.Duration
}

// Open opens the file of a store, and makes it if there is none; the function it returns closes the store
// again. Errors: core.ErrBusy where another process has it open, core.ErrInvalid where it is damaged, of a
// later format, or no file of a store, and what the file system says, such as fs.ErrPermission.
func Open(cfg Config) (*Store, func(), error) {
	if cfg.Path == "" {
		return nil, nil, fmt.Errorf("bbolt: open: Config.Path is empty: %w", core.ErrInvalid)
	}
	if cfg.LockTimeout == 0 {
		cfg.LockTimeout = time.Second
	}
	if err := whole(cfg); err != nil {
		return nil, nil, refused(cfg, err)
	}
	db, err := openFile(cfg, false)
	if err != nil {
		return nil, nil, refused(cfg, err)
	}
	if err := guard(func() error { return db.Update(layOut) }); err != nil {
		_ = db.Close() // the reason is err
		return nil, nil, refused(cfg, err)
	}
	s := &Store{path: cfg.Path, db: db}
	return s, func() { _ = s.Close() }, nil // everything that was written is on disk already
}

// openFile opens the file, and lets go of it if it cannot be read.
func openFile(cfg Config, readOnly bool) (db *bolt.DB, err error) {
	var file *os.File
	opts := &bolt.Options{Timeout: cfg.LockTimeout, ReadOnly: readOnly}
	opts.OpenFile = func(name string, flag int, mode fs.FileMode) (_ *os.File, err error) {
		file, err = os.OpenFile(name, flag, mode)
		return file, err
	}
	err = guard(func() (err error) {
		db, err = bolt.Open(cfg.Path, 0o600, opts)
		return err
	})
	if err != nil && file != nil {
		unlock(file)
		_ = file.Close() // bbolt has done so, unless it panicked
	}
	return db, err
}

// leastSize is that of the two pages which every file begins with, with the smallest pages.
const leastSize = 2 * 4096

// whole finds a file that was cut, before the pages that are missing are read: all that a file says of its
// size is in its first two pages.
func whole(cfg Config) error {
	info, err := os.Stat(cfg.Path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Size() < leastSize && info.Mode().IsRegular() {
		return fmt.Errorf("it has %d bytes: %w", info.Size(), errDamaged)
	}
	db, err := openFile(cfg, true)
	if err != nil {
		return err
	}
	err = guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			if tx.Size() > info.Size() {
				return fmt.Errorf("it has %d bytes, and should have %d: %w", info.Size(), tx.Size(), errDamaged)
			}
			return nil
		})
	})
	return errors.Join(err, db.Close())
}

// layOut makes the buckets, and refuses a file of another layout.
func layOut(tx *bolt.Tx) error {
	file, err := tx.CreateBucketIfNotExists(bucketFile)
	if err != nil {
		return err
	}
	switch have := file.Get(keyFormat); {
	case have == nil:
		if buckets(tx) > 1 {
			return fmt.Errorf("it is a bbolt file of another program: %w", core.ErrInvalid)
		}
		if err := file.Put(keyFormat, []byte(format)); err != nil {
			return err
		}
	case string(have) != format:
		return fmt.Errorf("it is of format %q, this version knows %s: %w", have, format, core.ErrInvalid)
	}
	for _, name := range [][]byte{bucketItems, bucketClaims} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return nil
}

func buckets(tx *bolt.Tx) (n int) {
	_ = tx.ForEach(func([]byte, *bolt.Bucket) error { n++; return nil }) // which does not fail
	return n
}

// refused says what to do about an error of Open.
func refused(cfg Config, err error) error {
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		err = fmt.Errorf("another process has had it open for %v; end that one, or name another file: %w", cfg.LockTimeout, core.ErrBusy)
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("make its folder first: %w", err)
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("this process must be able to read and write it: %w", err)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		err = fmt.Errorf("%w: %w", err, errDamaged)
	}
	return fmt.Errorf("bbolt: open %s: %w", cfg.Path, err)
}
