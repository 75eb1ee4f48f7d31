// Package failpoint marks places where a test may make a process fail: crash, stall or return an
// error between two steps that look like one.
//
//	failpoint.Here("stop.afterLeave")
//	if err := failpoint.Err("store.beforeAck"); err != nil { … }
//
// Without the build tag failpoints both calls are empty and compile to nothing. With it a point does
// nothing until an action is set, by Set in the same process or, for whole processes, by the
// environment variable GRANARY_FAILPOINTS, read at the first point that is met:
//
//	GRANARY_FAILPOINTS='stop.afterLeave=exit(3);link.beforeFlush=2*sleep(50ms);store.beforeAck=error(disk full)'
//
// The actions are panic, exit(code), kill, sleep(duration) and error(text); "N*" before one limits it
// to the first N passes. Here ignores the error of an action; Err returns it. A list that cannot be
// read ends the process with exit code 2, because a test whose faults are not injected proves nothing.
package failpoint
