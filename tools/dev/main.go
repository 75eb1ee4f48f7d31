package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

const usage = "usage: dev test|fuzz|verify [flags]"

func run(ctx context.Context, args []string) int {
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, usage)
		return 2
	}
	w, err := openWorkspace()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	flags := flag.NewFlagSet(args[0], flag.ExitOnError)
	only := flags.String("only", "", "regular expression: only the steps whose name matches")
	log := flags.String("log", "", "file for the go test -json of all")
	amount := fuzzAmount("10s")
	flags.Var(&amount, "time", "`time` of fuzzing a target, or a number of inputs: 400x")
	target := flags.String("target", "", "regular expression: only the fuzz targets that match")
	if err := flags.Parse(args[1:]); err != nil {
		return 2
	}
	pattern, err := regexp.Compile(*only + *target)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	switch args[0] {
	case "test":
		return testAll(ctx, w, pattern, *log)
	case "fuzz":
		return fuzzAll(ctx, w, pattern, amount)
	case "verify":
		return verifyAll(w)
	}
	fmt.Fprintln(os.Stderr, usage)
	return 2
}
