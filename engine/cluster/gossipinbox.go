package cluster

import "sync"

// inbox is what the owner of gossip has still to do, in order. Safe for concurrent use.
type inbox struct {
	mu     sync.Mutex
	work   []func()
	wake   chan struct{}
	closed bool
}

func (b *inbox) init() { b.wake = make(chan struct{}, 1) }

// add has one more thing done; false after close.
func (b *inbox) add(do func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.work = append(b.work, do)
	b.signal()
	return true
}

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take waits until there is something to do. After close, what is left comes with open false.
func (b *inbox) take() (work []func(), open bool) {
	<-b.wake
	b.mu.Lock()
	defer b.mu.Unlock()
	work, b.work = b.work, nil
	return work, !b.closed
}

// close takes nothing more.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.signal()
}
