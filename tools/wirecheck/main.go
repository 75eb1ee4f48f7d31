// Command wirecheck holds the workspace to what wire makes of it. It checks that
//
//   - every committed wire_gen.go is what wire generates, less the go:generate line that a workspace
//     refuses;
//   - every published set has an injector in testdata/sets, and each of those generates and compiles;
//   - every faulty injector in testdata/errors fails with exactly the text beside it.
//
// Run it outside the workspace, in the folder of the tools module; wire itself runs inside:
//
//	GOWORK=off go run ./wirecheck           # check
//	GOWORK=off go run ./wirecheck -gen      # write wire_gen.go files
//	GOWORK=off go run ./wirecheck -update   # write the golden texts
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/granary-go/granary/tools/internal/pinned"
)

const wirePackage = "github.com/google/wire/cmd/wire"

func main() {
	root := flag.String("root", "..", "folder of go.work")
	tools := flag.String("tools", ".", "folder of the tools module")
	gen := flag.Bool("gen", false, "write wire_gen.go files instead of checking")
	update := flag.Bool("update", false, "write the golden texts instead of comparing them")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *root, *tools, *gen, *update); err != nil {
		fmt.Fprintln(os.Stderr, "wirecheck:", err)
		stop()
		os.Exit(1)
	}
}

// run checks the workspace at root, or writes its wire_gen.go files, with the tools that the module
// at tools pins and the cases in its testdata.
func run(ctx context.Context, out io.Writer, root, tools string, gen, update bool) error {
	w, err := openWorkspace(ctx, root)
	if err != nil {
		return err
	}
	bin, err := pinned.Build(ctx, tools, wirePackage)
	if err != nil {
		return err
	}
	tool := wireTool{bin: bin, gowork: filepath.Join(w.root, "go.work")}
	injectors, err := findInjectors(w)
	if err != nil {
		return err
	}
	alone := wireTool{bin: bin, gowork: "off"}
	if gen {
		if err := errors.Join(tool.generate(ctx, w.root, injectors), alone.generate(ctx, w.application(), []string{w.application()})); err != nil {
			return err
		}
		fmt.Fprintf(out, "wire: %d injector packages generated\n", len(injectors)+1)
		return nil
	}
	cases := filepath.Join(tools, "wirecheck", "testdata")
	return errors.Join(
		checkInjectors(ctx, out, w, tool, injectors),
		alone.compare(ctx, w.application(), []string{w.application()}),
		checkSets(ctx, out, w, bin, filepath.Join(cases, "sets")),
		checkErrors(ctx, out, w, bin, filepath.Join(cases, "errors"), update),
	)
}

// checkInjectors compares the committed wire_gen.go files.
func checkInjectors(ctx context.Context, out io.Writer, w *workspace, tool wireTool, injectors []string) error {
	if err := tool.compare(ctx, w.root, injectors); err != nil {
		return err
	}
	fmt.Fprintf(out, "wire: %d injector packages are as generated\n", len(injectors))
	return nil
}
