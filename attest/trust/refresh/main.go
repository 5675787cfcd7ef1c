// Refresh renews the trusted roots that are compiled into fledge. "make trust" runs
// it.
//
//	go run ./attest/trust/refresh attest/trust/embedded
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/volant/fledge-action/attest/trust"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: refresh DIR")
		os.Exit(2)
	}
	renewed, err := trust.Refresh(context.Background(), os.Args[1], trust.Options{})
	for _, name := range renewed {
		fmt.Fprintln(os.Stdout, "renewed", name)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "refresh:", err)
		os.Exit(1)
	}
	if len(renewed) == 0 {
		fmt.Fprintln(os.Stdout, "nothing is newer")
	}
}
