package action

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxAuth is the longest file of credentials, in bytes.
const maxAuth = 1 << 20

// registryAuth are the entries of a config.json that hold secrets themselves.
// Programs that would be asked for them are not in the image.
type registryAuth struct {
	Auths map[string]registryEntry `json:"auths"`
}

type registryEntry struct {
	Auth          string `json:"auth,omitempty"`
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"`
	IdentityToken string `json:"identitytoken,omitempty"`
	RegistryToken string `json:"registrytoken,omitempty"`
}

// parseAuth reads a config.json and has every secret in it masked. Its errors quote
// nothing of it.
func parseAuth(text []byte, mask func(string)) (registryAuth, error) {
	var a registryAuth
	if err := json.Unmarshal(text, &a); err != nil {
		return a, errors.New("it is not the JSON of a Docker config.json")
	}
	if len(a.Auths) == 0 {
		return a, errors.New(`it has no "auths"; credential helpers are programs, and the action has none: log in without them`)
	}
	for host, e := range a.Auths {
		for _, secret := range []string{e.Auth, e.Password, e.IdentityToken, e.RegistryToken} {
			mask(secret)
		}
		if e.Auth == "" {
			continue
		}
		pair, err := base64.StdEncoding.DecodeString(e.Auth)
		if err != nil {
			if pair, err = base64.RawStdEncoding.DecodeString(e.Auth); err != nil {
				return a, fmt.Errorf("the auth of %q is not base64", host)
			}
		}
		user, password, ok := strings.Cut(string(pair), ":")
		mask(string(pair))
		mask(password)
		if !ok || user == "" {
			return a, fmt.Errorf("the auth of %q is not USER:PASSWORD in base64", host)
		}
	}
	return a, nil
}

// readAuth reads the input, which is a config.json itself or the path of one, relative
// to dir.
func readAuth(input, dir string, mask func(string)) (registryAuth, error) {
	text := []byte(input)
	if !strings.Contains(input, "{") {
		var err error
		if text, err = readAuthFile(input, dir); err != nil {
			return registryAuth{}, err
		}
	}
	return parseAuth(text, mask)
}

func readAuthFile(name, dir string) ([]byte, error) {
	if !filepath.IsAbs(name) {
		if !filepath.IsLocal(name) {
			return nil, errors.New("it is neither the text itself nor a path below the workspace")
		}
		name = filepath.Join(dir, name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, errors.New("it is neither the text itself nor a file that can be read")
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxAuth+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxAuth {
		return nil, fmt.Errorf("the file has more than %d bytes", maxAuth)
	}
	return text, nil
}

// writeAuth keeps credentials in a private folder and returns the folder.
func writeAuth(a registryAuth, temp string) (string, error) {
	dir := filepath.Join(temp, "docker")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	text, err := json.Marshal(a)
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "config.json"), text, 0o600)
}
