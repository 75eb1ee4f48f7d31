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

// Main runs the program in the role that its environment names, and returns the exit code: 0 if all
// conditions held, 1 if one failed, 2 for wrong use. Stdout carries the JSON object or the text for
// people, stderr everything else.
func Main(args []string, stdout, stderr io.Writer, parts Parts) int {
	if told := os.Getenv(startVariable); told != "" {
		return runChild(told, stdout, stderr, parts)
	}
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return drive(ctx, o, stdout, stderr)
}

func runChild(told string, stdout, stderr io.Writer, parts Parts) int {
	var s start
	if err := json.Unmarshal([]byte(told), &s); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", startVariable, err)
		return 2
	}
	signal.Ignore(os.Interrupt) // the driver decides when its children end
	p := newPipe(os.Stdin, stdout)
	run := runMember
	if s.Role == "caller" {
		run = runCaller
	}
	if err := run(s, p, parts); err != nil {
		p.send(notice{Error: err.Error()})
		return 1
	}
	return 0
}

// logger shows errors only: what else the engine has to say is in the live lines and the records.
func logger(process string) *slog.Logger {
	handler := slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})
	return slog.New(handler).With("process", process)
}

// drive runs the plan, judges the records, prints the outcome and returns the exit code.
func drive(ctx context.Context, o Options, stdout, stderr io.Writer) int {
	people := stdout
	if o.JSON {
		people = stderr
	}
	d, err := newDriver(o, people, stderr)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	d.run(ctx)
	sum := d.judge(ctx.Err() != nil)
	if o.JSON {
		line, err := json.Marshal(sum)
		if err != nil {
			fmt.Fprintln(stderr, err)
			return 1
		}
		fmt.Fprintf(stdout, "%s\n", line)
	}
	printSummary(people, sum)
	if !sum.OK {
		return 1
	}
	return 0
}

// judge reads the records and computes the summary from them alone; what kept the driver from
// running its plan is added as a reason.
func (d *driver) judge(interrupted bool) *history.Summary {
	if err := d.rec.Close(); err != nil {
		d.trouble = append(d.trouble, err.Error())
	}
	run, err := history.Read(d.dir)
	if err != nil {
		run = &history.Run{Config: d.config()}
		d.trouble = append(d.trouble, err.Error())
	}
	sum := history.Check(run, interrupted)
	sum.Reasons = append(sum.Reasons, d.trouble...)
	sum.OK = len(sum.Reasons) == 0
	if d.opts.History == "" {
		if err := os.RemoveAll(d.dir); err != nil {
			fmt.Fprintln(d.stderr, err)
		}
	}
	return sum
}
