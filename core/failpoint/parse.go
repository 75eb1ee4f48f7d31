//go:build failpoints

package failpoint

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// parse reads "name=action;name=N*action(argument)".
func parse(list string) (map[string]*action, error) {
	out := map[string]*action{}
	for entry := range strings.SplitSeq(list, ";") {
		if strings.TrimSpace(entry) == "" {
			continue
		}
		name, text, found := strings.Cut(strings.TrimSpace(entry), "=")
		if !found || name == "" {
			return nil, fmt.Errorf("%q: want name=action", entry)
		}
		a, err := parseAction(text)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", entry, err)
		}
		out[name] = a
	}
	return out, nil
}

func parseAction(text string) (*action, error) {
	a := &action{left: -1}
	if times, rest, found := strings.Cut(text, "*"); found && !strings.Contains(times, "(") {
		n, err := strconv.Atoi(times)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is no number of passes", times)
		}
		a.left, text = n, rest
	}
	verb, argument, called := strings.Cut(text, "(")
	if called {
		inside, closed := strings.CutSuffix(argument, ")")
		if !closed {
			return nil, errors.New("the parenthesis is not closed")
		}
		argument = inside
	}
	do, err := effect(verb, argument, called)
	a.do = do
	return a, err
}

// effect is what an action does: to panic, exit or sleep is what the test has asked for.
func effect(verb, argument string, called bool) (func() error, error) {
	switch {
	case verb == "panic" && !called:
		return func() error { panic("failpoint") }, nil
	case verb == "kill" && !called:
		return kill, nil
	case verb == "error" && called:
		return func() error { return errors.New(argument) }, nil
	case verb == "exit" && called:
		code, err := strconv.Atoi(argument)
		return func() error { os.Exit(code); return nil }, err
	case verb == "sleep" && called:
		d, err := time.ParseDuration(argument)
		return func() error { time.Sleep(d); return nil }, err
	}
	return nil, fmt.Errorf("%q is none of panic, kill, exit(code), sleep(duration), error(text)", verb)
}

// kill ends the process as the kernel would: no deferred call runs, nothing is flushed.
func kill() error {
	p, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	if err := p.Kill(); err != nil {
		return err
	}
	select {}
}
