package sbom

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// purl is a package URL, its parts not yet encoded.
type purl struct {
	kind, namespace, name, version string
	qualifiers                     []qualifier // empty values are left out
}

type qualifier struct{ key, value string }

// String is the canonical form.
func (p purl) String() string {
	var b strings.Builder
	b.WriteString("pkg:" + p.kind)
	for segment := range strings.SplitSeq(p.namespace, "/") {
		if segment != "" {
			b.WriteString("/" + percent(segment))
		}
	}
	b.WriteString("/" + percent(p.name))
	if p.version != "" {
		b.WriteString("@" + percent(p.version))
	}
	qs := slices.SortedFunc(slices.Values(p.qualifiers), func(a, b qualifier) int { return cmp.Compare(a.key, b.key) })
	separator := "?"
	for _, q := range qs {
		if q.value == "" {
			continue
		}
		b.WriteString(separator + q.key + "=" + percent(q.value))
		separator = "&"
	}
	return b.String()
}

// percent encodes every byte but letters, digits, ".-_~" and the colon, which the
// specification never has encoded.
func percent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(".-_~:", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}
