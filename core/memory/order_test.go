package memory

import (
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/fuzztest"
)

func FuzzOrder(f *testing.F) {
	whole := order{core.Token{Epoch: 3, Seq: 1 << 40}, core.Identity{Kind: "Cart", Key: "a/b"}}.encode()
	f.Add(whole)
	f.Add(whole[:32])
	f.Add([]byte("+000000000000001-000000000000002Cart/a"))
	d := fuzztest.Decoder[order]{Decode: parseOrder, Encode: func(o order) ([]byte, error) { return o.encode(), nil }}
	f.Fuzz(func(t *testing.T, data []byte) { d.Check(t, data) })
}
