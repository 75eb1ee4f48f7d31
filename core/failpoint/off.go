//go:build !failpoints

package failpoint

// Here is a place where a test may interfere. Without the build tag it is nothing.
func Here(string) {}

// Err is Here for a place that can return an error. Without the build tag it is nil.
func Err(string) error { return nil }
