package statement

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
)

// spdxVersion is the version of an SPDX document in JSON: 2.2, 2.3. SPDX 3 has
// another form.
var spdxVersion = regexp.MustCompile(`^SPDX-(2\.[0-9]{1,2})$`)

// SBOM says what is in the subjects by a document in JSON: SPDX 2 or CycloneDX.
func SBOM(document []byte, subjects []Subject) (Statement, error) {
	predicateType, err := sbomType(document)
	if err != nil {
		return Statement{}, fmt.Errorf("making SBOM statement: %w", err)
	}
	s, err := newStatement(predicateType, json.RawMessage(document), subjects)
	if err != nil {
		return Statement{}, fmt.Errorf("making SBOM statement: %w", err)
	}
	return s, nil
}

// sbomType tells a document's predicate type from what it calls itself.
func sbomType(document []byte) (string, error) {
	if len(document) > MaxPayload {
		return "", fmt.Errorf("document of %d bytes, more than the limit of %d", len(document), MaxPayload)
	}
	if err := checkJSON(document, '{'); err != nil {
		return "", fmt.Errorf("document: %w", err)
	}
	var keys map[string]json.RawMessage // not a struct: case matters
	if err := json.Unmarshal(document, &keys); err != nil {
		return "", fmt.Errorf("document: %w", err)
	}
	text := func(key string) (value string) {
		_ = json.Unmarshal(keys[key], &value) // not a string is as good as not there
		return value
	}
	version := spdxVersion.FindStringSubmatch(text("spdxVersion"))
	cyclone := text("bomFormat") == "CycloneDX" && text("specVersion") != ""
	switch {
	case version != nil && cyclone:
		return "", errors.New("document is both SPDX (spdxVersion) and CycloneDX (bomFormat)")
	case version != nil && text("SPDXID") != "SPDXRef-DOCUMENT":
		return "", fmt.Errorf("document has SPDXID %q, want \"SPDXRef-DOCUMENT\"", text("SPDXID"))
	case version != nil:
		return "https://spdx.dev/Document/v" + version[1], nil
	case cyclone:
		return TypeCycloneDX, nil
	}
	return "", fmt.Errorf("document is neither SPDX 2 (spdxVersion %q) nor CycloneDX (bomFormat %q, specVersion %q) in JSON",
		text("spdxVersion"), text("bomFormat"), text("specVersion"))
}
