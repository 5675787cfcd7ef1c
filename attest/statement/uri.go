package statement

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// ImageURI is the package URL of an image: repository is host and path, such as
// "docker.io/library/nginx", digest "sha256:<hex>" of its index or manifest. As in
// SBOMs, colons are not escaped: the specification has them stand for themselves.
// https://github.com/package-url/purl-spec/blob/main/types-doc/oci-definition.md
func ImageURI(repository, digest string) (string, error) {
	name := repository[strings.LastIndexByte(repository, '/')+1:]
	hex, ok := strings.CutPrefix(digest, "sha256:")
	if !ok || !isHex(hex, hexDigits[algorithm]) {
		return "", fmt.Errorf("naming image %.100q: digest %.100q is not sha256: and 64 lower-case hex digits", repository, digest)
	}
	if name == "" || name == repository || strings.Trim(name, purlName) != "" || !printable(repository) {
		return "", fmt.Errorf("naming image: %.100q is not a registry's host and a repository without tag or digest", repository)
	}
	return "pkg:oci/" + name + "@sha256:" + hex + "?repository_url=" + escapeQualifier(repository), nil
}

// purlName are the characters of the last part of a repository's name.
const purlName = "abcdefghijklmnopqrstuvwxyz0123456789._-"

// escapeQualifier escapes what separates qualifiers, and no slash or colon.
func escapeQualifier(s string) string {
	return strings.NewReplacer("+", "%20", "%2F", "/", "%3A", ":").Replace(url.QueryEscape(s))
}

// checkURI checks the form of a dependency's URI. It may be empty.
func checkURI(uri string) error {
	if uri == "" {
		return nil
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil || !printable(uri):
		return fmt.Errorf("uri %.100q is not a URI", uri)
	case u.User != nil:
		return errors.New("uri has a user or password in it")
	case u.Scheme == "pkg" && strings.Contains(strings.Trim(u.Opaque, "/"), "/"):
		return nil
	case (u.Scheme == "https" || u.Scheme == "http" || u.Scheme == "git+https") && u.Host != "":
		return nil
	}
	return fmt.Errorf("uri %.100q is none of https://, http://, git+https:// and pkg:TYPE/NAME", uri)
}
