// Package deployments holds one program three times, each with another membership: embedded, redis, consul. Their
// wire.go files differ in one line, and each program links what it picked and nothing of the others.
package deployments
