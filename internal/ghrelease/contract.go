package ghrelease

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// Contract is GitHub's OpenAPI description.
type Contract struct {
	router routers.Router

	mu      sync.Mutex
	checked map[[32]byte]error // exchanges, and what was found
}

// ReadContract reads a description. Where it is narrower than what GitHub does, it is
// widened: an asset's state may be "starter", and parameters that hold a ref may hold
// slashes.
func ReadContract(file string) (*Contract, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromData(data)
	if err != nil {
		return nil, err
	}
	doc.Servers = nil
	paths := doc.Paths
	doc.Paths = openapi3.NewPaths()
	for path, item := range paths.Map() {
		item.Servers = nil
		for _, op := range item.Operations() {
			op.Servers = nil
		}
		doc.Paths.Set(strings.NewReplacer("{ref}", "{ref:.*}", "tags/{tag}", "tags/{tag:.*}").Replace(path), item)
	}
	asset := doc.Components.Schemas["release-asset"]
	if asset == nil || asset.Value.Properties["state"] == nil {
		return nil, errors.New("the description has no state of an asset")
	}
	state := asset.Value.Properties["state"].Value
	state.Enum = append(state.Enum, "starter")
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, err
	}
	return &Contract{router: router, checked: map[[32]byte]error{}}, nil
}

var theContract = sync.OnceValues(func() (*Contract, error) {
	dir := os.Getenv("FLEDGE_TEST_DATA")
	if dir == "" {
		return nil, nil
	}
	return ReadContract(filepath.Join(dir, DescriptionFile))
})

// DescriptionFile is the description's name in the folder that FLEDGE_TEST_DATA names.
const DescriptionFile = "github-releases-openapi.json"

// TheContract is the one in the folder that FLEDGE_TEST_DATA names, nil without it. A
// package that uses it has one test that asks testneed for the file, so that doing
// without is seen.
func TheContract(t testing.TB) *Contract {
	t.Helper()
	c, err := theContract()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Check tells how a request or its answer is not what the description says. path is
// the request's, below the API's own. The same exchange is checked once.
func (c *Contract) Check(r *http.Request, path string, body []byte, status int, header http.Header, answer []byte) error {
	h := sha256.New()
	fmt.Fprintf(h, "%s %s\n%s %s %s\n%d %d %d\n", r.Method, r.URL, r.Header.Get("Accept"), r.Header.Get("Content-Type"), header.Get("Content-Type"), status, len(body), len(answer))
	h.Write(body)
	h.Write(answer)
	key := [32]byte(h.Sum(nil))
	c.mu.Lock()
	defer c.mu.Unlock()
	err, known := c.checked[key]
	if !known {
		err = c.check(r, path, body, status, header, answer)
		c.checked[key] = err
	}
	return err
}

func (c *Contract) check(r *http.Request, path string, body []byte, status int, header http.Header, answer []byte) error {
	// The description knows one media type of uploads; GitHub takes any.
	req := r.Clone(context.Background())
	req.Body = io.NopCloser(bytes.NewReader(body))
	req.URL = &url.URL{Scheme: "http", Host: "localhost", Path: path, RawQuery: r.URL.RawQuery}
	if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/assets") {
		if _, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil {
			return fmt.Errorf("content type of the upload: %w", err)
		}
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	route, params, err := c.router.FindRoute(req)
	if err != nil && strings.Contains(path, "/compare/") {
		return nil // not in the description
	}
	if err != nil {
		return fmt.Errorf("the description has no such call: %w", err)
	}
	options := &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, MultiError: true}
	in := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route, Options: options}
	if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil && status < 400 {
		// What GitHub refuses may be wrong.
		return fmt.Errorf("request: %w", err)
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: status, Header: header, Options: options}
	out.SetBodyBytes(answer)
	if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}
