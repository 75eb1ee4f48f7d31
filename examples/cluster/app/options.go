package app

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"
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
}

// recoveryBounds say how long a recovery may take, by provider.
var recoveryBounds = map[string]time.Duration{"memberlist": 10 * time.Second}

// parse reads the flags; an error is one sentence that names what is missing.
func parse(args []string, out io.Writer) (Options, error) {
	var o Options
	f := flag.NewFlagSet("cluster", flag.ContinueOnError)
	f.SetOutput(out)
	f.IntVar(&o.Members, "members", 3, "member processes that form the cluster")
	f.DurationVar(&o.For, "for", 30*time.Second, "time under load; a recovery that takes longer is waited for")
	f.IntVar(&o.Callers, "callers", 64, "concurrent callers")
	f.IntVar(&o.Identities, "identities", 10000, "grains that are called")
	f.DurationVar(&o.Timeout, "timeout", 5*time.Second, "deadline of a call")
	f.BoolVar(&o.Kill, "kill", true, "kill one member with SIGKILL after a third of the time")
	f.BoolVar(&o.Join, "join", true, "add one member after two thirds of the time")
	f.BoolVar(&o.Rolling, "rolling", false, "restart every member in turn, gracefully")
	f.StringVar(&o.Provider, "provider", "memberlist", "membership: memberlist")
	f.StringVar(&o.Lookup, "lookup", "disthash", "identity lookup: disthash")
	f.IntVar(&o.Level, "level", 0, "promise level that the node is built for, 0 to 3")
	f.StringVar(&o.Consul, "consul", "", "URL of a Consul agent, for -provider consul")
	f.StringVar(&o.Redis, "redis", "", "address of a Redis server, for -provider redis")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of every choice that the driver makes")
	f.StringVar(&o.History, "history", "", "folder in which the records of the run are kept")
	f.BoolVar(&o.JSON, "json", false, "print one JSON object on standard output, everything else on standard error")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: everything is set by flags", f.Arg(0))
	}
	return o, o.check(f)
}

func (o Options) check(f *flag.FlagSet) error {
	set := map[string]bool{}
	f.Visit(func(f *flag.Flag) { set[f.Name] = true })
	switch {
	case o.Provider != "memberlist":
		return fmt.Errorf("-provider %s: this version has memberlist only", o.Provider)
	case o.Lookup != "disthash":
		return fmt.Errorf("-lookup %s: this version has disthash only", o.Lookup)
	case o.Level < 0 || o.Level > 3:
		return fmt.Errorf("-level %d: levels are 0 to 3", o.Level)
	case o.Level > 0:
		return fmt.Errorf("-level %d: disthash gives Level 0, whatever the provider; higher levels need a lookup that keeps a directory", o.Level)
	case set["consul"] || set["redis"]:
		return errors.New("-consul and -redis name servers of providers that this version does not have")
	case o.Members < 1 || o.Members > 32:
		return fmt.Errorf("-members %d: 1 to 32 processes", o.Members)
	case o.Kill && o.Members < 2:
		return errors.New("-kill needs at least 2 members: somebody must survive (add -kill=false)")
	case o.Rolling && o.Members < 2:
		return errors.New("-rolling needs at least 2 members: somebody must serve meanwhile")
	case o.Callers < 1 || o.Callers > 10000:
		return fmt.Errorf("-callers %d: 1 to 10000", o.Callers)
	case o.Identities < 1 || o.Identities > 1_000_000:
		return fmt.Errorf("-identities %d: 1 to 1000000", o.Identities)
	case o.Timeout < 10*time.Millisecond || o.Timeout > time.Minute:
		return fmt.Errorf("-timeout %v: 10ms to 1m", o.Timeout)
	case o.For < time.Second:
		return fmt.Errorf("-for %v: at least 1s", o.For)
	case strings.ContainsRune(o.History, 0):
		return errors.New("-history: the name of the folder contains a zero byte")
	}
	return nil
}
