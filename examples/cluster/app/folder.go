package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// folderPrefix begins the names of folders for the records of one run alone.
const folderPrefix = "granary-cluster-"

// settled is the age from which a folder is taken for left behind if no driver holds it.
const settled = time.Minute

// recordFolder makes the folder that -history names, or one for this run alone.
func recordFolder(name string) (string, error) {
	if name == "" {
		removeStale(time.Now())
		return os.MkdirTemp("", folderPrefix)
	}
	if err := os.MkdirAll(name, 0o755); err != nil {
		return "", fmt.Errorf("-history: %w", err)
	}
	old, err := filepath.Glob(filepath.Join(name, "*.jsonl"))
	if err == nil && len(old) > 0 {
		err = errors.New("it holds the records of another run: name a new or empty folder")
	}
	if err != nil {
		return "", fmt.Errorf("-history %s: %w", name, err)
	}
	return name, nil
}

// hold keeps other runs from removing a folder as long as this process lives.
func hold(dir string) error {
	_, err := lock(dir) // the kernel lets go of it with the process
	return err
}

// removeStale removes what runs have left that were killed with all their processes. What cannot be
// removed is another user's, and left to him.
func removeStale(now time.Time) {
	found, err := filepath.Glob(filepath.Join(os.TempDir(), folderPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range found {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || now.Sub(info.ModTime()) < settled {
			continue
		}
		if release, err := lock(dir); err == nil {
			_ = os.RemoveAll(dir)
			release()
		}
	}
}

// abandon removes the records of a run whose driver is gone, unless -history asked for them. Every child
// does so when it ends, and the last one leaves nothing.
func (s start) abandon() {
	if s.Options.History == "" {
		_ = os.RemoveAll(s.Dir) // the next run tries again
	}
}
