package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func Example() {
	fmt.Println(run(context.Background(), os.Stdout, false, ""))
	// Output:
	// added tea: 1 different
	// added milk: 2 different
	// in the cart: map[milk:1 tea:1]
	// <nil>
}

// A client finds the cart as the member left it.
func TestMemberAndClient(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	read, write := io.Pipe()
	served := make(chan error, 1)
	go func() {
		err := run(ctx, write, true, "")
		_ = write.CloseWithError(err)
		served <- err
	}()

	var seeds string
	lines := bufio.NewScanner(read)
	for seeds == "" && lines.Scan() {
		_, seeds, _ = strings.Cut(lines.Text(), "join with -seeds ")
	}
	if seeds == "" {
		t.Fatal(<-served)
	}
	var out strings.Builder
	if err := run(t.Context(), &out, false, seeds); err != nil {
		t.Fatal(err)
	}
	const want = "added tea: 2 different\nadded milk: 2 different\nin the cart: map[milk:2 tea:2]\n"
	if out.String() != want {
		t.Errorf("the client printed:\n%s", &out)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// What is wrong with the flags is told before anything starts.
func TestBadSeeds(t *testing.T) {
	if err := run(t.Context(), io.Discard, false, "nowhere"); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("%v", err)
	}
}

// A seed that does not answer is told as such, once the time for starting is over.
func TestSilentSeed(t *testing.T) {
	for _, serve := range []bool{false, true} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		err := run(ctx, io.Discard, serve, "127.0.0.1:1")
		cancel()
		if !errors.Is(err, core.ErrUnreachable) || !strings.Contains(err.Error(), "127.0.0.1:1") {
			t.Errorf("serve %v: %v", serve, err)
		}
	}
}
