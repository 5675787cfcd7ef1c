package sbom

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// An Identity is what a document says of itself.
type Identity struct {
	Format   Format
	Fledge   bool   // made by fledge
	Artifact string // digest of what it is about, "sha256:" and hex; "" when it says none
}

// Identify reads what an SBOM of whatever tool says of itself. What is no SBOM in one of
// the formats, or larger than [MaxDocument], is an error.
func Identify(r io.Reader) (Identity, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxDocument+1))
	if err == nil && len(b) > MaxDocument {
		err = fmt.Errorf("more than %d bytes", MaxDocument)
	}
	if err != nil {
		return Identity{}, fmt.Errorf("reading SBOM: %w", err)
	}
	var head struct {
		SPDX      string `json:"spdxVersion"`
		BOMFormat string `json:"bomFormat"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return Identity{}, fmt.Errorf("reading SBOM: %w", err)
	}
	switch {
	case strings.HasPrefix(head.SPDX, "SPDX-2."):
		return identifySPDX(b), nil
	case head.BOMFormat == "CycloneDX":
		return identifyCycloneDX(b), nil
	}
	return Identity{}, errors.New("reading SBOM: it is neither SPDX 2 nor CycloneDX")
}

// identifySPDX looks for what fledge writes. A document of another shape has none of it.
func identifySPDX(b []byte) Identity {
	id := Identity{Format: SPDX}
	var doc spdxDocument
	if json.Unmarshal(b, &doc) != nil {
		return id
	}
	for _, c := range doc.Creation.Creators {
		id.Fledge = id.Fledge || strings.HasPrefix(c, "Tool: fledge-")
	}
	for _, p := range doc.Packages {
		if p.SPDXID == "SPDXRef-"+artifactID && len(p.Checksums) == 1 {
			id.Artifact = "sha256:" + p.Checksums[0].Value
		}
	}
	return id
}

func identifyCycloneDX(b []byte) Identity {
	id := Identity{Format: CycloneDX}
	var doc cdxDocument
	if json.Unmarshal(b, &doc) != nil {
		return id
	}
	for _, c := range doc.Metadata.Tools.Components {
		id.Fledge = id.Fledge || c.Name == "fledge"
	}
	if h := doc.Metadata.Component.Hashes; len(h) == 1 {
		id.Artifact = "sha256:" + h[0].Content
	}
	return id
}
