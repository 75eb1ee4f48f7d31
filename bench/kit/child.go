package kit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
)

// child is another process of this program. It answers commands, one line of JSON each way, and
// ends when its standard input does, so it never outlives its parent.
type child struct {
	cmd *exec.Cmd
	in  *json.Encoder
	out *json.Decoder
}

// request and reply are the two kinds of line. A child's first line is a reply to nothing, when it
// has started.
type request struct {
	Command string `json:"command"`
	Arg     any    `json:"arg,omitempty"`
}

type reply struct {
	Value json.RawMessage `json:"value,omitempty"`
	Error string          `json:"error,omitempty"`
}

// command is one thing that a child does when told; arg and result are JSON.
type command func(arg []byte) (any, error)

// startChild runs this program again in a role, and waits until it is ready.
func startChild(role string, config any) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	text, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	cmd := exec.Command(self, "-role", role, "-config", string(text))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	c := &child{cmd: cmd, in: json.NewEncoder(stdin), out: json.NewDecoder(bufio.NewReader(stdout))}
	if err := c.answer("start", nil); err != nil {
		return nil, err
	}
	return c, nil
}

// call sends a command and decodes the answer into result, unless that is nil.
func (c *child) call(name string, arg, result any) error {
	if err := c.in.Encode(request{Command: name, Arg: arg}); err != nil {
		return fmt.Errorf("child: %s: %w", name, err)
	}
	return c.answer(name, result)
}

func (c *child) answer(name string, result any) error {
	var r reply
	if err := c.out.Decode(&r); err != nil {
		return fmt.Errorf("child: %s: %w", name, err)
	}
	if r.Error != "" {
		return fmt.Errorf("child: %s: %s", name, r.Error)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(r.Value, result); err != nil {
		return fmt.Errorf("child: %s: %w", name, err)
	}
	return nil
}

// kill ends the process with SIGKILL and waits until the kernel has taken it down.
func (c *child) kill() error {
	if err := c.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill: %w", err)
	}
	err := c.cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("kill: %w", err)
	}
	return nil
}

// serve is the main loop of a child: it answers commands until in ends.
func serve(commands map[string]command, in io.Reader, out io.Writer) error {
	commands["usage"] = func([]byte) (any, error) { return usage() }
	commands["gc"] = func([]byte) (any, error) { runtime.GC(); return nil, nil }
	enc := json.NewEncoder(out)
	if err := enc.Encode(reply{}); err != nil {
		return err
	}
	dec := json.NewDecoder(in)
	for {
		var r struct {
			Command string          `json:"command"`
			Arg     json.RawMessage `json:"arg"`
		}
		if err := dec.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := enc.Encode(obey(commands, r.Command, r.Arg)); err != nil {
			return err
		}
	}
}

func obey(commands map[string]command, name string, arg []byte) reply {
	do, ok := commands[name]
	if !ok {
		return reply{Error: fmt.Sprintf("unknown command %q", name)}
	}
	value, err := do(arg)
	if err != nil {
		return reply{Error: err.Error()}
	}
	text, err := json.Marshal(value)
	if err != nil {
		return reply{Error: err.Error()}
	}
	return reply{Value: text}
}

func decode[T any](text []byte) (T, error) {
	var v T
	if err := json.Unmarshal(text, &v); err != nil {
		return v, fmt.Errorf("decode argument: %w", err)
	}
	return v, nil
}
