package bbolt_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/stores/bbolt"
)

func ExampleStore() {
	dir, err := os.MkdirTemp("", "granary")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	key := core.Key{Group: "Cart/alice", Name: "state"}

	store, cleanup, err := bbolt.Open(bbolt.Config{Path: filepath.Join(dir, "granary.db")})
	if err != nil {
		panic(err)
	}
	revision, err := store.Put(ctx, key, []byte("tea"), core.Absent)
	if err != nil {
		panic(err)
	}
	cleanup()

	again, cleanup, err := bbolt.Open(bbolt.Config{Path: filepath.Join(dir, "granary.db")})
	if err != nil {
		panic(err)
	}
	defer cleanup()
	item, err := again.Get(ctx, key)
	fmt.Println(string(item.Value), item.Revision == revision, err)
	// Output: tea true <nil>
}
