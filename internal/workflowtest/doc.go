// Package workflowtest reads the workflows of this repository and those of
// examples/workflows as YAML and holds them to rules that neither actionlint nor act
// knows: rights, pins, and what can be injected into a script.
package workflowtest
