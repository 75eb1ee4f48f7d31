// Package outage holds the tests in which a provider's server is away for a minute while nodes call each other.
package outage
