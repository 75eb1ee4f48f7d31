package gossip

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/fuzztest"
)

// FuzzStateKeys: what a member says of its keys is read within bounds, and comes back as it was.
func FuzzStateKeys(f *testing.F) {
	f.Add([]byte{})
	f.Add(listingOf([]Value{{Key: "j", Version: 1}, {Key: "k", Version: 1 << 60}}, "").Data)
	f.Add([]byte{0x0a, 3, 0x0a, 1, 'k', 0x15, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzztest.Decoder[map[string]uint64]{
			Decode: func(data []byte) (map[string]uint64, error) {
				keys, ok := parseListing(core.Message{Type: TypeKeys, Data: data})
				if !ok {
					return nil, fmt.Errorf("no list: %w", core.ErrInvalid)
				}
				return keys, nil
			},
			Encode: func(keys map[string]uint64) ([]byte, error) {
				var values []Value
				for _, key := range slices.Sorted(maps.Keys(keys)) {
					values = append(values, Value{Key: key, Version: keys[key]})
				}
				return listingOf(values, "").Data, nil
			},
		}.Check(t, data)
	})
}
