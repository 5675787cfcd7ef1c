// Command probe is a container action that tells what it sees. Its first argument says
// what to do.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	what := os.Args[1:]
	if v := os.Getenv("INPUT_DO-WHAT"); v != "" {
		what = []string{v}
	}
	switch what[0] {
	case "tell":
		tell()
	case "talk": // prints a text as it is
		fmt.Fprint(os.Stdout, os.Getenv("INPUT_STDOUT"))
		fmt.Fprint(os.Stderr, os.Getenv("INPUT_STDERR"))
		add("GITHUB_OUTPUT", os.Getenv("INPUT_OUTPUT"))
		add("GITHUB_STEP_SUMMARY", os.Getenv("INPUT_SUMMARY"))
		add("GITHUB_ARTIFACTS", os.Getenv("INPUT_ARTIFACTS"))
		if os.Getenv("INPUT_EXIT") != "" {
			os.Exit(3)
		}
	case "wait": // for the signal that it is told; when it does, there is a file "waiting"
		signals := make(chan os.Signal, 8)
		signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
		add("GITHUB_OUTPUT", "pid="+fmt.Sprint(os.Getpid())+"\n")
		if err := os.WriteFile("waiting", nil, 0o600); err != nil {
			fmt.Println(err)
			os.Exit(4)
		}
		for s := range signals {
			fmt.Println("got", s)
			if s.String() == os.Getenv("INPUT_ENDS-AT") {
				return
			}
		}
	}
}

func add(variable, text string) {
	f, err := os.OpenFile(os.Getenv(variable), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err != nil {
		fmt.Println(variable, err)
		os.Exit(4)
	}
}

// tell prints what the process is and has as a line of JSON in an output.
func tell() {
	status, _ := os.ReadFile("/proc/self/status")
	seen := map[string]any{"uid": os.Getuid(), "pid": os.Getpid(), "args": os.Args[1:], "env": os.Environ()}
	for line := range strings.Lines(string(status)) {
		if name, value, _ := strings.Cut(line, ":"); name == "CapEff" || name == "CapBnd" || name == "Seccomp" {
			seen[name] = strings.TrimSpace(value)
		}
	}
	seen["mount"] = fmt.Sprint(syscall.Mount("none", "/mnt", "tmpfs", 0, ""))
	seen["cwd"], _ = os.Getwd()
	socket, err := os.Stat("/var/run/docker.sock")
	seen["socket"] = err == nil && socket.Mode()&os.ModeSocket != 0
	event, _ := os.ReadFile(os.Getenv("GITHUB_EVENT_PATH"))
	seen["event"] = string(event)
	if err := os.Mkdir("made", 0o700); err != nil {
		seen["mkdir"] = err.Error()
	}
	if err := os.WriteFile("made/file", []byte("x"), 0o600); err != nil {
		seen["write"] = err.Error()
	}
	_ = os.Lchown("made/file", 1001, 1001)
	for _, dir := range []string{"HOME", "RUNNER_TEMP"} {
		if err := os.WriteFile(os.Getenv(dir)+"/probe", []byte(time.Now().String()), 0o600); err != nil {
			seen[dir] = err.Error()
		}
	}
	text, _ := json.Marshal(seen)
	add("GITHUB_OUTPUT", "seen="+string(text)+"\n")
	add("GITHUB_STATE", "a=1\n")
	add("GITHUB_STEP_SUMMARY", "# Probe\n")
}
