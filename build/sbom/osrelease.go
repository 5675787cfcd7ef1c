package sbom

import (
	"cmp"
	"strings"
)

// A Distro is what os-release says of the distribution. The zero value is none.
type Distro struct {
	ID      string // "debian"
	Version string // VERSION_ID, or the code name of a release without one
	Name    string // PRETTY_NAME
}

// qualifier is the distro of package URLs: "debian-12".
func (d Distro) qualifier() string {
	if d.ID == "" || d.Version == "" {
		return d.ID
	}
	return d.ID + "-" + d.Version
}

// vendor is the namespace of package URLs.
func (d Distro) vendor(fallback string) string {
	switch {
	case d.ID == "rhel":
		return "redhat"
	case strings.HasPrefix(d.ID, "opensuse"):
		return "opensuse"
	}
	return cmp.Or(d.ID, fallback)
}

const maxOSRelease = 64 << 10

// parseOSRelease reads os-release(5): assignments of a shell, quoted or not.
func parseOSRelease(text string) Distro {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasPrefix(key, "#") || len(value) > maxField {
			continue
		}
		if len(value) > 1 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			value = unescape(value[1:len(value)-1], value[0])
		}
		values[key] = value
	}
	return Distro{
		ID:      strings.ToLower(values["ID"]),
		Version: cmp.Or(values["VERSION_ID"], values["VERSION_CODENAME"]),
		Name:    cmp.Or(values["PRETTY_NAME"], values["NAME"]),
	}
}

// unescape drops the backslashes of a double-quoted value.
func unescape(s string, quote byte) string {
	if quote == '\'' {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
