package leaktest

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

func TestRunPassesWhenGoroutinesEnd(t *testing.T) {
	var out strings.Builder
	code := run(func() int {
		go time.Sleep(20 * time.Millisecond)
		return 0
	}, 5*time.Second, &out)
	if code != 0 || out.Len() > 0 {
		t.Fatalf("code %d, printed %q", code, out.String())
	}
}

func leakyWait(done chan struct{}) { <-done }

func TestRunFailsWithTheStackOfWhatIsLeft(t *testing.T) {
	done := make(chan struct{})
	defer close(done)
	var out strings.Builder
	code := run(func() int { go leakyWait(done); return 0 }, 30*time.Millisecond, &out)
	if code != 1 {
		t.Errorf("code %d, want 1", code)
	}
	if text := out.String(); !strings.Contains(text, "leakyWait") || !strings.Contains(text, "after the last test: 1\n") {
		t.Errorf("printed %q", text)
	}
}

func TestRunKeepsTheCodeOfFailedTests(t *testing.T) {
	var out strings.Builder
	if code := run(func() int { return 3 }, time.Second, &out); code != 3 || out.Len() > 0 {
		t.Fatalf("code %d, printed %q", code, out.String())
	}
}

// recorder is a testing.TB whose failures and cleanups are kept instead of acted upon.
type recorder struct {
	testing.TB
	cleanups []func()
	errors   []string
}

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *recorder) end() {
	for _, f := range r.cleanups {
		f()
	}
}

func TestCheckInBubble(t *testing.T) {
	tests := []struct {
		name string
		take time.Duration
		want int
	}{
		{"ends in time", time.Second, 0},
		{"ends too late", time.Minute, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			outside := make(chan struct{})
			defer close(outside)
			synctest.Test(t, func(t *testing.T) {
				r := &recorder{TB: t}
				Check(r)
				go time.Sleep(tt.take)
				r.end()
				if len(r.errors) != tt.want {
					t.Errorf("errors %q, want %d", r.errors, tt.want)
				}
				time.Sleep(tt.take) // a bubble ends only with its goroutines
			})
		})
	}
}

func TestCheckIgnoresOlderGoroutines(t *testing.T) {
	done := make(chan struct{})
	defer close(done)
	go leakyWait(done)
	r := &recorder{TB: t}
	Check(r)
	r.end()
	if len(r.errors) > 0 {
		t.Errorf("errors %q", r.errors)
	}
}

func TestParse(t *testing.T) {
	tests := []struct{ record, id, bubble string }{
		{"goroutine 7 [running]:\nmain.main()", "7", ""},
		{"goroutine 70 [chan receive (durable), synctest bubble 12]:\nf()", "70", "synctest bubble 12"},
		{"goroutine 71 [select (durable), 3 minutes, synctest bubble 2, locked to thread]:\nf()", "71", "synctest bubble 2"},
		{"created by", "", ""},
	}
	for _, tt := range tests {
		if g := parse(tt.record); g.id != tt.id || g.bubble != tt.bubble {
			t.Errorf("parse(%q) = %q %q, want %q %q", tt.record, g.id, g.bubble, tt.id, tt.bubble)
		}
	}
}
