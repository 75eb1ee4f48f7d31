package bbolt

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
)

// fill makes a file of some size and closes it.
func fill(t *testing.T, path string, items int) {
	t.Helper()
	s := open(t, path)
	for i := range items {
		put(t, s, core.Key{Group: "g" + strconv.Itoa(i%3), Name: strconv.Itoa(i)}, strings.Repeat("v", 10_000))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestTruncated cuts the file everywhere: an error says so, and the process goes on.
func TestTruncated(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "whole.db")
	fill(t, path, 30)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, left := range []int{1, 100, 4096, 8192, 12_288, 16_384, 32_768, 65_536, 100_000} {
		if left >= len(data) {
			t.Fatalf("the file has %d bytes", len(data))
		}
		cut := filepath.Join(dir, strconv.Itoa(left))
		if err := os.WriteFile(cut, data[:left], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Open(Config{Path: cut, LockTimeout: 100 * time.Millisecond}); !errors.Is(err, core.ErrInvalid) || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%d bytes of %d: %v", left, len(data), err)
		}
	}
}

// TestTruncatedWhileOpen: what can no longer be read is an error of each call.
func TestTruncatedWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	fill(t, path, 30)
	s, _, err := Open(Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := os.Truncate(path, 8192); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), core.Key{Group: "g1", Name: "1"}); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("get: %v", err)
	}
	for _, err := range s.List(t.Context(), "g1") {
		if !errors.Is(err, core.ErrInvalid) {
			t.Errorf("list: %v", err)
		}
	}
}

// TestOverwritten turns every page of the file to rubbish in turn.
func TestOverwritten(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "whole.db")
	fill(t, path, 12)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	for at := 2 * page; at < len(data); at += page {
		bad := append([]byte(nil), data...)
		for i := range page {
			bad[at+i] = byte(i*7) | 1
		}
		file := filepath.Join(dir, "bad")
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, cleanup, err := Open(Config{Path: file})
		if err != nil {
			if !errors.Is(err, core.ErrInvalid) {
				t.Errorf("page %d: open: %v", at/page, err)
			}
			continue
		}
		for i := range 12 {
			_, err := s.Get(t.Context(), core.Key{Group: "g" + strconv.Itoa(i%3), Name: strconv.Itoa(i)})
			if err != nil && !errors.Is(err, core.ErrNotFound) && !errors.Is(err, core.ErrInvalid) {
				t.Errorf("page %d: get: %v", at/page, err)
			}
		}
		_, _ = s.Put(t.Context(), core.Key{Group: "g"}, nil, core.Any) // it may succeed
		cleanup()
	}
}

// childVariable tells this program to be the child of a test, in a mount namespace of its own.
const childVariable = "GRANARY_BBOLT_MOUNT"

// inNamespace runs this program again where it may mount what nobody else sees.
func inNamespace(t *testing.T, what string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), childVariable+"="+what+" "+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Unshareflags: 0}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestFullDisk and TestReadOnly run on a small file system in memory that they mount themselves.
func TestFullDisk(t *testing.T) { inNamespace(t, "full") }

func TestReadOnly(t *testing.T) { inNamespace(t, "readonly") }

// child runs one of these tests and says what went wrong.
func child(arg string) int {
	what, dir, _ := strings.Cut(arg, " ")
	err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	if err == nil {
		err = syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m")
	}
	if err == nil && what == "full" {
		err = fullDisk(filepath.Join(dir, "store.db"))
	} else if err == nil {
		err = readOnly(dir)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}
