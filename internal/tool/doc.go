// Package tool runs a program of the host. It is the only package that may.
//
// What is run is decided elsewhere: a [Command] is an argument vector whose first
// element is a path, as [Look] finds it, and no shell ever sees it. The program
// gets LC_ALL=C, TZ=UTC and what the Command adds or puts in their place, nothing
// else of the environment; no standard input; and a process group of its own, so that Ctrl-C
// reaches this program alone, which then ends the other.
//
// # Ends
//
// [Process.Kill] ends a program at once, whatever signals it ignores, and
// returns when it is gone. On Linux the kernel kills it too when this process
// dies, even by SIGKILL. Elsewhere a program outlives a killed parent.
//
// # Failure
//
// A program that cannot be started or that does not exit with 0 is an [*Error]
// with the end of what it wrote to standard error.
package tool
