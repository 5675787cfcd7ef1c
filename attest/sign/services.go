package sign

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	httptransport "github.com/go-openapi/runtime/client"
	"github.com/go-openapi/strfmt"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"github.com/sigstore/rekor/pkg/generated/client/entries"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/volant/fledge-action/attest/trust"
)

// services are those that a signing config selects.
type services struct {
	authority string         // URL of Fulcio; "" if there is none
	logs      []root.Service // Rekor
	stamps    []root.Service // RFC 3161
	base      http.RoundTripper
}

func selectServices(r *trust.Root, now time.Time) (services, error) {
	var s services
	fail := func(service string, err error) (services, error) {
		return s, fmt.Errorf("selecting a %s of the signing config of %s: %w", service, r.Name, err)
	}
	config := r.Signing
	if all := config.FulcioCertificateAuthorityURLs(); len(all) > 0 {
		one, err := root.SelectService(all, sign.FulcioAPIVersions, now)
		if err != nil {
			return fail(authorityService, err)
		}
		s.authority = strings.TrimSuffix(one.URL, "/")
	}
	var err error
	if all := config.RekorLogURLs(); len(all) > 0 {
		if s.logs, err = root.SelectServices(all, config.RekorLogURLsConfig(), sign.RekorAPIVersions, now); err != nil {
			return fail(logService, err)
		}
	}
	if all := config.TimestampAuthorityURLs(); len(all) > 0 {
		if s.stamps, err = root.SelectServices(all, config.TimestampAuthorityURLsConfig(), sign.TimestampAuthorityAPIVersions, now); err != nil {
			return fail(stampService, err)
		}
	}
	for _, one := range append(append([]root.Service{{URL: cmp.Or(s.authority, "https://none")}}, s.logs...), s.stamps...) {
		if err := checkURL(one.URL); err != nil {
			return s, fmt.Errorf("reading the signing config of %s: %w", r.Name, err)
		}
	}
	return s, nil
}

// checkURL wants https, but of a host that is this machine.
func checkURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return fmt.Errorf("URL %.200q does not parse", address)
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("URL %.200q is not https://HOST/PATH", u.Redacted())
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("URL %.200q: want https", address)
}

// oldLogs counts the logs of the first generation, which tell the time.
func (s *services) oldLogs() (n int) {
	for _, log := range s.logs {
		if log.MajorAPIVersion == 1 {
			n++
		}
	}
	return n
}

// clocked tells whether some service vouches for the time.
func (s *services) clocked() bool { return len(s.stamps)+s.oldLogs() > 0 }

func (s *services) describe() string {
	var all []string
	for _, log := range s.logs {
		all = append(all, "log "+host(log.URL))
	}
	for _, stamp := range s.stamps {
		all = append(all, "timestamps of "+host(stamp.URL))
	}
	if len(all) == 0 {
		return "no log, no timestamp"
	}
	return strings.Join(all, ", ")
}

// forever is for timeouts of libraries, which would be for all tries together.
const forever = 24 * time.Hour

// use adds the log and the timestamp authorities to options. check comes before
// every try of theirs.
func (s *services) use(ctx context.Context, options *sign.BundleOptions, p *patience, check func() error) {
	for _, stamp := range s.stamps {
		options.TimestampAuthorities = append(options.TimestampAuthorities, sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{
			URL: stamp.URL, Timeout: -1,
			Transport: &patient{once{ctx: ctx, service: stampService, base: s.base}, p, check},
		}))
	}
	for _, log := range s.logs {
		transport := &patient{once{service: logService, base: s.base, passes: http.StatusConflict}, p, check}
		client := &http.Client{Transport: transport}
		options.TransparencyLogs = append(options.TransparencyLogs, sign.NewRekor(&sign.RekorOptions{
			BaseURL: log.URL, Version: log.MajorAPIVersion, Timeout: forever,
			Client: newRekor1(log.URL, client), ClientV2: &rekor2{log.URL, client},
		}))
	}
}

// rekor1 is the client of a log of the first generation. The one that sigstore-go would
// make takes no transport.
type rekor1 struct{ entries.ClientService }

func newRekor1(address string, client *http.Client) rekor1 {
	u, err := url.Parse(address)
	if err != nil { // checkURL has parsed it
		u = &url.URL{}
	}
	rt := httptransport.NewWithClient(u.Host, cmp.Or(u.Path, "/"), []string{u.Scheme}, client)
	rt.Debug = false // which $DEBUG and $SWAGGER_DEBUG set: it writes requests to stderr
	return rekor1{entries.New(rt, strfmt.Default)}
}

// CreateLogEntry logs an entry. sigstore-go reads the answer without asking
// what is in it.
func (c rekor1) CreateLogEntry(params *entries.CreateLogEntryParams, opts ...entries.ClientOption) (*entries.CreateLogEntryCreated, error) {
	created, err := c.ClientService.CreateLogEntry(params, opts...)
	if err == nil {
		err = complete(created.Payload[created.ETag])
	}
	return created, err
}

// GetLogEntryByUUID gets the entry that was there already: an answer has been lost.
func (c rekor1) GetLogEntryByUUID(params *entries.GetLogEntryByUUIDParams, opts ...entries.ClientOption) (*entries.GetLogEntryByUUIDOK, error) {
	params.SetTimeout(forever)
	got, err := c.ClientService.GetLogEntryByUUID(params, opts...)
	if err != nil {
		return nil, err
	}
	if len(got.Payload) == 0 {
		return nil, errNoEntry
	}
	for _, entry := range got.Payload {
		err = errors.Join(err, complete(entry))
	}
	return got, err
}

var errNoEntry = errors.New(logService + ": the answer is no entry with its proof")

// complete tells whether an entry has everything that proves it. A proof without
// hashes is that of the first entry of all.
func complete(e models.LogEntryAnon) error {
	if e.Body == nil || e.IntegratedTime == nil || e.LogID == nil || e.LogIndex == nil || e.Verification == nil {
		return errNoEntry
	}
	proof := e.Verification.InclusionProof
	if proof == nil || proof.RootHash == nil || proof.LogIndex == nil || proof.TreeSize == nil || proof.Checkpoint == nil {
		return errNoEntry
	}
	return nil
}

// rekor2 is the client of a log of the second generation. rekor-tiles' own takes no
// transport.
type rekor2 struct {
	url    string
	client *http.Client
}

// Add logs an entry. One that is there already cannot be proved from here, hence
// errAgain: another signature is another entry.
func (c *rekor2) Add(ctx context.Context, entry any) (*protorekor.TransparencyLogEntry, error) {
	hashed, ok := entry.(*protobuf.HashedRekordRequestV002)
	if !ok {
		return nil, fmt.Errorf("logging: entry of type %T, want hashedrekord", entry)
	}
	body, err := protojson.Marshal(&protobuf.CreateEntryRequest{
		Spec: &protobuf.CreateEntryRequest_HashedRekordRequestV002{HashedRekordRequestV002: hashed},
	})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.url, "/")+"/api/v2/log/entries", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusConflict {
		return nil, errAgain
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	var logged protorekor.TransparencyLogEntry
	if err := protojson.Unmarshal(answer, &logged); err != nil {
		return nil, errNoEntry
	}
	return &logged, nil
}
