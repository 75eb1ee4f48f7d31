package app

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"sync"
)

// pipe is a child's side: orders in, notices out. When the driver is gone, its end of the pipe closes
// and the process exits at once, so nothing is left running.
type pipe struct {
	orders chan order

	mu  sync.Mutex // guards out
	out *json.Encoder
}

func newPipe(in io.Reader, out io.Writer) *pipe {
	p := &pipe{orders: make(chan order, 16), out: json.NewEncoder(out)}
	go func() {
		lines := bufio.NewScanner(in)
		for lines.Scan() {
			var o order
			if json.Unmarshal(lines.Bytes(), &o) == nil {
				p.orders <- o
			}
		}
		os.Exit(1)
	}()
	return p
}

// send writes one notice. An error means that the driver is gone, and the reader ends the process.
func (p *pipe) send(n notice) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.out.Encode(n)
}
