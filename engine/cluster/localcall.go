package cluster

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
)

// localCall is a call within this process on its way through the mailbox. It is pooled: the turn
// releases it, the caller waits on its reply slot only. Its state carries a generation, so that a
// caller which gives up late cannot take back a later call.
type localCall struct {
	state   atomic.Uint64 // generation, and in the last two bits a phase
	ctx     context.Context
	method  *grain.MethodSpec
	arg     any
	headers map[string]string
	chain   []core.Identity // grains that wait for this call; nil: called from outside of grains
}

const (
	callQueued  = 0
	callRunning = 1
	callGivenUp = 2
	callPhases  = 4
)

var localCalls = sync.Pool{New: func() any { return new(localCall) }} // holds nothing between uses

func newLocalCall(ctx context.Context, m *grain.MethodSpec, arg any) *localCall {
	call := localCalls.Get().(*localCall)
	call.ctx, call.method, call.arg = ctx, m, arg
	return call
}

// begin is called by the turn. False: the caller has given up, and the method is not to run.
func (call *localCall) begin() bool {
	s := call.state.Load()
	return s%callPhases == callQueued && call.state.CompareAndSwap(s, s+callRunning)
}

// giveUp is called by the caller with the state it began with. True: the method will not run.
func (call *localCall) giveUp(s uint64) bool { return call.state.CompareAndSwap(s, s+callGivenUp) }

// release ends the generation.
func (call *localCall) release() {
	call.ctx, call.method, call.arg, call.headers, call.chain = nil, nil, nil, nil, nil
	s := call.state.Load()
	call.state.Store(s - s%callPhases + callPhases)
	localCalls.Put(call)
}
