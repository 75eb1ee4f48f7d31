// Consumer proves a release before it is tagged: it packs the modules as they would be released, serves the
// packs as a module proxy, and uses them as an outside program does.
//
//	go run ./consumer [-dir checkout] [-released v0.2.0] [-only regexp]
//
// Every module is imported whole and alone; the programs of the documentation are built and run; the
// generator is installed at the version and generates. What each compiles is held against budgets.txt.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run returns the exit code: 0 all is well, 1 something is not, 2 wrong use.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("consumer", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("dir", "..", "the `checkout`; it is copied, not changed")
	released := flags.String("released", "", "the checkout is a release commit of this `version`; else one is made of the copy")
	only := flags.String("only", "", "`regexp` of names: only these")
	if flags.Parse(args) != nil || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "usage: make consumer [RELEASED=v0.2.0] [ONLY=regexp of names]")
		return 2
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	ok, failed, err := consume(ctx, *dir, *released, pattern, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "consumer:", err)
		failed++
	}
	fmt.Fprintf(stdout, "consumer: %d ok, %d failed\n", ok, failed)
	if failed > 0 || ok == 0 {
		return 1
	}
	return 0
}
