package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFindMirror(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  Mirror
	}{
		{
			name: "one-line",
			files: map[string]string{
				"os-release":       "ID=debian\nVERSION_CODENAME=bookworm\n",
				"apt/sources.list": "# deb http://no.example/ bookworm main\ndeb-src http://src.example/ bookworm main\ndeb http://a.example/debian bookworm main contrib # here\n",
			},
			want: Mirror{URL: "http://a.example/debian", Suite: "bookworm", Components: []string{"main", "contrib"}},
		},
		{
			name: "options",
			files: map[string]string{
				"os-release":                    "VERSION_CODENAME='noble'\n",
				"apt/sources.list":              "deb http://a.example/ noble-updates main\ndeb http://b.example/ noble universe\n",
				"apt/sources.list.d/local.list": "deb [ arch=amd64 signed-by=/usr/share/keyrings/x.gpg trusted=yes ] https://c.example/ noble main universe\n",
			},
			want: Mirror{URL: "https://c.example/", Suite: "noble", Components: []string{"main", "universe"}, Keyring: "/usr/share/keyrings/x.gpg", Trusted: true},
		},
		{
			name: "deb822",
			files: map[string]string{
				"os-release": "VERSION_CODENAME=bookworm\n",
				"apt/sources.list.d/debian.sources": "Types: deb-src\nURIs: http://src.example/\nSuites: bookworm\nComponents: main\n\n" +
					"Types: deb\nEnabled: no\nURIs: http://off.example/\nSuites: bookworm\nComponents: main\n\n" +
					"Types: deb\n# URIs: http://comment.example/\nURIs: cdrom:x http://d.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n",
			},
			want: Mirror{URL: "http://d.example/debian", Suite: "bookworm", Components: []string{"main"}, Keyring: "/k.gpg"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := FindMirror(makeEtc(t, test.files))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFindMirrorFollowsAMirrorFile(t *testing.T) {
	list := filepath.Join(t.TempDir(), "mirrors.txt")
	if err := os.WriteFile(list, []byte("# first\nhttp://m.example/ubuntu/\tpriority:1\nhttp://n.example/\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := FindMirror(makeEtc(t, map[string]string{
		"os-release":       "VERSION_CODENAME=noble\n",
		"apt/sources.list": "deb mirror+file:" + list + " noble main\n",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got.URL != "http://m.example/ubuntu/" {
		t.Errorf("URL %q", got.URL)
	}
}

func TestFindMirrorRefusesForeignSources(t *testing.T) {
	etc := makeEtc(t, map[string]string{
		"os-release":       "VERSION_CODENAME=bookworm\n",
		"apt/sources.list": "deb http://a.example/ trixie main\ndeb http://a.example/ bookworm contrib\n",
	})
	if got, err := FindMirror(etc); err == nil {
		t.Errorf("got %v", got)
	}
}

func makeEtc(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
