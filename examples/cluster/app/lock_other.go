//go:build !unix

package app

import "errors"

// lock cannot be had here, so nothing that another run has left is removed.
func lock(string) (release func(), err error) { return nil, errors.ErrUnsupported }
