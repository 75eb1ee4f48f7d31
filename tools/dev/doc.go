// Dev is the program behind the targets of the Makefile: test, fuzz, verify. It needs Go alone,
// reads the list of modules from go.work, and runs each check as a step that prints its time.
//
//	go run ./dev test [-only regexp] [-log file]
//	go run ./dev fuzz [-time 10s|400x] [-target regexp]
//	go run ./dev verify
package main
