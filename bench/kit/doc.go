// Package kit is what the benchmark programs share: the rows, how each one is measured, and the
// small protocol between the harness, a program and the program's own child processes.
//
// A program implements [Subject] for one actor library and calls [Main]. All row logic (the amount
// of work, the warm-up, what starts and stops the clock, the count that must be complete) is here,
// so two programs cannot differ in it. The package imports the standard library only, because
// programs of libraries that cannot be linked together import it.
package kit
