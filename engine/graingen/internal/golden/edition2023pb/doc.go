// Package edition2023pb is generated from a file of edition 2023.
package edition2023pb
