// Figures measures what an operator asks of a provider, on this machine, with real servers and default settings:
// how soon a member that joins is seen, how soon one that was killed is gone, and what a member asks of the server.
//
//	go run ./figures -provider consul [-rounds 5] [-write ../docs/providers.md]
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run returns the exit code: 0 measured, 1 something failed, 2 wrong use.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if told := os.Getenv(childVariable); told != "" {
		return runChild(ctx, told, stdout, stderr)
	}
	flags := flag.NewFlagSet("figures", flag.ContinueOnError)
	flags.SetOutput(stderr)
	name := flags.String("provider", "", strings.Join(names(), ", "))
	rounds := flags.Int("rounds", 5, "how often each time is taken")
	write := flags.String("write", "", "`file` in which the table of the provider is replaced")
	if flags.Parse(args) != nil {
		return 2
	}
	s, known := subjects[*name]
	if !known || *rounds < 1 || flags.NArg() > 0 {
		fmt.Fprintf(stderr, "usage: make figures PROVIDER=%s [ROUNDS=5]\n", strings.Join(names(), "|"))
		return 2
	}
	table, err := measure(ctx, s, *rounds, stderr)
	if err == nil && *write != "" {
		err = replace(*write, *name, table)
	}
	if err != nil {
		fmt.Fprintln(stderr, "figures:", err)
		return 1
	}
	fmt.Fprint(stdout, table)
	return 0
}

// taken are the times of one figure.
type taken []time.Duration

func (t taken) String() string {
	slices.Sort(t)
	return fmt.Sprintf("%s (%s–%s)", short(t[len(t)/2]), short(t[0]), short(t[len(t)-1]))
}

func short(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// replace puts table between the marks of the provider in a file.
func replace(name, provider, table string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	begin, end := "<!-- figures "+provider+" -->\n", "<!-- end "+provider+" -->\n"
	before, rest, found := strings.Cut(string(data), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return fmt.Errorf("%s has no lines %q and %q", name, begin, end)
	}
	return os.WriteFile(name, []byte(before+begin+table+end+after), 0o644)
}
