package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// install makes a folder of the cache by a function that fills a new one: never twice at the same time, and
// whole or not at all. There is nothing to do where have is nil.
func install(ctx context.Context, dir string, have func() error, fill func(fresh string) error) error {
	if have() == nil {
		return nil
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	release, err := lock(ctx, filepath.Join(parent, ".lock"))
	if err != nil {
		return fmt.Errorf("wait for another that fills %s: %w", parent, err)
	}
	defer release()
	if have() == nil { // by the one that had the lock
		return nil
	}
	left, _ := filepath.Glob(filepath.Join(parent, ".new-*")) // the pattern is well formed
	for _, l := range left {
		_ = os.RemoveAll(l) // of one that was killed; it takes space alone
	}
	fresh, err := os.MkdirTemp(parent, ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	made := filepath.Join(fresh, "made")
	if err := errors.Join(os.Chmod(fresh, 0o755), os.Mkdir(made, 0o755)); err != nil {
		return err
	}
	if err := fill(made); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Rename(made, dir)
}

// lock waits until it has a file for this process alone, until release or the end of the process.
func lock(ctx context.Context, path string) (release func(), err error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		release, err = tryLock(path)
		if !errors.Is(err, errLocked) {
			return release, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

var errLocked = errors.New("another process has the lock")

// retry tries three times what may fail by the network, and waits longer each time.
func retry(ctx context.Context, pause time.Duration, try func() error) error {
	for n := 1; ; n++ {
		err := try()
		if err == nil || n == 3 {
			return err
		}
		if ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		select {
		case <-time.After(time.Duration(n) * pause):
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

const retryPause = 5 * time.Second

// perform runs a program in a folder; an error has the end of what it said. What it prints goes to out too,
// where that is not nil.
func perform(ctx context.Context, dir string, env []string, out func(line string), args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	said := &lines{each: out}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Run(); err != nil {
		text := said.all.String()
		return text, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, text[max(0, len(text)-4000):])
	}
	return said.all.String(), nil
}

// lines hands each line of what is written to a function.
type lines struct {
	each func(string)
	all  strings.Builder
	rest string
}

func (l *lines) Write(p []byte) (int, error) {
	l.all.Write(p)
	if l.each != nil {
		l.rest += string(p)
		for {
			line, rest, found := strings.Cut(l.rest, "\n")
			if !found {
				break
			}
			l.each(line)
			l.rest = rest
		}
	}
	return len(p), nil
}
