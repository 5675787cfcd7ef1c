package sbom

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/volant/fledge-action/internal/testneed"
)

// schemas are the published JSON schemas of both formats.
func schemas(t *testing.T) map[Format]*jsonschema.Schema {
	t.Helper()
	spdx, cdx := testneed.Module(t, "github.com/anchore/syft"), testneed.Module(t, "github.com/CycloneDX/cyclonedx-go")
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	const base = "http://cyclonedx.org/schema/"
	for url, file := range map[string]string{
		"http://spdx.org/rdf/terms/2.3": filepath.Join(spdx, "schema/spdx-json/spdx-schema-2.3.json"),
		base + "bom-1.6.schema.json":    filepath.Join(cdx, "schema/bom-1.6.schema.json"),
		base + "spdx.schema.json":       filepath.Join(cdx, "schema/spdx.schema.json"),
		base + "jsf-0.82.schema.json":   filepath.Join(cdx, "schema/jsf-0.82.schemax.json"),
	} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(url, v); err != nil {
			t.Fatal(err)
		}
	}
	all := map[Format]*jsonschema.Schema{}
	for format, url := range map[Format]string{SPDX: "http://spdx.org/rdf/terms/2.3", CycloneDX: base + "bom-1.6.schema.json"} {
		s, err := c.Compile(url)
		if err != nil {
			t.Fatal(err)
		}
		all[format] = s
	}
	return all
}

// validate holds a document against its schema.
func validate(s *jsonschema.Schema, b []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// TestDocumentsAreValid holds documents of a rich tree, of a hostile one and of an empty
// one against the published schemas, and what schemas cannot say against the rules of
// the formats.
func TestDocumentsAreValid(t *testing.T) {
	all := schemas(t)
	for name, in := range map[string]Input{"rich": richInput(t), "hostile": hostileInput(t), "empty": {Tree: newTree(t, nil)}} {
		d := scan(t, in)
		for _, format := range Formats {
			b := encoded(t, d, format)
			if err := validate(all[format], b); err != nil {
				t.Errorf("%s, %s: %v", name, format, err)
			}
		}
		checkSPDX(t, name, encoded(t, d, SPDX))
		checkCycloneDX(t, name, encoded(t, d, CycloneDX))
	}
}

func TestSchemasRefuseWhatIsWrong(t *testing.T) {
	all := schemas(t)
	d := scan(t, richInput(t))
	for _, test := range []struct {
		format   Format
		old, new string
	}{
		{SPDX, `"downloadLocation"`, `"downloadlocation"`},
		{SPDX, `"DEPENDS_ON"`, `"NEEDS"`},
		{SPDX, `"algorithm": "SHA256"`, `"algorithm": "SHA-256"`},
		{CycloneDX, `"alg": "SHA-256"`, `"alg": "SHA256"`},
		{CycloneDX, `urn:uuid:`, `uuid:`},
		{CycloneDX, `"type": "operating-system"`, `"type": "os"`},
	} {
		b := encoded(t, d, test.format)
		broken := bytes.ReplaceAll(b, []byte(test.old), []byte(test.new))
		if bytes.Equal(b, broken) || validate(all[test.format], broken) == nil {
			t.Errorf("%s with %s is valid", test.format, test.new)
		}
	}
}

// checkSPDX checks what the JSON schema of SPDX leaves to its text.
func checkSPDX(t *testing.T, name string, b []byte) {
	t.Helper()
	var doc spdxDocument
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{"SPDXRef-DOCUMENT": true}
	add := func(id string) {
		if rest, ok := strings.CutPrefix(id, "SPDXRef-"); !ok || rest == "" || idString(rest) != rest || ids[id] {
			t.Errorf("%s: identifier %q is wrong or used twice", name, id)
		}
		ids[id] = true
	}
	refs := map[string]bool{}
	for _, l := range doc.Licences {
		if refs[l.ID] || l.Text == "" || !strings.HasPrefix(l.ID, "LicenseRef-") {
			t.Errorf("%s: licence %+v", name, l)
		}
		refs[l.ID] = true
	}
	for _, p := range doc.Packages {
		add(p.SPDXID)
		if p.FilesAnalyzed != (p.Verification != nil) {
			t.Errorf("%s: package %s: filesAnalyzed is %v, verification code %v", name, p.Name, p.FilesAnalyzed, p.Verification)
		}
		for word := range strings.FieldsSeq(strings.NewReplacer("(", " ", ")", " ").Replace(p.Declared)) {
			if strings.HasPrefix(word, "LicenseRef-") && !refs[word] {
				t.Errorf("%s: package %s: %s has no text", name, p.Name, word)
			}
		}
	}
	for _, f := range doc.Files {
		add(f.SPDXID)
	}
	described := 0
	for i, r := range doc.Relationships {
		if !ids[r.Element] || !ids[r.Related] {
			t.Errorf("%s: relationship %+v leads nowhere", name, r)
		}
		if r.Type == "DESCRIBES" {
			described++
		}
		if i > 0 && r == doc.Relationships[i-1] {
			t.Errorf("%s: relationship %+v twice", name, r)
		}
	}
	if described != 1 {
		t.Errorf("%s: %d elements are described, want 1", name, described)
	}
}

// checkCycloneDX checks that references are unique and lead somewhere.
func checkCycloneDX(t *testing.T, name string, b []byte) {
	t.Helper()
	var doc cdxDocument
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	refs := map[string]bool{doc.Metadata.Component.Ref: true}
	for _, c := range doc.Components {
		if refs[c.Ref] || c.Ref == "" {
			t.Errorf("%s: bom-ref %q is used twice", name, c.Ref)
		}
		refs[c.Ref] = true
	}
	for _, d := range doc.Dependencies {
		for _, ref := range append(d.DependsOn, d.Ref) {
			if !refs[ref] {
				t.Errorf("%s: dependency of %s on %s leads nowhere", name, d.Ref, ref)
			}
		}
	}
}
