package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
)

// keeper is the grain of most tests. What it does is told by its key and by what it is asked.
type keeper struct {
	self grain.Self
	tell func(string)
	kept []string
}

var errKeeper = errors.New("keeper's own error")

// keeperKind makes a kind of keepers; tell hears of their lives.
func keeperKind(name string, tell func(event string)) grain.Kind {
	if tell == nil {
		tell = func(string) {}
	}
	factory := func(self grain.Self) (*keeper, error) {
		tell("make")
		switch self.Identity().Key {
		case "error-make":
			return nil, errKeeper
		case "panic-make":
			panic("in the factory")
		case "goexit-make":
			runtime.Goexit()
		case "nil-make":
			return nil, nil //nolint:nilnil // that is the mistake
		}
		return &keeper{self: self, tell: tell}, nil
	}
	return grain.KindOf(name, factory,
		grain.Method("Keep", (*keeper).Keep),
		grain.Method("Nest", (*keeper).Nest),
		grain.Method("Mutual", (*keeper).Nest).Reentrant(),
		grain.Method("Count", func(k *keeper, _ context.Context, _ int) (int, error) { return len(k.kept), nil }),
	)
}

func (k *keeper) Activate(ctx context.Context) error {
	k.tell("activate")
	switch k.self.Identity().Key {
	case "error-activate":
		return errKeeper
	case "panic-activate":
		panic("in Activate")
	case "goexit-activate":
		runtime.Goexit()
	case "hang-activate":
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (k *keeper) Deactivate(ctx context.Context, why core.StopReason) error {
	k.tell("deactivate " + why.String())
	switch k.self.Identity().Key {
	case "hang-deactivate":
		<-ctx.Done()
		return ctx.Err()
	case "panic-deactivate":
		panic("in Deactivate")
	case "goexit-deactivate":
		runtime.Goexit()
	case "slow-deactivate":
		time.Sleep(300 * time.Millisecond)
	}
	return nil
}

// Keep does what it is told.
func (k *keeper) Keep(ctx context.Context, what string) (string, error) {
	k.kept = append(k.kept, what)
	k.tell("keep " + what)
	switch what {
	case "error":
		return "", errKeeper
	case "panic":
		panic("in Keep")
	case "goexit":
		runtime.Goexit()
	case "hang":
		<-ctx.Done()
		return "", ctx.Err()
	case "sleep":
		time.Sleep(time.Second)
	case "stop":
		k.self.Stop()
	case "deadline":
		at, ok := ctx.Deadline()
		if !ok {
			return "none", nil
		}
		return fmt.Sprint(time.Until(at).Round(time.Millisecond)), nil
	case "turn":
		turn, ok := grain.FromContext(ctx)
		return fmt.Sprint(ok, " ", turn.Header("h"), " ", turn.Identity() == k.self.Identity()), nil
	case "peer":
		turn, _ := grain.FromContext(ctx)
		return string(turn.Peer.ID), nil
	}
	return fmt.Sprint(len(k.kept)), nil
}

// Nest is a way through several grains: each calls the next one.
func (k *keeper) Nest(ctx context.Context, path []string) (string, error) {
	me := k.self.Identity().Key
	if len(path) == 0 {
		return me, nil
	}
	method := "Nest"
	next := path[0]
	if next[0] == '!' {
		method, next = "Mutual", next[1:]
	}
	below, err := grain.Call[string](ctx, k.self, core.Identity{Kind: k.self.Identity().Kind, Key: next}, method, path[1:])
	if err != nil {
		return "", err
	}
	return me + ">" + below, nil
}

func keep(ctx context.Context, c grain.Caller, kind, key, what string, opts ...grain.CallOption) (string, error) {
	return grain.Call[string](ctx, c, core.Identity{Kind: kind, Key: key}, "Keep", what, opts...)
}
