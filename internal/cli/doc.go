// Package cli is the command line: flags in, a build.Request out, the result
// printed. It is the only package that knows flags, terminals and exit codes;
// the environment reaches it as a function.
//
// Results go to standard output, one path a line or JSON; everything else goes
// to standard error. docs/cli.md is generated from the commands.
package cli
