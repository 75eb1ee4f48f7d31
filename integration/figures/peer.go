package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// theirs are the figures of Proto.Actor's provider for the same product. Its program is a module of its own.
func theirs(ctx context.Context, s subject, rounds int, say func(string, ...any)) (figures, error) {
	say("building Proto.Actor's")
	folder, err := os.MkdirTemp("", "granary-figures")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	program := filepath.Join(folder, "peer")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, ".")
	build.Dir, build.Env = s.peer, append(os.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s: %w\n%s", s.peer, err, out)
	}
	at, err := s.serve(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = at.stop() }() // the figures stand
	say("%d of Proto.Actor's members joining and killed, and %d at rest, %v", rounds, members, quiet)
	return peerFigures(ctx, program, at, rounds)
}

// peerFigures runs the program and reads what it prints.
func peerFigures(ctx context.Context, program string, at server, rounds int) (figures, error) {
	cmd := exec.CommandContext(ctx, program, "-consul", at.at, "-rounds", strconv.Itoa(rounds), "-rest", quiet.String())
	cmd.WaitDelay = time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	times, before, f := map[string]taken{}, int64(0), figures{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		switch word, number, _ := strings.Cut(lines.Text(), " "); word {
		case "visible", "killed":
			ns, err := strconv.ParseInt(number, 10, 64)
			if err == nil {
				times[word] = append(times[word], time.Duration(ns))
			}
		case "rest":
			before, err = at.load(ctx)
		case "rested":
			var after int64
			if after, err = at.load(ctx); err == nil {
				f[load] = fmt.Sprintf("%.1f", float64(after-before)/members/quiet.Seconds())
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(program), err)
	}
	if len(times["visible"]) != rounds || len(times["killed"]) != rounds || f[load] == "" {
		return nil, fmt.Errorf("the program printed %v, and load %q", times, f[load])
	}
	f[visible], f[expired] = times["visible"].String(), times["killed"].String()
	return f, nil
}
