package app

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/granary-go/granary/examples/cluster/history"
)

// Options are the flags of a run.
type Options struct {
	Members    int
	For        time.Duration
	Callers    int
	Identities int
	Timeout    time.Duration
	Kill       bool
	Join       bool
	Rolling    bool
	Provider   string
	Lookup     string
	Level      int
	Consul     string
	Redis      string
	Seed       uint64
	History    string
	JSON       bool

	Recovery time.Duration // no flag: how long a recovery may take
}

// recoveryBound says how long a recovery may take with a provider; 0 for one that is unknown.
func recoveryBound(provider string) time.Duration {
	switch provider {
	case "memberlist":
		return 10 * time.Second
	case "redis":
		return 15 * time.Second
	case "consul":
		return 30 * time.Second
	}
	return 0
}

func (o *Options) flags() *flag.FlagSet {
	f := flag.NewFlagSet("cluster", flag.ContinueOnError)
	f.IntVar(&o.Members, "members", 3, "member processes that form the cluster")
	f.DurationVar(&o.For, "for", 30*time.Second, "time under load; a recovery that takes longer is waited for")
	f.IntVar(&o.Callers, "callers", 64, "concurrent callers")
	f.IntVar(&o.Identities, "identities", 10000, "grains that are called")
	f.DurationVar(&o.Timeout, "timeout", 5*time.Second, "deadline of a call")
	f.BoolVar(&o.Kill, "kill", true, "kill one member with SIGKILL after a third of the time; not by default with -rolling")
	f.BoolVar(&o.Join, "join", true, "add one member after two thirds of the time; not by default with -rolling")
	f.BoolVar(&o.Rolling, "rolling", false, "instead, restart every member in turn, gracefully, after half of the time")
	f.StringVar(&o.Provider, "provider", "memberlist", "membership: memberlist, redis or consul")
	f.StringVar(&o.Lookup, "lookup", "disthash", "identity lookup: disthash")
	f.IntVar(&o.Level, "level", 0, "promise level that the node is built for, 0 to 3")
	f.StringVar(&o.Consul, "consul", "", "`URL` of a Consul agent, for -provider consul; without it one is started for the run")
	f.StringVar(&o.Redis, "redis", "", "`address` of a Redis server, for -provider redis; without it one is started for the run")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of every choice that the program makes")
	f.StringVar(&o.History, "history", "", "`folder` in which the records of the run are kept")
	f.BoolVar(&o.JSON, "json", false, "print one JSON object on standard output, everything else on standard error")
	return f
}

// parse reads the flags; an error is one sentence that names what is missing, or flag.ErrHelp, with
// the help written to help.
func parse(args []string, help io.Writer) (Options, error) {
	var o Options
	f := o.flags()
	f.SetOutput(io.Discard)
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(help, "go run ./examples/cluster [flags]: a cluster of processes that loses a member, recovers, and takes one in")
		f.SetOutput(help)
		f.PrintDefaults()
	case err != nil:
		o.JSON = wantsJSON(args)
	case f.NArg() > 0:
		o.JSON = o.JSON || wantsJSON(f.Args())
		err = fmt.Errorf("unexpected argument %q: everything is set by flags", f.Arg(0))
	default:
		err = o.check(f)
	}
	return o, err
}

// wantsJSON finds -json among arguments of which another is wrong.
func wantsJSON(args []string) bool {
	for _, a := range args {
		name, value, set := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(a, "-"), "-"), "=")
		if a != name && name == "json" {
			yes, err := strconv.ParseBool(value)
			return !set || err == nil && yes
		}
	}
	return false
}

func (o *Options) check(f *flag.FlagSet) error {
	set := map[string]bool{}
	f.Visit(func(f *flag.Flag) { set[f.Name] = true })
	o.Recovery = recoveryBound(o.Provider)
	if o.Rolling { // no call may fail in it, so that nobody is killed unless it is asked for
		o.Kill, o.Join = o.Kill && set["kill"], o.Join && set["join"]
	}
	switch {
	case o.Recovery == 0:
		return fmt.Errorf("-provider %s: this version has memberlist, redis and consul", o.Provider)
	case o.Lookup != "disthash":
		return fmt.Errorf("-lookup %s: this version has disthash only", o.Lookup)
	case o.Level < 0 || o.Level > 3:
		return fmt.Errorf("-level %d: levels are 0 to 3", o.Level)
	case o.Level > 0:
		return fmt.Errorf("-level %d needs a lookup that keeps a directory and a provider that orders its views; disthash backs Level 0", o.Level)
	case set["consul"] && o.Provider != "consul":
		return errors.New("-consul names a server for -provider consul: add that")
	case set["redis"] && o.Provider != "redis":
		return errors.New("-redis names a server for -provider redis: add that")
	case o.Kill && o.Members == 1:
		return errors.New("-kill needs at least 2 members, since somebody must survive: add -kill=false")
	case o.Rolling && o.Members == 1:
		return errors.New("-rolling needs at least 2 members, since somebody must serve meanwhile")
	case o.Kill && o.Rolling && o.Members == 2:
		return errors.New("-rolling after -kill needs at least 3 members, since somebody must serve meanwhile: add -kill=false")
	}
	return o.checkRanges()
}

func (o *Options) checkRanges() error {
	switch {
	case o.Members < 1 || o.Members > 32:
		return fmt.Errorf("-members %d: 1 to 32 processes", o.Members)
	case o.Callers < 1 || o.Callers > 10000:
		return fmt.Errorf("-callers %d: 1 to 10000", o.Callers)
	case o.Identities < 1 || o.Identities > 1_000_000:
		return fmt.Errorf("-identities %d: 1 to 1000000", o.Identities)
	case o.Timeout < 10*time.Millisecond || o.Timeout > time.Minute:
		return fmt.Errorf("-timeout %v: 10ms to 1m", o.Timeout)
	case o.For < time.Second || o.For > 24*time.Hour:
		return fmt.Errorf("-for %v: 1s to 24h", o.For)
	}
	return nil
}

// config is what the records say that the run was asked for.
func (o *Options) config() history.Config {
	return history.Config{Seed: o.Seed, Provider: o.Provider, Lookup: o.Lookup, Level: o.Level, Members: o.Members,
		Callers: o.Callers, Identities: o.Identities, TimeoutSeconds: o.Timeout.Seconds(),
		RecoverySeconds: o.Recovery.Seconds(), Kill: o.Kill, Join: o.Join, Rolling: o.Rolling}
}
