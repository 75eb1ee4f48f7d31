package servers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// owned puts a server into a group of its own, and has the system end it with the thread that started it.
func owned() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// halted reports whether every thread of a process has stopped; one that is gone has.
func halted(pid int) bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid)) // the pattern is well formed
	for _, s := range stats {
		text, err := os.ReadFile(s)
		_, state, found := strings.Cut(string(text), ") ")
		if err == nil && found && !strings.ContainsAny(state[:1], "TtZX") {
			return false
		}
	}
	return true
}
