// Package matrix holds the tests of providers and stores against the real servers.
package matrix
