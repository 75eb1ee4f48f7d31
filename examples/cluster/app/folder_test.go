//go:build unix

package app

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// A driver that is killed leaves no records behind: its children remove them when they end.
func TestKilledDriverLeavesNoRecords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := launchIn(t, dir, "", "-identities", "50", "-callers", "4")
	p.await("calls/s  p50")
	if got := folders(t, dir); len(got) != 1 {
		t.Errorf("while it runs there is %q, want the one folder of its records", got)
	}
	p.signal(os.Kill)
	<-p.exited
	p.nothingLeft()
	if got := folders(t, dir); len(got) != 0 {
		t.Errorf("%q is left", got)
	}
}

func folders(t *testing.T, dir string) []string {
	t.Helper()
	got, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// The next run removes what was left when all processes of one were killed, and nothing else.
func TestRemoveStale(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	make := func(name string, age time.Duration) string {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "m1.jsonl"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
		return path
	}
	stale, held := make(folderPrefix+"stale", time.Hour), make(folderPrefix+"held", time.Hour)
	fresh, other := make(folderPrefix+"fresh", 0), make("records", time.Hour)
	release, err := lock(held)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	own, err := recordFolder("")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{stale: false, held: true, fresh: true, other: true, own: true} {
		if _, err := os.Stat(filepath.Join(path, "m1.jsonl")); path != own && (err == nil) != want {
			t.Errorf("%s: there %v, want %v", filepath.Base(path), err == nil, want)
		}
	}
	if err := hold(own); err != nil {
		t.Fatal(err)
	}
	runtime.GC() // which must not let go of it
	runtime.GC()
	if _, err := lock(own); err == nil {
		t.Error("the folder of a driver can be taken from it")
	}
}
