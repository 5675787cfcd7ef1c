package statement

import (
	"bytes"
	"strings"
	"testing"
)

const (
	spdx    = `{"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "<web>", "packages": []}`
	cyclone = `{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []}`
)

func TestSBOMGolden(t *testing.T) {
	for name, document := range map[string]string{"spdx": spdx, "cyclonedx": cyclone} {
		s, err := SBOM([]byte(document), subjects())
		if err != nil {
			t.Fatal(err)
		}
		payload, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "sbom-"+name+".json", payload)
	}
}

func TestPredicateTypeOfAnSBOM(t *testing.T) {
	for document, want := range map[string]string{
		spdx: TypeSPDX, cyclone: TypeCycloneDX,
		strings.Replace(spdx, "2.3", "2.2", 1): "https://spdx.dev/Document/v2.2",
	} {
		s, err := SBOM([]byte(document), subjects())
		if err != nil || s.PredicateType != want {
			t.Errorf("%s: %s, %v", document, s.PredicateType, err)
		}
	}
	for document, want := range map[string]string{
		`{}`: "neither SPDX 2",
		`[]`: "not a JSON object",
		``:   "unexpected end",
		strings.Replace(spdx, "SPDX-2.3", "SPDX-3.0", 1):                       "neither SPDX 2",
		strings.Replace(spdx, "SPDX-2.3", "2.3", 1):                            "neither SPDX 2",
		strings.Replace(spdx, "SPDX-2.3", `SPDX-2.3/../x`, 1):                  "neither SPDX 2",
		strings.Replace(spdx, "SPDXRef-DOCUMENT", "x", 1):                      `SPDXID "x"`,
		strings.Replace(spdx, `"spdxVersion"`, `"SpdxVersion"`, 1):             "neither SPDX 2",
		strings.Replace(spdx, `"packages": []`, `"name": "x"`, 1):              `key "name" is repeated`,
		strings.Replace(cyclone, `"1.6"`, `1.6`, 1):                            "neither SPDX 2",
		strings.Replace(cyclone, "CycloneDX", "cyclonedx", 1):                  "neither SPDX 2",
		strings.TrimSuffix(spdx, "}") + "," + strings.TrimPrefix(cyclone, "{"): "both SPDX",
		"SPDXVersion: SPDX-2.3\n":                                              "invalid character",
		`{"x": "` + "\xff" + `"}`:                                              "not UTF-8",
	} {
		_, err := SBOM([]byte(document), subjects())
		refused(t, document, err, want)
	}
}

func TestSBOMsAreLimited(t *testing.T) {
	document := append([]byte(spdx), bytes.Repeat([]byte(" "), MaxPayload-len(spdx))...)
	if _, err := SBOM(document, subjects()); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	_, err := SBOM(append(document, ' '), subjects())
	refused(t, "past the limit", err, "16777217 bytes", "limit of 16777216")
}
