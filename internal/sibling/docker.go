//go:build linux

package sibling

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// daemon is a Docker daemon behind a socket.
type daemon struct {
	socket string
	http   http.Client
}

// maxAnswer is how much of an answer is read, in bytes.
const maxAnswer = 4 << 20

func newDaemon(socket string) *daemon {
	return &daemon{socket, http.Client{Transport: &http.Transport{
		DisableCompression: true,
		DisableKeepAlives:  true, // an idle connection would be a goroutine that is left
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
}

// statusError is an answer that is not what was asked for.
type statusError struct {
	code int
	text string // of the daemon
}

func (e *statusError) Error() string {
	if e.text == "" {
		return fmt.Sprintf("answer %d %s", e.code, http.StatusText(e.code))
	}
	return e.text
}

// isStatus tells whether the daemon answered so.
func isStatus(err error, code int) bool {
	var s *statusError
	return errors.As(err, &s) && s.code == code
}

// open asks for something. The answer's body is the caller's to close.
func (d *daemon) open(ctx context.Context, method, path string, query url.Values, body any) (io.ReadCloser, error) {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(text)
	}
	u := url.URL{Scheme: "http", Host: "docker", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), reader)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := d.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the URL's host stands for nothing
		}
		return nil, err
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxError))
		var said struct{ Message string }
		if json.Unmarshal(text, &said) == nil {
			text = []byte(said.Message)
		}
		return nil, &statusError{resp.StatusCode, strings.TrimSpace(string(text))}
	}
	return resp.Body, nil
}

// call asks for something and decodes the answer, if into is not nil.
func (d *daemon) call(ctx context.Context, method, path string, query url.Values, body, into any) error {
	answer, err := d.open(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	text, err := io.ReadAll(io.LimitReader(answer, maxAnswer+1))
	switch {
	case err != nil:
		return err
	case len(text) > maxAnswer:
		return fmt.Errorf("an answer has more than %d bytes, which is the limit", maxAnswer)
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	return nil
}

// container is what is read of one.
type container struct {
	ID     string `json:"Id"`
	Image  string // id
	State  struct{ Running bool }
	Mounts []volume
}

// volume is a mount of a container.
type volume struct {
	Type        string // "bind", "volume", …
	Destination string
	RW          bool
}

func (d *daemon) inspect(ctx context.Context, id string) (*container, error) {
	var c container
	return &c, d.call(ctx, http.MethodGet, "/containers/"+id+"/json", nil, nil, &c)
}

// labelled are the ids of all containers with a label, also of those that do not run,
// and the label's values.
func (d *daemon) labelled(ctx context.Context, label string) (map[string]string, error) {
	filter, err := json.Marshal(map[string][]string{"label": {label}})
	if err != nil {
		return nil, err
	}
	var found []struct {
		ID     string `json:"Id"`
		Labels map[string]string
	}
	err = d.call(ctx, http.MethodGet, "/containers/json", url.Values{"all": {"1"}, "filters": {string(filter)}}, nil, &found)
	all := map[string]string{}
	for _, c := range found {
		all[c.ID] = c.Labels[label]
	}
	return all, err
}

func (d *daemon) create(ctx context.Context, spec any) (string, error) {
	var made struct {
		ID string `json:"Id"`
	}
	err := d.call(ctx, http.MethodPost, "/containers/create", nil, spec, &made)
	if err == nil && !isID.MatchString(made.ID) {
		err = fmt.Errorf("the new container's id is %q", made.ID)
	}
	return made.ID, err
}

func (d *daemon) start(ctx context.Context, id string) error {
	return d.call(ctx, http.MethodPost, "/containers/"+id+"/start", nil, nil, nil)
}

// remove kills a container and removes it. One that is gone is no error.
func (d *daemon) remove(ctx context.Context, id string) error {
	for {
		err := d.call(ctx, http.MethodDelete, "/containers/"+id, url.Values{"force": {"1"}}, nil, nil)
		switch {
		case err == nil, isStatus(err, http.StatusNotFound):
			return nil
		case !isStatus(err, http.StatusConflict): // it is being removed already
			return err
		}
		if !pause(ctx) {
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

// said is what a container's process prints. It is there until the container ends.
type said struct {
	ended chan struct{} // closed at the end
	mu    sync.Mutex
	text  []byte // the last of it
}

// attach listens to a container that is to be started.
func (d *daemon) attach(ctx context.Context, id string) (*said, error) {
	body, err := d.open(ctx, http.MethodPost, "/containers/"+id+"/attach", url.Values{"stream": {"1"}, "stdout": {"1"}, "stderr": {"1"}}, nil)
	if err != nil {
		return nil, err
	}
	s := &said{ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		defer body.Close()
		s.read(body)
	}()
	return s, nil
}

// read reads frames: a byte for the stream, three of nothing, four for the length.
func (s *said) read(from io.Reader) {
	var head [8]byte
	for {
		if _, err := io.ReadFull(from, head[:]); err != nil {
			return
		}
		if _, err := io.CopyN(s, from, int64(binary.BigEndian.Uint32(head[4:]))); err != nil {
			return
		}
	}
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = append(s.text, p...)
	s.text = s.text[max(0, len(s.text)-maxError):]
	return len(p), nil
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.TrimSpace(string(s.text))
}
