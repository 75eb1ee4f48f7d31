// With runs a command beside a server of its own, and puts where that is in place of {} in the arguments:
//
//	go run ./servers/with redis go run ../examples/deployments/redis -redis {} -customer alice
//
// The server, redis or consul, ends with the command.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/granary-go/granary/integration/servers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run returns the exit code: that of the command, 2 for wrong use.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	start := map[string]func() (string, func() error, error){
		"redis": func() (string, func() error, error) {
			r, err := servers.StartRedis(ctx, servers.RedisConfig{})
			if err != nil {
				return "", nil, err
			}
			return r.Addr, r.Stop, nil
		},
		"consul": func() (string, func() error, error) {
			c, err := servers.StartConsul(ctx, servers.ConsulConfig{})
			if err != nil {
				return "", nil, err
			}
			return c.URL, c.Stop, nil
		},
	}
	if len(args) < 2 || start[args[0]] == nil {
		fmt.Fprintln(stderr, "usage: with redis|consul COMMAND [ARGUMENT|{}]…")
		return 2
	}
	at, stop, err := start[args[0]]()
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	code := command(ctx, args[1:], at, stdout, stderr)
	if err := stop(); err != nil {
		fmt.Fprintln(stderr, err)
		return max(code, 1)
	}
	return code
}

// command runs the command, with at in place of {}.
func command(ctx context.Context, args []string, at string, stdout, stderr io.Writer) int {
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "{}", at)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, stdout, stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return max(exit.ExitCode(), 1)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}
