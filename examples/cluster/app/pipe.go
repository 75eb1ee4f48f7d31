package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"
)

// pipe is a child's side: orders in, notices out. When the driver is gone, its end of the pipe closes
// and the process exits at once, so nothing is left running.
type pipe struct {
	orders  chan order
	hurry   chan struct{} // closed by an order to stop that is hurried
	notices chan *notice  // nil is the last
	flushed chan struct{}
}

// enough is how many orders or notices wait at most. The driver does not read while its terminal is
// held, and a member must not wait for that in its hooks.
const enough = 1024

// newPipe starts to read orders and to write notices. The context ends with the order to stop; gone is
// called when there will be no more orders.
func newPipe(in io.Reader, out io.Writer, gone func()) (*pipe, context.Context) {
	ctx, stop := context.WithCancel(context.Background()) // the root of this process
	p := &pipe{orders: make(chan order, enough), hurry: make(chan struct{}), notices: make(chan *notice, enough), flushed: make(chan struct{})}
	go func() {
		p.read(in, stop)
		gone()
	}()
	go p.write(out)
	return p, ctx
}

func (p *pipe) read(in io.Reader, stop context.CancelFunc) {
	lines := bufio.NewScanner(in)
	hurry := sync.OnceFunc(func() { close(p.hurry) })
	for lines.Scan() {
		var o order
		if json.Unmarshal(lines.Bytes(), &o) != nil {
			return
		}
		if o.Do == doStop {
			stop()
			if o.Hurried {
				hurry()
			}
			continue
		}
		select {
		case p.orders <- o:
		default: // nobody takes them; the pipe must be read all the same, to see its end
		}
	}
}

func (p *pipe) write(out io.Writer) {
	defer close(p.flushed)
	lines := json.NewEncoder(out)
	for n := range p.notices {
		if n == nil {
			return
		}
		_ = lines.Encode(n) // fails when the driver is gone, and then the reader ends this process
	}
}

// send hands a notice to the writer. It waits only if very many have not been read.
func (p *pipe) send(n notice) { p.notices <- &n }

// offer is send for what may be left out.
func (p *pipe) offer(n notice) {
	select {
	case p.notices <- &n:
	default:
	}
}

// leaving is the context of a leave, and whether it was cut short since the user waits. What ended the run
// must not cut the way out.
func (p *pipe) leaving() (ctx context.Context, hurried func() bool, end context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), processLimit)
	over := make(chan struct{})
	go func() {
		select {
		case <-over:
			return
		case <-p.hurry:
		}
		timer := time.NewTimer(hurriedStop)
		defer timer.Stop()
		select {
		case <-over:
		case <-timer.C:
			cancel()
		}
	}()
	hurried = func() bool { return errors.Is(ctx.Err(), context.Canceled) }
	return ctx, hurried, func() { close(over); cancel() }
}

// flush waits until everything that was sent is written. It is the last call.
func (p *pipe) flush() {
	p.notices <- nil
	<-p.flushed
}
