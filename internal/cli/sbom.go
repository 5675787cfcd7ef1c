package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/volant/fledge-action/build/sbom"
)

// Values of --sbom beside the formats.
const (
	autoSBOM = "auto" // the preferred format when the build is signed, else none
	noSBOM   = "none"
)

// sbomFormat reads the value of --sbom; "" is none.
func sbomFormat(flag string, signing bool) (sbom.Format, error) {
	f := sbom.Format(flag)
	switch {
	case flag == autoSBOM && signing:
		return sbom.Formats[0], nil
	case flag == noSBOM || flag == autoSBOM:
		return "", nil
	case !slices.Contains(sbom.Formats, f):
		return "", usageError{fmt.Errorf("--sbom %q: use %s", flag, sbomValues())}
	}
	return f, nil
}

func sbomValues() string {
	var names []string
	for _, f := range sbom.Formats {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ") + " or " + noSBOM
}

// sbomOutput is the part of --json about the SBOM.
type sbomOutput struct {
	Path     string      `json:"path"`
	Format   sbom.Format `json:"format"`
	Digest   string      `json:"digest"`
	Packages int         `json:"packages"`
}
