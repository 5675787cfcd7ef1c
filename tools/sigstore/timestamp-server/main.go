// Command timestamp-server is Sigstore's timestamp authority with a key in a file,
// for tests. Its own command opens a fixed port on every interface for metrics, so
// two cannot run on one machine; all else is the same code.
//
// Usage: timestamp-server PORT KEY CHAIN
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/sigstore/timestamp-authority/v2/pkg/log"
	"github.com/sigstore/timestamp-authority/v2/pkg/server"
	"github.com/spf13/viper"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "timestamp-server:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("%d arguments, want PORT KEY CHAIN", len(args))
	}
	port, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	for name, value := range map[string]any{
		"timestamp-signer":       "file",
		"timestamp-signer-hash":  "sha256",
		"file-signer-key-path":   args[1],
		"file-signer-passwd":     "",
		"certificate-chain-path": args[2],
		// The defaults of its own command.
		"default-policy-oid":          "1.3.6.1.4.1.57264.2",
		"accepted-policy-oids":        []string{"1.3.6.1.4.1.57264.2"},
		"enforce-intermediate-eku":    true,
		"max-request-body-size":       1 << 20,
		"include-chain-in-response":   false,
		"allow-custom-extensions":     false,
		"disable-ntp-monitoring":      true,
		"use-http-201":                false,
		"http-request-id-header-name": "X-Request-Id",
	} {
		viper.Set(name, value)
	}
	log.ConfigureLogger("dev")
	s := server.NewRestAPIServer("127.0.0.1", port, []string{"http"}, false, 30*time.Second, 30*time.Second)
	s.CleanupTimeout = time.Second
	return s.Serve()
}
