package e2e

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A Kind is a recipe for an image.
type Kind struct {
	Name     string
	Packages [][]string // one layer each, beyond the base
	Filler   int64      // bytes of made-up files in a layer of their own
	Awkward  bool       // the layers of awkward entries
	Bare     bool       // nginx without a site: whoever uses the image brings one
}

var (
	// Demo is a base with nginx and nothing else.
	Demo = Kind{Name: "demo", Bare: true}
	// Flask is Demo with Python and Flask.
	Flask = Kind{Name: "flask", Packages: [][]string{{"python3-flask"}}, Bare: true}
	// Real is what the tests compare: a base with nginx and everything awkward.
	Real = Kind{Name: "real", Awkward: true}
	// Small is about 0.35 GB when unpacked.
	Small = Kind{Name: "small", Packages: packages[:1], Awkward: true}
	// Big is about 1.4 GB when unpacked.
	Big = Kind{Name: "big", Packages: packages, Awkward: true}
	// Huge is about 5 GB when unpacked.
	Huge = Kind{Name: "huge", Packages: packages, Filler: 3600 << 20, Awkward: true}

	packages = [][]string{
		{"git", "python3", "perl"},
		{"build-essential", "python3-dev", "golang-go"},
		{"clang"},
	}
)

// Kinds are all recipes.
var Kinds = []Kind{Demo, Flask, Real, Small, Big, Huge}

// A Layout is a made image.
type Layout struct {
	Dir string // OCI image layout
	Tag string
}

// Source is how fledge.toml names the image.
func (l Layout) Source() string { return "oci:" + l.Dir + ":" + l.Tag }

// Page is what nginx answers to GET / in every image that is not bare.
const Page = "nginx, from an image that fledge built\n"

// Tools are the programs that a Maker runs.
var Tools = []string{"debootstrap", "umoci", "tar"}

// A Maker makes images. It needs root.
type Maker struct {
	Cache string    // folder; made if need be
	Log   io.Writer // output of the programs
}

// The text of the recipe decides whether a cached image is still the right one.
//
//go:embed *.go
var recipe embed.FS

// Image returns the image of that kind, making it if the cache lacks it. An error
// leaves nothing behind in the cache but what later calls can use.
func (m Maker) Image(ctx context.Context, kind Kind) (Layout, error) {
	mirror, err := FindMirror("/etc")
	if err != nil {
		return Layout{}, err
	}
	key, err := recipeKey(fmt.Sprintf("%+v %s", kind, mirror.Suite))
	if err != nil {
		return Layout{}, err
	}
	name := fmt.Sprintf("image-%s-%s", kind.Name, key)
	dir, err := cached(ctx, m.Cache, name, func(path string) error {
		return m.make(ctx, mirror, kind, path)
	})
	if err != nil {
		return Layout{}, fmt.Errorf("making the image %q: %w", kind.Name, err)
	}
	return Layout{Dir: dir, Tag: tag}, nil
}

func recipeKey(parameters string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, parameters)
	err := fs.WalkDir(recipe, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := recipe.ReadFile(path)
		hash.Write(text)
		return err
	})
	return hex.EncodeToString(hash.Sum(nil))[:12], err
}

const tag = "latest"

// make writes the layout at path.
func (m Maker) make(ctx context.Context, mirror Mirror, kind Kind, path string) error {
	if os.Getuid() != 0 {
		return errors.New("root is needed for debootstrap and umoci")
	}
	base, err := m.base(ctx, mirror)
	if err != nil {
		return err
	}
	w := workshop{Maker: m, layout: path, bundle: path + ".bundle", scratch: path + ".scratch"}
	defer os.RemoveAll(w.bundle)
	defer os.RemoveAll(w.scratch)
	if err := w.start(ctx); err != nil {
		return err
	}
	if err := w.pack(ctx, func(root string) error { return w.extract(ctx, base, root) }); err != nil {
		return err
	}
	for _, names := range kind.Packages {
		if err := w.pack(ctx, func(root string) error { return w.install(ctx, root, names) }); err != nil {
			return err
		}
	}
	if kind.Filler > 0 {
		if err := w.pack(ctx, func(root string) error { return fill(filepath.Join(root, "var/lib/filler"), kind.Filler) }); err != nil {
			return err
		}
	}
	change := changeSite
	if kind.Bare {
		change = removeDefaultSite
	}
	if err := w.pack(ctx, change); err != nil {
		return err
	}
	if kind.Awkward {
		if err := w.awkward(ctx); err != nil {
			return err
		}
	}
	return w.finish(ctx)
}

// base returns an archive of the root filesystem that debootstrap makes.
func (m Maker) base(ctx context.Context, mirror Mirror) (string, error) {
	include := "nginx-light,libcap2-bin,attr"
	sum := sha256.Sum256([]byte(strings.Join(mirror.Components, ",") + include))
	name := fmt.Sprintf("base-%s-%x.tar", mirror.Suite, sum[:6])
	return cached(ctx, m.Cache, name, func(path string) error {
		root := path + ".root"
		defer os.RemoveAll(root)
		argv := []string{"debootstrap", "--variant=minbase", "--include=" + include}
		argv = append(argv, "--components="+strings.Join(mirror.Components, ","))
		if mirror.Keyring != "" {
			argv = append(argv, "--keyring="+mirror.Keyring)
		}
		if mirror.Trusted {
			argv = append(argv, "--no-check-gpg")
		}
		argv = append(argv, mirror.Suite, root, mirror.URL)
		if err := run(ctx, m.Log, proxyEnv(ctx), argv...); err != nil {
			return err
		}
		if err := clean(root); err != nil {
			return err
		}
		return run(ctx, m.Log, nil, "tar", "--numeric-owner", "--xattrs", "--xattrs-include=*",
			"--format=posix", "-C", root, "-cf", path, ".")
	})
}

func proxyEnv(ctx context.Context) []string {
	proxy := aptProxy(ctx)
	if proxy == "" {
		return nil
	}
	return []string{"http_proxy=" + proxy}
}

// clean removes what package managers leave behind and an image has no use for.
func clean(root string) error {
	for _, pattern := range []string{"var/cache/apt/archives/*.deb", "var/cache/apt/*.bin", "var/lib/apt/lists/*", "var/log/*.log", "proc/*", "sys/*"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		for _, path := range found {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// A workshop is where one image is put together.
type workshop struct {
	Maker
	layout, bundle, scratch string
}

func (w workshop) image() string { return w.layout + ":" + tag }

func (w workshop) start(ctx context.Context) error {
	if err := os.MkdirAll(w.scratch, 0o755); err != nil {
		return err
	}
	if err := run(ctx, w.Log, nil, "umoci", "init", "--layout", w.layout); err != nil {
		return err
	}
	if err := run(ctx, w.Log, nil, "umoci", "new", "--image", w.image()); err != nil {
		return err
	}
	return run(ctx, w.Log, nil, "umoci", "unpack", "--image", w.image(), w.bundle)
}

// pack lets change work on the unpacked tree and adds what it did as a layer.
func (w workshop) pack(ctx context.Context, change func(root string) error) error {
	if err := change(filepath.Join(w.bundle, "rootfs")); err != nil {
		return err
	}
	return run(ctx, w.Log, nil, "umoci", "repack", "--refresh-bundle", "--image", w.image(), w.bundle)
}

// add adds a layer archive as it is.
func (w workshop) add(ctx context.Context, archive string) error {
	return run(ctx, w.Log, nil, "umoci", "raw", "add-layer", "--image", w.image(), archive)
}

func (w workshop) extract(ctx context.Context, archive, root string) error {
	return run(ctx, w.Log, nil, "tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf", archive, "-C", root)
}

// install adds packages with the root's own apt. No service is started.
func (w workshop) install(ctx context.Context, root string, names []string) error {
	policy := filepath.Join(root, "usr/sbin/policy-rc.d")
	if err := os.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil {
		return err
	}
	defer os.Remove(policy)
	env := append(proxyEnv(ctx), "PATH="+searchPath)
	if err := run(ctx, w.Log, env, "chroot", root, "apt-get", "-qq", "update"); err != nil {
		return err
	}
	argv := append([]string{"chroot", root, "apt-get", "-qq", "-y", "--no-install-recommends", "install"}, names...)
	if err := run(ctx, w.Log, env, argv...); err != nil {
		return err
	}
	return clean(root)
}

const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// created is the image's own date.
const created = "2024-05-06T07:08:09Z"

// finish sets the image's configuration. The entrypoint is a bare name as in many
// images: whoever boots it has to find it in PATH.
func (w workshop) finish(ctx context.Context) error {
	err := run(ctx, w.Log, nil, "umoci", "config", "--image", w.image(), "--created", created,
		"--config.entrypoint", "nginx", "--config.entrypoint", "-g", "--config.entrypoint", "daemon off;",
		"--config.env", "PATH="+searchPath, "--config.env", "GREETING=two words",
		"--config.exposedports", "80/tcp", "--config.workingdir", "/var/www")
	if err != nil {
		return err
	}
	return run(ctx, w.Log, nil, "umoci", "gc", "--layout", w.layout)
}
