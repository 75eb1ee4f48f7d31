package remote

import (
	"context"
	"fmt"

	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/engine/actor"
)

// cpu reports the processor time of the benchmark, which other work on the machine disturbs less.
func cpu(b *testing.B) func() {
	var before syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	return func() {
		var after syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
		spent := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
		b.ReportMetric(float64(spent)/float64(b.N), "cpu-ns/op")
	}
}

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
			spent := cpu(b)
			for i := 0; b.Loop(); i++ {
				for int64(i)-got.Load() > 20_000 || ref.Tell(msg) != nil {
					time.Sleep(50 * time.Microsecond)
				}
			}
			for got.Load() < int64(b.N) {
				time.Sleep(50 * time.Microsecond)
			}
			spent()
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
			defer cpu(b)()
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
