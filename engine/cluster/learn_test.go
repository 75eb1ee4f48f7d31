package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/pidcache"
)

// TestAMemberSpeaksForItselfAlone: where a grain is, is believed of nobody but the member that runs it.
func TestAMemberSpeaksForItselfAlone(t *testing.T) {
	n, err := New(Config{}, Single())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer n.Stop(context.Background())
	id := core.Identity{Kind: "Keeper", Key: "x"}
	for _, place := range []core.Placement{{}, {PID: core.PID{Address: "h:2", ID: "g/1", Member: "other"}}} {
		n.learn(id, "told", place)
		if e, ok := n.known(id); ok {
			t.Errorf("%v is believed: %v", place, e)
		}
	}
	own := core.Placement{PID: core.PID{Address: "h:1", ID: "g/1", Member: "told"}}
	n.learn(id, "told", own)
	if e, ok := n.known(id); !ok || e.PID != own.PID {
		t.Errorf("its own word is not taken: %v, %v", e, ok)
	}
}

// TestWhatAnotherViewMayMendWaitsForIt, and no longer: an owner that is away, gone or wrong is another one in
// the next view. What no view mends waits as long as the rule says.
func TestWhatAnotherViewMayMendWaitsForIt(t *testing.T) {
	for err, early := range map[error]bool{
		core.ErrUnreachable: true, core.ErrNoMember: true, core.ErrNotOwner: true, core.ErrBusy: false, core.ErrOverloaded: false,
	} {
		t.Run(err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := testNode(t)
				n.acts = newTable(pidcache.New(1).Hash)
				next := make(chan struct{})
				began, took := time.Now(), make(chan time.Duration, 1)
				go func() {
					if err := n.pause(t.Context(), core.Identity{Kind: "K", Key: "k"}, &installed{next: next}, time.Minute, fmt.Errorf("x: %w", err)); err != nil {
						t.Error(err)
					}
					took <- time.Since(began)
				}()
				time.Sleep(time.Second)
				close(next)
				want := time.Minute
				if early {
					want = time.Second
				}
				if got := <-took; got != want {
					t.Errorf("waited for %v, want %v", got, want)
				}
			})
		})
	}
}

func TestPauseEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testNode(t)
		n.acts = newTable(pidcache.New(1).Hash)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		err := n.pause(ctx, core.Identity{Kind: "K", Key: "k"}, &installed{next: make(chan struct{})}, time.Minute, core.ErrUnreachable)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}
