//go:build failpoints

package failpoint

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/granary-go/granary/core/leaktest"
)

func TestMain(m *testing.M) {
	if os.Getenv("FAILPOINT_CHILD") != "" {
		Here("a")
		err := Err("a")
		fmt.Println("survived:", err, Err("a"))
		os.Exit(0)
	}
	leaktest.Main(m)
}

func TestSet(t *testing.T) {
	errOuter, errInner := errors.New("outer"), errors.New("inner")
	before := Passed("p")
	if err := Err("p"); err != nil {
		t.Errorf("unset: %v", err)
	}
	outer := Set("p", func() error { return errOuter })
	inner := Set("p", func() error { return errInner })
	if err := Err("p"); !errors.Is(err, errInner) || !strings.Contains(err.Error(), "failpoint p") {
		t.Errorf("%v", err)
	}
	inner()
	if err := Err("p"); !errors.Is(err, errOuter) {
		t.Errorf("%v", err)
	}
	outer()
	Here("p")
	if err := Err("p"); err != nil {
		t.Errorf("restored: %v", err)
	}
	if n := Passed("p") - before; n != 5 {
		t.Errorf("passed %d times, want 5", n)
	}
}

func TestEnvironment(t *testing.T) {
	tests := []struct {
		list string
		want string // of the output, and "exit status N"
	}{
		{"", "survived: <nil> <nil>"},
		{"b=panic", "survived: <nil> <nil>"},
		{"a=error(disk full)", "survived: failpoint a: disk full failpoint a: disk full"},
		{"a=2*error(x)", "survived: failpoint a: x <nil>"},
		{" a=exit(7) ; b=panic", "exit status 7"},
		{"a=panic", "panic: failpoint"},
		{"a=kill", "signal: killed"},
		{"a=sleep(1ms)", "survived: <nil> <nil>"},
		{"a=sleep(soon)", "exit status 2"},
		{"a=sleep(1s", "exit status 2"},
		{"a=explode", "none of panic"},
		{"a=x*panic", "exit status 2"},
		{"a", "want name=action"},
	}
	for _, tt := range tests {
		t.Run(tt.list, func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "FAILPOINT_CHILD=1", "GRANARY_FAILPOINTS="+tt.list)
			out, err := cmd.CombinedOutput()
			if got := fmt.Sprintf("%s %v", out, err); !strings.Contains(got, tt.want) {
				t.Errorf("%q, want %q in it", got, tt.want)
			}
		})
	}
}

func TestSleepTakesItsTime(t *testing.T) {
	actions, err := parse("a=sleep(20ms)")
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := actions["a"].do(); err != nil || time.Since(begin) < 20*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}
