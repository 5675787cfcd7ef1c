package build

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/internal/ocitest"
	"github.com/volant/fledge-action/manifest"
)

// TestNamesAreThoseOfABuild: what is said before an image is read is what is done after.
func TestNamesAreThoseOfABuild(t *testing.T) {
	for _, test := range []struct {
		name, toml string
		template   *config.Template
		want       string
	}{
		{"of the image", noAgent, nil, "layout layout.img"},
		{"of fledge.toml", noAgent + "[plugin]\nname = \"web\"\n", nil, "web web.img"},
		{"of the template", noAgent, &config.Template{Manifest: &manifest.Manifest{Name: "api"}}, "api api.img"},
		{"fledge.toml before the template", noAgent + "[plugin]\nname = \"web\"\n", &config.Template{Manifest: &manifest.Manifest{Name: "api"}}, "web web.img"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := project(t, ocitest.Spec{}, test.toml)
			r.Template = test.template
			plugin, artifact, err := Names(r.Config, r.Template)
			if got := plugin + " " + artifact; err != nil || got != test.want {
				t.Errorf("names %q, %v, want %q", got, err, test.want)
			}
			result, err := Build(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if got := result.Manifest.Name + " " + filepath.Base(result.Artifact.Path); got != test.want {
				t.Errorf("a build has %q, want %q", got, test.want)
			}
		})
	}
}

func TestNamesWithoutABuild(t *testing.T) {
	for toml, want := range map[string]string{
		"strategy = \"oci_rootfs\"\n[source]\nimage = \"ghcr.io/acme/web:1.2\"\n": "web web.img",
		"strategy = \"initramfs\"\n": "plugin plugin.cpio.gz",
		"strategy = \"initramfs\"\n[source]\nimage = \"docker-archive:out/api.tar\"\n":               "api api.cpio.gz",
		"strategy = \"initramfs\"\n[plugin]\nname = \"tool\"\n[initramfs]\ncompression = \"zstd\"\n": "tool tool.cpio.zst",
		"strategy = \"oci_rootfs\"\n[source]\nimage = \"http://x/y\"\n":                              `fledge.toml:4:9: reading image reference "http://x/y"`,
	} {
		c, err := config.Parse("fledge.toml", []byte("version = \"1\"\n"+toml))
		if err != nil {
			t.Fatal(err)
		}
		plugin, artifact, err := Names(c, nil)
		got := plugin + " " + artifact
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%q: %s, want %s", toml, got, want)
		}
	}
}
