package main

import (
	"fmt"
	"io"
	"os"
)

const usage = "usage: pin image IMAGE@sha256:DIGEST | pin uses VERSION COMMIT | pin notes VERSION"

func main() {
	root, err := os.OpenRoot(".")
	if err == nil {
		err = run(root, os.Args[1:], os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pin:", err)
		os.Exit(1)
	}
}

func run(root *os.Root, args []string, out io.Writer) error {
	switch {
	case len(args) == 2 && args[0] == "image":
		return pinImage(root, args[1])
	case len(args) == 3 && args[0] == "uses":
		return pinUses(root, args[1], args[2])
	case len(args) == 2 && args[0] == "notes":
		text, err := notes(root, args[1])
		if err == nil {
			_, err = fmt.Fprintln(out, text)
		}
		return err
	}
	return fmt.Errorf("%s", usage)
}
