// Package qemutest is a stand-in for QEMU that tests run in its place: it takes
// QEMU's options and behaves as the kernel command line tells it.
//
//	fake=serve       answer on every forwarded port (the default)
//	fake=leave       answer once, and end as when QEMU refuses an option
//	fake=hang        do nothing, and ignore every signal that can be ignored
//	fake=panic       print a kernel's panic, then hang
//	fake=off         end as when a machine goes off
//	fake=refuse      end as when QEMU refuses an option
//	fake.status=N    the status of the answers
//	fake.to=PATH     a Location header in the answers
//	fake.say=TEXT    print a line first; _ stands for a space, ^ for an escape character
//	fake.flood=N     print N lines first
//	fake.sums        print the sha256 of every file that is given
//	fake.busy=FILE   the first time, when FILE is not there, end as when a port is taken
//	fake.slow=FILE   the first time, when FILE is not there, panic as for want of a timer
//
// Its first line on the console is "fake: pid N".
package qemutest

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Program is the name of the emulator that it stands in for.
const Program = "qemu-system-x86_64"

// life ends a fake that nobody ends.
const life = 2 * time.Minute

// Main is the program. It does not return.
func Main() {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	options := map[string]string{}
	for i := 1; i+1 < len(os.Args); i++ {
		if strings.HasPrefix(os.Args[i], "-") {
			options[os.Args[i]] = os.Args[i+1]
		}
	}
	words := map[string]string{}
	for word := range strings.FieldsSeq(options["-append"]) {
		key, value, _ := strings.Cut(word, "=")
		words[key] = value
	}
	fmt.Printf("fake: pid %d\r\n", os.Getpid())
	before(options, words)
	switch words["fake"] {
	case "", "serve", "leave":
		serve(options["-netdev"], words)
	case "panic":
		fmt.Print("[    0.1] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n[    0.1] CPU: 0\r\n")
	case "off":
		os.Exit(0)
	case "refuse":
		fmt.Fprintln(os.Stderr, Program+": -machine q35: not today")
		os.Exit(1)
	}
	time.Sleep(life)
	os.Exit(3)
}

func before(options, words map[string]string) {
	if first(words["fake.busy"]) {
		fmt.Fprintln(os.Stderr, Program+": -netdev user: Could not set up host forwarding rule")
		os.Exit(1)
	}
	if first(words["fake.slow"]) {
		fmt.Print("[    0.0] Kernel panic - not syncing: IO-APIC + timer doesn't work!  Boot with apic=debug\r\n")
		time.Sleep(life)
	}
	if text, ok := words["fake.say"]; ok {
		fmt.Print(strings.NewReplacer("_", " ", "^", "\x1b").Replace(text) + "\r\n")
	}
	if n, _ := strconv.Atoi(words["fake.flood"]); n > 0 {
		for i := range n {
			fmt.Printf("flood %d\r\n", i)
		}
	}
	if _, ok := words["fake.sums"]; ok {
		drive := regexp.MustCompile(`file=([^,]*)`).FindStringSubmatch(options["-drive"])
		for _, name := range append([]string{options["-kernel"], options["-initrd"]}, drive...) {
			if strings.HasPrefix(name, "/") {
				fmt.Printf("sum %s\r\n", sum(name))
			}
		}
		fmt.Printf("TMPDIR %s\r\n", os.Getenv("TMPDIR"))
	}
}

// first tells whether a file was not there, and makes it. No file is never first.
func first(file string) bool {
	if file == "" {
		return false
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

func sum(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// serve answers on the forwarded ports as the guest would.
func serve(netdev string, words map[string]string) {
	status, err := strconv.Atoi(words["fake.status"])
	if err != nil {
		status = http.StatusOK
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Printf("asked %s %s %s\r\n", r.Method, r.Host, r.RequestURI)
		if to := words["fake.to"]; to != "" {
			w.Header().Set("Location", to)
		}
		w.WriteHeader(status)
		if words["fake"] == "leave" {
			_ = http.NewResponseController(w).Flush()
			fmt.Fprintln(os.Stderr, Program+": -machine q35: not today")
			os.Exit(1)
		}
	})
	for _, match := range regexp.MustCompile(`hostfwd=tcp:(127\.0\.0\.1:[0-9]+)-`).FindAllStringSubmatch(netdev, -1) {
		l, err := net.Listen("tcp", match[1])
		if err != nil {
			fmt.Fprintln(os.Stderr, Program+": Could not set up host forwarding rule:", err)
			os.Exit(1)
		}
		go func() { _ = http.Serve(l, handler) }()
	}
}
