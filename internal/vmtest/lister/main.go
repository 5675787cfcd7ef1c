//go:build linux

// Lister is process 1 of a machine that has nothing but an initramfs. It writes what the
// kernel made of the archive to the console and powers the machine off.
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/gob"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/internal/facts"
	"github.com/volant/fledge-action/internal/vmtest"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "lister: runs only as process 1 of a test machine")
		os.Exit(2)
	}
	if err := list(); err != nil {
		fmt.Println("testagent: fatal:", err)
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func list() error {
	set, err := facts.FromDir(context.Background(), "/", facts.Options{Content: true})
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	if err := gob.NewEncoder(&packed).Encode(set); err != nil {
		return err
	}
	text := base64.StdEncoding.EncodeToString(packed.Bytes())
	fmt.Println(vmtest.ListBegin)
	for len(text) > 0 {
		line := text[:min(len(text), 76)]
		fmt.Println(line)
		text = text[len(line):]
	}
	fmt.Println(vmtest.ListEnd)
	return nil
}
