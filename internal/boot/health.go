package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"time"

	"github.com/volant/fledge-action/manifest"
)

// An Answer is what came back over HTTP.
type Answer struct {
	Status int
	Header http.Header
	Body   string // at most maxBody bytes
}

const maxBody = 1 << 20

// A check is what a workload is asked, as Volant's agent asks it in the guest.
type check struct {
	url string
	any bool // an answer of any status is good, otherwise 2xx
}

// checkOf decides what to ask: the health check's endpoint below base_url, or
// base_url itself when there is none.
func checkOf(m *manifest.Manifest) (check, int, error) {
	u, err := url.Parse(m.Workload.BaseURL)
	if err != nil || u.Scheme != "http" || u.Hostname() == "" {
		return check{}, 0, fmt.Errorf("workload.base_url %q is no http URL; boot asks over plain http only, --wait-for TEXT waits for a text on the console instead", m.Workload.BaseURL)
	}
	port := 80
	if p := u.Port(); p != "" {
		if port, err = strconv.Atoi(p); err != nil || port < 1 || port > 65535 {
			return check{}, 0, fmt.Errorf("workload.base_url %q: %q is no port", m.Workload.BaseURL, p)
		}
	}
	// The endpoint is a path: a query would be escaped.
	ask := url.URL{Scheme: "http", Host: u.Host, Path: path.Join("/", u.Path)}
	if h := m.HealthCheck; h != nil && h.Endpoint != "" {
		ask.Path = "/" + path.Join(u.Path, h.Endpoint)
		ask.Path = path.Clean(ask.Path)
		if last := h.Endpoint[len(h.Endpoint)-1]; last == '/' && ask.Path != "/" {
			ask.Path += "/"
		}
		return check{url: ask.String()}, port, nil
	}
	return check{url: ask.String(), any: true}, port, nil
}

func (c check) good(status int) bool { return c.any || status/100 == 2 }

// A client asks one loopback port, whatever host a URL names. It follows no
// redirect, uses no proxy, and keeps no connection, as those would outlive the machine.
func client(port int) *http.Client {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	var d net.Dialer
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return d.DialContext(ctx, "tcp", address)
			},
		},
	}
}

func send(ctx context.Context, c *http.Client, url string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return c.Do(request)
}

// status asks for a URL and reads no body, which may have no end.
func status(ctx context.Context, c *http.Client, url string) (int, error) {
	response, err := send(ctx, c, url)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

func get(ctx context.Context, c *http.Client, url string) (Answer, error) {
	response, err := send(ctx, c, url)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	return Answer{response.StatusCode, response.Header, string(body)}, err
}

// Times of asking. As long as the guest has no network, a connection is accepted
// by QEMU and then hangs, and is passed on late: so the first requests get little
// time, each a quarter more than the one before. A connection that is refused or
// answered shows that the guest is there; from then on a slow answer is waited for.
const (
	firstPatience = 100 * time.Millisecond
	mostPatience  = 10 * time.Second
	pollEvery     = 25 * time.Millisecond
)

// poll asks until the answer is good, and returns its status. Otherwise it returns
// when ctx ends, with what came last as the error.
func (c check) poll(ctx context.Context, port int) (int, error) {
	client := client(port)
	patience := firstPatience
	last := errors.New("nothing answered")
	for {
		tryCtx, cancel := context.WithTimeout(ctx, patience)
		code, err := status(tryCtx, client, c.url)
		timedOut := tryCtx.Err() != nil
		cancel()
		var op *net.OpError
		switch {
		case err == nil && c.good(code):
			return code, nil
		case ctx.Err() != nil:
			return 0, last
		case err == nil:
			last = fmt.Errorf("the last answer was %d %s", code, http.StatusText(code))
			patience = mostPatience
		case timedOut:
			if patience > time.Second {
				last = fmt.Errorf("the last request was not answered within %v", patience.Round(time.Second))
			}
			patience = min(patience*5/4, mostPatience)
		case errors.As(err, &op) && op.Op == "dial": // QEMU does not listen yet
		default:
			last = fmt.Errorf("the last request failed (%s): does the workload listen on this port, and on 0.0.0.0?", cause(err))
			patience = mostPatience
		}
		select {
		case <-ctx.Done():
			return 0, last
		case <-time.After(pollEvery):
		}
	}
}

// cause is the core of a request's error: the rest says what was asked, and names
// ports that mean nothing to anybody.
func cause(err error) string {
	var op *net.OpError
	var asking *url.Error
	switch {
	case errors.As(err, &op):
		return op.Err.Error()
	case errors.As(err, &asking):
		return asking.Err.Error()
	}
	return err.Error()
}
