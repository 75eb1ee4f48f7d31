//go:build unix

package bbolt

import (
	"os"
	"syscall"
)

// unlock gives up the lock of a file that may be mapped still, which would keep it.
func unlock(file *os.File) { _ = syscall.Flock(int(file.Fd()), syscall.LOCK_UN) } // the file is not used any more
