package sbom

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// fit makes a document that is not larger than allowed: with dependencies, else
// without, which is one more note in it.
func (d *Document) fit(write func(needs bool, notes []string) ([]byte, error)) ([]byte, error) {
	b, err := write(true, d.Warnings)
	if err != nil || len(b) <= MaxDocument {
		return b, err
	}
	note := fmt.Sprintf("with the dependencies of packages on one another the document would have %d bytes, the limit is %d: they are left out", len(b), MaxDocument)
	b, err = write(false, append(slices.Clip(d.Warnings), note))
	if err == nil && len(b) > MaxDocument {
		return nil, fmt.Errorf("writing SBOM: %d packages and %d files take %d bytes, the limit is %d; build with --sbom none, or put less into the artifact",
			len(d.Packages), len(d.files), len(b), MaxDocument)
	}
	return b, err
}

// encode writes JSON with a line for each value.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("writing SBOM: %w", err)
	}
	return b.Bytes(), nil
}

// uuid is made of a digest of content: version 8, "custom", of RFC 9562.
func uuid(content []byte) string {
	sum := sha256.Sum256(content)
	u := sum[:16]
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

func (d *Document) created() string { return d.in.Created.UTC().Format(time.RFC3339) }

func (d *Document) tool() string { return cmp.Or(idString(d.in.Tool), "devel") }

func (d *Document) name() string { return cmp.Or(d.in.Name, d.in.Artifact.Name, "artifact") }
