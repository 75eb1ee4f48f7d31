package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/granary-go/granary/tools/internal/modules"
)

// consumer is one run: a copy of the checkout as it would be released, and its packs.
type consumer struct {
	checkout string
	root     string // of the copy
	tmp      string // where programs are made
	version  string
	env      []string
	all      []*modules.Module
	sums     []byte // go.sum of everything that the checkout knows
	budgets  budgets
}

// one is a thing that is built; its name is the first word of its line, and of its budget.
type one struct {
	name  string
	build func(ctx context.Context, c *consumer, dir string) (binary string, err error)
}

// consume runs everything whose name matches only, and counts.
func consume(ctx context.Context, checkout, released string, only *regexp.Regexp, out io.Writer) (ok, failed int, err error) {
	tmp, err := os.MkdirTemp("", "granary-consumer-")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(tmp)
	c, err := prepare(ctx, tmp, checkout, released)
	if err != nil {
		return 0, 0, err
	}
	c.forget(ctx)
	defer c.forget(ctx)
	for i, o := range c.list() {
		if !only.MatchString(o.name) || ctx.Err() != nil {
			continue
		}
		line, err := c.try(ctx, o, filepath.Join(tmp, fmt.Sprint("use", i)))
		if err != nil {
			failed++
			fmt.Fprintf(out, "consumer %s FAILED: %v\n", o.name, err)
			continue
		}
		ok++
		fmt.Fprintf(out, "consumer %s %s ok\n", o.name, line)
	}
	return ok, failed, ctx.Err()
}

// prepare copies the checkout, releases the copy unless it is a release, and packs it.
func prepare(ctx context.Context, tmp, checkout, released string) (*consumer, error) {
	c := &consumer{checkout: checkout, root: filepath.Join(tmp, "tree"), tmp: tmp, version: released}
	if err := copyTree(c.root, checkout); err != nil {
		return nil, fmt.Errorf("copy the checkout: %w", err)
	}
	if released == "" {
		// A version of its own, so that no run meets what another put into the module cache.
		c.version = fmt.Sprintf("v0.0.0-check.%d", rand.Uint64())
		if _, err := modules.Release(c.root, c.version); err != nil {
			return nil, err
		}
	}
	var err error
	if c.all, err = modules.Read(c.root); err != nil {
		return nil, err
	}
	proxy := filepath.Join(tmp, "proxy")
	for _, m := range c.all {
		if err := errors.Join(judge(m, c.version), m.Pack(proxy, c.version)); err != nil {
			return nil, err
		}
	}
	if c.budgets, err = readBudgets(filepath.Join(c.root, "tools", "consumer", "budgets.txt")); err != nil {
		return nil, err
	}
	if c.sums, err = knownSums(c.root); err != nil {
		return nil, err
	}
	return c, c.environment(ctx, proxy)
}

// list is everything to build.
func (c *consumer) list() (all []one) {
	for _, m := range c.all {
		if m.Dir != "cmd/granary-gen" { // a program: the generator below
			all = append(all, whole(m))
		}
	}
	return slices.Concat(all, []one{generator()}, programs())
}

// try builds o in dir, runs it, and holds it against its budget.
func (c *consumer) try(ctx context.Context, o one, dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	binary, err := o.build(ctx, c, dir)
	if err != nil {
		return "", err
	}
	compiled, size, err := compiledInto(binary, o.name)
	if err != nil {
		return "", err
	}
	if err := c.budgets.check(o.name, compiled); err != nil {
		return "", err
	}
	return fmt.Sprintf("modules=%d size=%d", len(compiled), size), nil
}
