//go:build !linux

package history

import "time"

// monotonic falls back to the wall clock, which all processes of one machine share as well; a clock
// that is set during a run makes that run useless.
func monotonic() (int64, error) { return time.Now().UnixNano(), nil }
