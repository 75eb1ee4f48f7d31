//go:build !unix

package bbolt

import "os"

// unlock leaves it to the system, which ends a lock with its file.
func unlock(*os.File) {}
