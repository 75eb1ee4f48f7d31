// Get puts servers that tests run against into the user's cache, if they are not there: redis, consul, or both.
// It runs in the folder of module integration of a checkout.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/granary-go/granary/integration/servers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run gets each in turn: where it is goes to stdout, what takes time to stderr.
func run(ctx context.Context, names []string, stdout, stderr io.Writer) int {
	say := func(line string) { fmt.Fprintln(stderr, line) }
	get := map[string]func() (string, error){
		"redis":  func() (string, error) { return servers.InstallRedis(ctx, say) },
		"consul": func() (string, error) { return servers.InstallConsul(ctx, filepath.Join("..", "tools", "consul"), say) },
	}
	for _, name := range names {
		if get[name] == nil {
			names = nil
		}
	}
	if len(names) == 0 {
		say("usage: get redis|consul …")
		return 2
	}
	for _, name := range names {
		path, err := get[name]()
		if err != nil {
			say(err.Error())
			return 1
		}
		fmt.Fprintf(stdout, "%s: %s\n", name, path)
	}
	return 0
}
