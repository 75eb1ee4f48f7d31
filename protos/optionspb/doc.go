// Package optionspb is generated: what a service may say about its methods: proto package
// granary.options.
package optionspb
