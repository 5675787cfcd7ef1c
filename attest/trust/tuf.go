package trust

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// patience is how long one file of a TUF repository may take. A build does not
// wait long for a newer root while it has one.
const patience = 20 * time.Second

// tuf is the source of targets that a TUF client has verified. The client is made
// at the first call.
func (in instance) tuf(ctx context.Context, o Options) target {
	var client *tuf.Client
	return func(name string) ([]byte, error) {
		if client == nil {
			var err error
			if client, err = in.client(ctx, o); err != nil {
				return nil, err
			}
		}
		data, err := client.GetTarget(name)
		if err == nil && len(data) > MaxFile {
			err = fmt.Errorf("%s is larger than %d bytes", name, MaxFile)
		}
		return data, err
	}
}

func (in instance) client(ctx context.Context, o Options) (*tuf.Client, error) {
	anchor, err := in.embedded(tufRoot)
	if err != nil {
		return nil, err
	}
	// The client's hidden inputs, closed by giving every option: $HOME/.sigstore/root
	// (CachePath), http.DefaultClient (Fetcher), the library's own TUF root (Root).
	options := &tuf.Options{
		Root:              anchor,
		RepositoryBaseURL: in.url,
		CachePath:         o.CacheDir,
		DisableLocalCache: o.CacheDir == "",
		ForceCache:        o.Offline,
		Fetcher:           fetcher{ctx, o},
	}
	return tuf.New(options)
}

// cached tells whether TUF has left something in the cache.
func (in instance) cached(o Options) bool {
	if o.CacheDir == "" {
		return false
	}
	_, err := os.Stat(filepath.Join(o.CacheDir, tuf.URLToPath(in.url), metadata.TIMESTAMP+".json"))
	return err == nil
}

// fetcher downloads for the TUF client. The library's own has no context and no
// deadline.
type fetcher struct {
	ctx context.Context
	o   Options
}

// DownloadFile is asked for nothing else than what the client verifies afterwards.
func (f fetcher) DownloadFile(address string, most int64, _ time.Duration) ([]byte, error) {
	if f.o.Offline {
		return nil, errors.New("offline, and the cached copy has expired or is not whole")
	}
	ctx, cancel := context.WithTimeout(f.ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: f.o.Transport}
	resp, err := client.Do(req)
	if err != nil {
		var at *url.Error
		if errors.As(err, &at) {
			err = at.Err
		}
		return nil, fmt.Errorf("%s: %w", req.URL.Host, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, &metadata.ErrDownloadHTTP{StatusCode: resp.StatusCode, URL: address}
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", req.URL.Host, err)
	}
	if int64(len(data)) > most {
		return nil, &metadata.ErrDownloadLengthMismatch{Msg: fmt.Sprintf("%s is larger than %d bytes", address, most)}
	}
	return data, nil
}
