package image

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/volant/fledge-action/build/fetch"
)

// explain turns a registry's refusal into what the user can do about it. tags,
// if not nil, lists what there is instead.
func explain(err error, r Reference, ref name.Reference, tags func() []string) error {
	err = refusal(err)
	var answer *fetch.StatusError
	var notTLS tls.RecordHeaderError
	if errors.As(err, &notTLS) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return fmt.Errorf("%w: %s speaks plain HTTP; if you trust the way to it, set plain_http = true in [source]", bare(err), ref.Context().RegistryStr())
	}
	if !errors.As(err, &answer) {
		return bare(err)
	}
	host, repo := ref.Context().RegistryStr(), r.Repository()
	switch answer.Code {
	case http.StatusNotFound:
		if tags != nil {
			if have := tags(); len(have) > 0 {
				return fmt.Errorf("%w: %s has no %s; near it are: %s",
					ErrNotFound, repo, identifier(ref), strings.Join(nearest(ref.Identifier(), have), ", "))
			}
		}
		return fmt.Errorf("%w: %s has no %s; check the spelling (a private image needs: docker login %s)",
			ErrNotFound, repo, identifier(ref), loginHost(host))
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w to pull %s: it does not exist or is private; check the spelling or run: docker login %s (%w)",
			ErrUnauthorized, repo, loginHost(host), err)
	case http.StatusTooManyRequests:
		return fmt.Errorf("%s limits how often it is asked; wait, or run: docker login %s (%w)", host, loginHost(host), err)
	}
	return err
}

// refusal shortens go-containerregistry's error about an answer, which repeats
// up to 64 KiB of it.
func refusal(err error) error {
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return err
	}
	var said []string
	for _, d := range answer.Errors {
		said = append(said, fmt.Sprintf("%s: %s", d.Code, d.Message))
	}
	u := &url.URL{Host: "registry"}
	if answer.Request != nil {
		u = answer.Request.URL
	}
	return fetch.NewStatusError(u, answer.StatusCode, strings.Join(said, "; "))
}

func identifier(ref name.Reference) string {
	if _, ok := ref.(name.Digest); ok {
		return ref.Identifier()
	}
	return fmt.Sprintf("tag %q", ref.Identifier())
}

// loginHost is what docker login calls a registry; Docker Hub needs no name.
func loginHost(host string) string {
	if host == name.DefaultRegistry {
		return "docker.io"
	}
	return host
}

// bare takes the URL off net/http's errors: its query may hold a signature.
func bare(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
