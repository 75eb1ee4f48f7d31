package app

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"
)

// A child that nobody reads does not stand still in its hooks, and what it sent is there in the end.
func TestPipeDoesNotWaitForItsReader(t *testing.T) {
	in, toChild := io.Pipe()
	fromChild, out := io.Pipe()
	gone := make(chan struct{})
	p, ctx := newPipe(in, out, func() { close(gone) })
	running := 7
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range enough / 2 {
			p.send(notice{Ready: true})
		}
		for range 2 * enough {
			p.offer(notice{Running: &running})
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the child waits for its reader")
	}
	if _, err := io.WriteString(toChild, `{"do":"sweep","sweep":3}`+"\n"+`{"do":"stop"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	if o := <-p.orders; o.Do != doSweep || o.Sweep != 3 {
		t.Errorf("order %+v", o)
	}
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the order to stop was not heard")
	}

	ready := 0
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := json.NewDecoder(fromChild); ; {
			var n notice
			if lines.Decode(&n) != nil {
				return
			}
			if n.Ready {
				ready++
			}
		}
	}()
	p.flush()
	out.Close()
	<-read
	if ready != enough/2 {
		t.Errorf("%d of %d notices arrived", ready, enough/2)
	}
	toChild.Close()
	<-gone
}

// A child whose driver writes nonsense is better gone.
func TestPipeRefusesNonsense(t *testing.T) {
	gone := make(chan struct{})
	p, ctx := newPipe(strings.NewReader("{\"do\":\"load\"}\nnonsense\n{\"do\":\"stop\"}\n"), io.Discard, func() { close(gone) })
	<-gone
	if len(p.orders) != 1 || ctx.Err() != nil {
		t.Errorf("%d orders, context %v", len(p.orders), ctx.Err())
	}
	p.flush()
}

func TestNoticesSurviveThePipe(t *testing.T) {
	text := `{"load":{"calls":3,"errors":1,"p50":1.5,"p99":2},"members":["a","b"],"hash":"ff"}`
	var n notice
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(n)
	if err != nil || !strings.Contains(string(line), `"calls":3`) || n.Load.P50 != 1.5 || len(n.Members) != 2 {
		t.Errorf("notice %+v, line %s, error %v", n, line, err)
	}
}
