package remote

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/engine/actor"
)

func benchPair(b *testing.B) (x, y *node) {
	x, y = startNode(b, "x", nil), startNode(b, "y", nil)
	join(b, x, y)
	return x, y
}

func BenchmarkTell(b *testing.B) {
	for _, size := range []int{16, 1024} {
		b.Run(map[int]string{16: "16B", 1024: "1KiB"}[size], func(b *testing.B) {
			x, y := benchPair(b)
			var got atomic.Int64
			_, err := y.sys.SpawnNamed("sink", &actor.Props{
				Mailbox: actor.MailboxConfig{Kind: actor.Unbounded},
				New: func() actor.Actor {
					return actor.Func(func(c *actor.Context) {
						if _, ok := c.Message().(*wrapperspb.BytesValue); ok {
							got.Add(1)
						}
					})
				}})
			if err != nil {
				b.Fatal(err)
			}
			ref := x.at(y, "sink")
			msg := &wrapperspb.BytesValue{Value: make([]byte, size)}
			b.ReportAllocs()
			for b.Loop() {
				for ref.Tell(msg) != nil {
					runtime.Gosched()
				}
			}
			want := int64(b.N)
			for got.Load() < want {
				runtime.Gosched()
			}
		})
	}
}

func BenchmarkAsk(b *testing.B) {
	for _, row := range []struct {
		name    string
		callers int
		size    int
	}{{"1", 1, 16}, {"64", 64, 16}, {"64_1KiB", 64, 1024}} {
		b.Run(row.name, func(b *testing.B) {
			x, y := benchPair(b)
			refs := make([]*actor.Ref, row.callers)
			for i := range refs {
				name := fmt.Sprint("echo", i)
				y.echo(name)
				refs[i] = x.at(y, name)
			}
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for _, ref := range refs {
				wg.Go(func() {
					msg := &wrapperspb.BytesValue{Value: make([]byte, row.size)}
					for next.Add(1) <= int64(b.N) {
						if _, err := x.sys.Ask(context.Background(), ref, msg); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
