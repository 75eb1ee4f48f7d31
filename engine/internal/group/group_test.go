package group_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/engine/internal/group"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func Example() {
	g := group.New()
	stop := make(chan struct{})
	g.Go("reader", func() { <-stop })
	fmt.Println(g.Left())
	close(stop)
	fmt.Println(g.Wait(context.Background()))
	// Output:
	// [reader]
	// <nil>
}

func TestWaitNamesWhoIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := group.New()
		stop := make(chan struct{})
		for range 3 {
			g.Go("reader", func() { <-stop })
		}
		g.Go("writer", func() { <-stop })
		g.Go("quick", func() {})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := g.Wait(ctx)
		if !errors.Is(err, group.ErrLeft) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Wait = %v; want ErrLeft and DeadlineExceeded", err)
		}
		if !strings.Contains(err.Error(), "reader ×3, writer") {
			t.Errorf("Wait = %q; want the names", err)
		}
		if got, want := g.Left(), []string{"reader ×3", "writer"}; !slices.Equal(got, want) {
			t.Errorf("Left = %v; want %v", got, want)
		}
		if g.Len() != 4 {
			t.Errorf("Len = %d; want 4", g.Len())
		}
		close(stop)
		if err := g.Wait(t.Context()); err != nil {
			t.Errorf("Wait = %v; want nil", err)
		}
	})
}

func TestWaitOfAnEmptyGroupReturnsAtOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := group.New().Wait(ctx); err != nil {
		t.Errorf("Wait = %v; want nil, also with an ended ctx", err)
	}
}

func TestWaitSeesGoroutinesOfGoroutines(t *testing.T) {
	g := group.New()
	var n atomic.Int32
	g.Go("a", func() { g.Go("b", func() { g.Go("c", func() { n.Add(1) }) }) })
	if err := g.Wait(t.Context()); err != nil || n.Load() != 1 {
		t.Errorf("Wait = %v with %d run; want nil and 1", err, n.Load())
	}
}

func TestWithStartsBySomebodyElse(t *testing.T) {
	var names []string
	g := group.With(func(name string, f func()) { names = append(names, name); f() })
	g.Go("x", func() {})
	if len(names) != 1 || names[0] != "x" || g.Len() != 0 {
		t.Errorf("names %v, left %v; want [x] and none", names, g.Left())
	}
}

func TestManyWaiters(t *testing.T) {
	g, stop := group.New(), make(chan struct{})
	waiters := group.New()
	g.Go("one", func() { <-stop })
	errs := make(chan error, 10)
	for range 10 {
		waiters.Go("waiter", func() { errs <- g.Wait(t.Context()) })
	}
	close(stop)
	for range 10 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if err := waiters.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}
