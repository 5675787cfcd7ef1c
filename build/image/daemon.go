package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/volant/fledge-action/build/cache"
	"github.com/volant/fledge-action/build/fetch"
)

// DefaultDockerHost is where the Docker daemon listens.
const DefaultDockerHost = "unix:///var/run/docker.sock"

// daemonIdle is how long the daemon may take to gather the layers before the
// first byte, and between two.
const daemonIdle = 10 * time.Minute

// openDaemon asks the daemon for the archive that docker save would write.
// https://docs.docker.com/reference/api/engine/ (ImageGet)
func openDaemon(ctx context.Context, r Reference, want Platform, o Options) (*Image, error) {
	host := o.DockerHost
	if host == "" {
		host = DefaultDockerHost
	}
	socket, ok := strings.CutPrefix(host, "unix://")
	if !ok {
		return nil, fmt.Errorf("asking the docker daemon at %q: only unix:///PATH is supported", host)
	}
	spool, err := saveFromDaemon(ctx, socket, r.selector, o)
	if err != nil {
		return nil, fmt.Errorf("asking the docker daemon at %s: %w", host, err)
	}
	a, err := newArchive(spool)
	if err != nil {
		return nil, err
	}
	return fromDockerArchive(a, "", want, o)
}

// saveFromDaemon streams the archive of an image to a temporary file.
func saveFromDaemon(ctx context.Context, socket, image string, o Options) (*os.File, error) {
	tr := &http.Transport{
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}
	defer tr.CloseIdleConnections()
	u := url.URL{Scheme: "http", Host: "docker", Path: "/images/" + image + "/get"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	once := fetch.Policy{Attempts: 1, Idle: daemonIdle} // a daemon that is not there will not come
	resp, err := once.Transport(tr).RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("%w (is it running, and may this user use its socket?)", err)
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, fmt.Errorf("%w: it has no image %q; run: docker pull %s", ErrNotFound, image, image)
	default:
		return nil, fmt.Errorf("answer %s", resp.Status)
	}
	spool, err := cache.Spool(o.TempDir)
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(spool, io.LimitReader(resp.Body, o.MaxLayerBytes+1))
	if err == nil && n > o.MaxLayerBytes {
		err = fmt.Errorf("archive is larger than the limit of %d bytes", o.MaxLayerBytes)
	}
	if err != nil {
		return nil, errors.Join(err, spool.Close())
	}
	return spool, nil
}
