package app

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/granary-go/granary/examples/cluster/history"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // a condition failed
	exitUsage  = 2 // wrong use, or something that the run needs cannot be had
)

// Main runs the program in the role that its environment names, and returns the exit code: 0 if all
// conditions held, 1 if one failed, 2 for wrong use. Stdout carries the JSON object or the text for
// people, stderr everything else.
func Main(args []string, stdout, stderr io.Writer, parts Parts) int {
	if told := os.Getenv(startVariable); told != "" {
		return runChild(told, stdout, stderr, parts)
	}
	// Every signal but the first is swallowed: the end that the first one asks for is bounded.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		return refuse(o, err, stdout, stderr)
	}
	people := stdout
	if o.JSON {
		people = stderr
	}
	o = parts.named(o)
	d, err := newDriver(ctx, o, people, stderr, parts)
	if err != nil {
		return refuse(o, err, stdout, stderr)
	}
	d.run(ctx)
	return tell(o, d.judge(), stdout, people)
}

// refuse tells why there is no run, also to a program that reads the object.
func refuse(o Options, why error, stdout, stderr io.Writer) int {
	fmt.Fprintln(stderr, why)
	if o.JSON {
		printJSON(stdout, history.Failed(o.config(), why.Error()))
	}
	return exitUsage
}

// tell prints the outcome and returns the exit code.
func tell(o Options, sum *history.Summary, stdout, people io.Writer) int {
	printSummary(people, sum)
	if o.JSON {
		printJSON(stdout, sum)
	}
	if !sum.OK {
		return exitFailed
	}
	return exitOK
}

func printJSON(out io.Writer, sum *history.Summary) {
	line, err := json.Marshal(sum)
	if err != nil {
		line = []byte("{}") // unreachable: a summary holds numbers and texts
	}
	fmt.Fprintf(out, "%s\n", line)
}

// runChild is a child process.
func runChild(told string, stdout, stderr io.Writer, parts Parts) int {
	var s start
	if err := json.Unmarshal([]byte(told), &s); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", startVariable, err)
		return exitUsage
	}
	signal.Ignore(os.Interrupt) // the driver decides when its children end
	p, ctx := newPipe(os.Stdin, stdout, func() {
		s.abandon()
		os.Exit(exitFailed)
	})
	run := runMember
	if s.Role == roleCaller {
		run = runCaller
	}
	err := run(ctx, s, p, parts)
	if err != nil {
		p.send(notice{Error: err.Error()})
	}
	p.flush()
	if err != nil {
		return exitFailed
	}
	return exitOK
}

// logger shows errors only: what else the engine has to say is in the live lines and the records.
func logger(process string) *slog.Logger {
	handler := slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})
	return slog.New(handler).With("process", process)
}
