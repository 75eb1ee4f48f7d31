package kit

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
)

// Main is the main function of a program: it runs one row, or serves as a child of one that does.
// Standard output holds one line of JSON, a [Result]. The exit code is 0 if the row finished.
func Main(s Subject) {
	out := os.Stdout
	os.Stdout = os.Stderr // some libraries print greetings; only results go to standard output
	os.Exit(Run(s, os.Args[1:], os.Stdin, out, os.Stderr))
}

// Run is [Main] with its surroundings as arguments, and the exit code as result.
func Run(s Subject, args []string, in io.Reader, out, errOut io.Writer) int {
	fs := flag.NewFlagSet("program", flag.ContinueOnError)
	fs.SetOutput(errOut)
	name := fs.String("row", "", "row to run")
	n := fs.Int("n", 0, "operations; 0 is the row's own amount")
	role := fs.String("role", "", "serve as a child process: server or member")
	config := fs.String("config", "", "JSON for the role")
	cpu := fs.String("cpuprofile", "", "write a CPU profile of the whole run to this file")
	mem := fs.String("memprofile", "", "write a profile of all allocations to this file")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	if *role != "" {
		if err := runRole(s, *role, *config, in, out); err != nil {
			fmt.Fprintln(errOut, err)
			return 1
		}
		return 0
	}
	stop, err := profile(*cpu, *mem)
	if err != nil {
		fmt.Fprintln(errOut, err)
		return 1
	}
	res := runRow(s, *name, *n)
	if err := stop(); err != nil {
		fmt.Fprintln(errOut, err)
		return 1
	}
	if err := json.NewEncoder(out).Encode(res); err != nil || res.Error != "" {
		return 1
	}
	return 0
}

// runRow runs one row; what goes wrong is in the result.
func runRow(s Subject, name string, n int) Result {
	res := Result{Row: name, Note: s.Note(name)}
	row, ok := find(name)
	if !ok {
		res.Error = fmt.Sprintf("unknown row %q", name)
		return res
	}
	if n <= 0 {
		n = row.Ops
	}
	if err := row.run(s, row, n, &res); err != nil {
		res.Error = err.Error()
	}
	return res
}

// runRole serves as a child process until in ends.
func runRole(s Subject, role, config string, in io.Reader, out io.Writer) error {
	var commands map[string]command
	var err error
	switch role {
	case "server":
		var echoes int
		if echoes, err = decode[int]([]byte(config)); err == nil {
			commands, err = serveRemote(s, echoes)
		}
	case "member":
		var cfg MemberConfig
		if cfg, err = decode[MemberConfig]([]byte(config)); err == nil {
			commands, err = serveMember(s, cfg)
		}
	default:
		err = fmt.Errorf("unknown role %q", role)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", role, err)
	}
	return serve(commands, in, out)
}

// profile starts the profiles asked for; the function that it returns writes them.
func profile(cpu, mem string) (func() error, error) {
	if cpu != "" {
		f, err := os.Create(cpu)
		if err != nil {
			return nil, err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return nil, err
		}
	}
	return func() error {
		pprof.StopCPUProfile()
		if mem == "" {
			return nil
		}
		f, err := os.Create(mem)
		if err != nil {
			return err
		}
		defer f.Close()
		return pprof.Lookup("allocs").WriteTo(f, 0)
	}, nil
}
