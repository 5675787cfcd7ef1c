package image

import (
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// DefaultPlatform is built when none is asked for, whatever this machine is.
const DefaultPlatform = "linux/amd64"

// A Platform is an operating system, architecture and optional variant, in the
// words of Go: linux/arm64/v8.
type Platform struct{ OS, Architecture, Variant string }

// String returns os/architecture[/variant].
func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// ParsePlatform reads os/architecture[/variant]; "" is DefaultPlatform. Docker's
// other names for architectures (x86_64, aarch64) are accepted.
func ParsePlatform(s string) (Platform, error) {
	if s == "" {
		s = DefaultPlatform
	}
	parts := strings.Split(s, "/")
	for _, part := range parts {
		if part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
			parts = nil
		}
	}
	if len(parts) != 2 && len(parts) != 3 {
		return Platform{}, fmt.Errorf("reading platform %q: want os/architecture or os/architecture/variant, such as %s or linux/arm64", s, DefaultPlatform)
	}
	p := Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	switch p.Architecture {
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "aarch64":
		p.Architecture = "arm64"
	}
	return p, nil
}

// matches tells whether an image for platform have runs where p is wanted. A
// variant that is left out means the architecture's usual one.
func (p Platform) matches(have Platform) bool {
	return p.OS == have.OS && p.Architecture == have.Architecture && p.usualVariant() == have.usualVariant()
}

func (p Platform) usualVariant() string {
	if p.Variant != "" {
		return p.Variant
	}
	switch p.Architecture {
	case "amd64":
		return "v1"
	case "arm64":
		return "v8"
	case "arm":
		return "v7"
	}
	return ""
}

func platformOf(p *v1.Platform) Platform {
	return Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}
}
