package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/granary-go/granary/tools/internal/modules"
)

const service = `syntax = "proto3";

package stock;

option go_package = "` + outside + `/stockpb";

message Take { uint32 pieces = 1; }
message Left { uint32 pieces = 1; }

service Shelf { rpc Remove(Take) returns (Left); }
`

const shelf = `package main

import (
	"context"
	"fmt"
	"log"

	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
	"` + outside + `/stockpb"
)

type shelf struct{ left uint32 }

func (s *shelf) Remove(_ context.Context, t *stockpb.Take) (*stockpb.Left, error) {
	s.left -= t.Pieces
	return &stockpb.Left{Pieces: s.left}, nil
}

func main() {
	ctx := context.Background()
	kind := stockpb.ShelfKind(func(grain.Self) (stockpb.ShelfGrain, error) { return &shelf{left: 10}, nil })
	node, err := cluster.New(cluster.Config{}, cluster.Single(kind))
	if err == nil {
		err = node.Start(ctx)
	}
	if err != nil {
		log.Fatal(err)
	}
	left, err := stockpb.Shelf(node, "tea").Remove(ctx, &stockpb.Take{Pieces: 3})
	fmt.Println(left.GetPieces(), "left", err)
	if err := node.Stop(ctx); err != nil {
		log.Fatal(err)
	}
}
`

// generator installs the generator at the version, and has it write a grain that a program uses.
func generator() one {
	return one{"generator", func(ctx context.Context, c *consumer, dir string) (string, error) {
		folder := filepath.Join(dir, "stockpb")
		err := errors.Join(
			os.Mkdir(folder, 0o755),
			os.WriteFile(filepath.Join(folder, "stock.proto"), []byte(service), 0o644),
			os.WriteFile(filepath.Join(dir, "main.go"), []byte(shelf), 0o644),
		)
		if err != nil {
			return "", err
		}
		installer := *c
		installer.env = append(installer.env[:len(installer.env):len(installer.env)], "GOBIN="+dir)
		if _, err := installer.run(ctx, dir, "go", "install", modules.Prefix+"cmd/granary-gen@"+c.version); err != nil {
			return "", err
		}
		binary := filepath.Join(dir, "granary-gen")
		if _, err := c.run(ctx, folder, binary, "stock.proto"); err != nil {
			return "", err
		}
		_, err = c.runs(ctx, dir, "7 left <nil>")
		return binary, err
	}}
}
