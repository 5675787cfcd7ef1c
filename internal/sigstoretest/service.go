package sigstoretest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/tool"
)

// patience is how long a program may take to answer for the first time. It takes
// less than a second on an idle machine.
const patience = time.Minute

// A Service is one program with the proxy before it.
type Service struct {
	*Proxy
	t       testing.TB
	name    string
	argv    []string
	env     []string
	address string // host:port that the program listens on
	health  string // path of a page that answers 200 when it is ready
	process *tool.Process
}

// start runs the program and waits until it is ready.
func (s *Service) start() error {
	process, err := tool.Start(tool.Command{Argv: s.argv, Env: s.env})
	if err != nil {
		return err
	}
	s.process = process
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		answer, err := client.Get("http://" + s.address + s.health)
		if err == nil {
			_, _ = io.Copy(io.Discard, answer.Body) // only the status counts
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("%s answered %s", s.health, answer.Status)
		}
		select {
		case <-process.Done():
			return fmt.Errorf("%s ended: %w", s.name, process.Err())
		default:
		}
		if time.Now().After(deadline) {
			process.Kill()
			return fmt.Errorf("%s is not ready after %v: %w", s.name, patience, err)
		}
	}
}

// Kill ends the program at once, as a crash would. Its port refuses connections; a
// client sees its connection through the proxy end without an answer.
func (s *Service) Kill() {
	if s.process != nil {
		s.process.Kill()
	}
}

// said is the end of what a killed program printed on standard error, which is where
// all of them write their logs.
func (s *Service) said() string {
	var failed *tool.Error
	if s.process != nil && errors.As(s.process.Err(), &failed) {
		return failed.Stderr
	}
	return ""
}

// Restart brings a killed program back: same port, same files.
func (s *Service) Restart() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatalf("restarting %s: %v", s.name, err)
	}
}

// ports finds n free ports of the loopback address.
func ports(n int) ([]string, error) {
	found := make([]string, 0, n)
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // together, so that none comes twice
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, err
		}
		found = append(found, port)
	}
	return found, nil
}
