// Command probe is a program that the shim executes in tests. It writes what it was
// given to /report.json, or with POWEROFF in its environment to the console, and ends.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Report is what the process found itself to be.
type Report struct {
	PID         int
	Args        []string
	Env         []string
	Mounts      string            // /proc/self/mountinfo
	Descriptors map[string]string // number to type, device and whether it can be written
}

func main() {
	r := Report{PID: os.Getpid(), Args: os.Args, Env: os.Environ(), Descriptors: descriptors()}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		mounts = []byte(err.Error())
	}
	r.Mounts = string(mounts)
	text, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	if !strings.HasPrefix(os.Getenv("POWEROFF"), "y") {
		if err := os.WriteFile("/report.json", text, 0o600); err != nil {
			panic(err)
		}
		return
	}
	fmt.Printf("REPORT %s\n", text)
	syscall.Sync()
	panic(syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF))
}

// descriptors looks at the first 64; the Go runtime has its own after the standard ones.
func descriptors() map[string]string {
	found := map[string]string{}
	for fd := range 64 {
		var s syscall.Stat_t
		if syscall.Fstat(fd, &s) != nil {
			continue
		}
		flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFL, 0)
		if errno != 0 {
			continue
		}
		what := "other"
		switch s.Mode & syscall.S_IFMT {
		case syscall.S_IFCHR:
			what = fmt.Sprintf("character device %d:%d", s.Rdev>>8&0xfff, s.Rdev&0xff)
		case syscall.S_IFREG:
			what = "file"
		case syscall.S_IFIFO:
			what = "pipe"
		}
		if flags&syscall.O_ACCMODE == syscall.O_RDWR {
			what += ", read and write"
		}
		found[fmt.Sprint(fd)] = what
	}
	return found
}
