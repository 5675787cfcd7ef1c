package mapping

import (
	"bytes"
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Kind says what a warning is about.
type Kind string

// The kinds of warnings.
const (
	Secret        Kind = "secret"         // looks like something that must not be published
	NotExecutable Kind = "not-executable" // a program that gets mode 0644
	ReplacedLink  Kind = "replaced-link"  // a symbolic link of the image gave way
	DanglingLink  Kind = "dangling-link"  // a mapped link leads nowhere in the image
	Hidden        Kind = "hidden"         // the agent mounts something over it at boot
)

// MaxWarnings is how many warnings a Report holds at most; the last one says how
// many more there were.
const MaxWarnings = 100

// Warning is something the user should look at. It never changes the result.
type Warning struct {
	Kind   Kind
	Source string // below the project folder
	Dest   string // in the image, with a leading slash
	Text   string // what it is and what to do
}

func (w Warning) String() string {
	return fmt.Sprintf("mapping %q to %q: %s", w.Source, w.Dest, w.Text)
}

// noted is a warning on its way to the report.
type noted struct {
	Warning
	of repeat // not zero: repeats are counted
}

// repeat is what warnOnce warns about once: one kind of thing in one mapping.
type repeat struct {
	kind Kind
	Mapping
}

func (p *planner) warn(kind Kind, e entry, text string) {
	p.note(noted{Warning: Warning{Kind: kind, Source: e.source, Dest: "/" + e.name, Text: text}})
}

// warnOnce is warn for what whole directories tend to have: the first name of a
// mapping gets the warning, the others are counted in it.
func (p *planner) warnOnce(kind Kind, e entry, text string) {
	of := repeat{kind, e.mapping}
	if p.repeated[of]++; p.repeated[of] == 1 {
		p.note(noted{Warning: Warning{Kind: kind, Source: e.source, Dest: "/" + e.name, Text: text}, of: of})
	}
}

func (p *planner) note(n noted) { p.noted = append(p.noted, n) }

// warnings are those of the report.
func (p *planner) warnings() []Warning {
	var ws []Warning
	for _, n := range p.noted {
		if more := p.repeated[n.of] - 1; more > 0 {
			n.Text = fmt.Sprintf("%s; the same holds for %d more below %q", n.Text, more, n.of.Source)
		}
		ws = append(ws, n.Warning)
	}
	slices.SortFunc(ws, func(a, b Warning) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Dest, b.Dest), cmp.Compare(a.Kind, b.Kind))
	})
	if more := len(ws) - MaxWarnings; more > 0 {
		ws = ws[:MaxWarnings]
		ws[MaxWarnings-1].Text = fmt.Sprintf("%s; and %d more warnings", ws[MaxWarnings-1].Text, more)
	}
	return ws
}

// mounted are the directories that the agent mounts something over at boot.
var mounted = []string{"dev", "proc", "run", "sys", "tmp"}

// warnLeaf looks at the names of a file or link.
func (p *planner) warnLeaf(e entry) {
	if what := secretEntry(e); what != "" {
		p.warnSecret(e, what)
	}
	for _, dir := range mounted {
		if strings.HasPrefix(e.name, dir+"/") {
			p.warnOnce(Hidden, e, fmt.Sprintf("/%s is mounted over at boot, so the workload will not see it", dir))
		}
	}
}

// secretEntry is secretName for all names that a file has.
func secretEntry(e entry) string {
	return cmp.Or(secretName(e.source), secretName(e.at), secretName(e.name))
}

// warnDir looks at the name of a directory.
func (p *planner) warnDir(e entry) {
	if path.Base(e.source) == ".git" {
		p.warn(Secret, e, "a Git repository with its whole history; map the folders that are needed instead")
	}
}

func (p *planner) warnSecret(e entry, what string) {
	p.warn(Secret, e, what+"; everybody who gets the plugin can read it")
}

// headSize is how many of a file's first bytes are looked at.
const headSize = 64 << 10

// warnContent looks at the first bytes of a file.
func (p *planner) warnContent(e entry, head []byte) {
	if secretEntry(e) == "" {
		if what := secretContent(head); what != "" {
			p.warnSecret(e, what)
		} else if path.Ext(e.at) == ".pem" && !publicPEM(head) {
			p.warnSecret(e, "a PEM file that is no certificate or public key")
		}
	}
	if e.mode.Perm()&0o111 == 0 && isProgram(head) {
		p.warnOnce(NotExecutable, e, fmt.Sprintf("a program, but its mode is %04o there; map it to /usr/local/bin if it is to be run", e.mode.Perm()))
	}
}

// secretNames are base names of files that hold credentials.
var secretNames = map[string]string{
	".env":             "an environment file",
	".envrc":           "an environment file",
	".npmrc":           "npm's settings, which can hold a token",
	".netrc":           "a file of login names and passwords",
	"_netrc":           "a file of login names and passwords",
	".pypirc":          "PyPI's settings, which can hold a token",
	".pgpass":          "a file of PostgreSQL passwords",
	".my.cnf":          "MySQL's settings, which can hold a password",
	".git-credentials": "a file of Git credentials",
	".htpasswd":        "a file of password hashes",
	".dockercfg":       "a file of registry credentials",
	".vault-token":     "a Vault token",
	"id_rsa":           "a private SSH key",
	"id_dsa":           "a private SSH key",
	"id_ecdsa":         "a private SSH key",
	"id_ecdsa_sk":      "a private SSH key",
	"id_ed25519":       "a private SSH key",
	"id_ed25519_sk":    "a private SSH key",
}

// secretPaths are ends of paths of files that hold credentials.
var secretPaths = map[string]string{
	".aws/credentials":        "a file of AWS credentials",
	".docker/config.json":     "a file of registry credentials",
	".kube/config":            "a file of Kubernetes credentials",
	".config/gh/hosts.yml":    "a file of GitHub tokens",
	".cargo/credentials.toml": "a file of crates.io tokens",
}

// secretExts are extensions of files that hold credentials.
var secretExts = map[string]string{
	".kdbx":     "a password database",
	".kdb":      "a password database",
	".p12":      "a key store",
	".pfx":      "a key store",
	".jks":      "a key store",
	".keystore": "a key store",
	".ppk":      "a private SSH key",
}

// secretName says what a file is if its name alone is reason to warn.
func secretName(name string) string {
	base := strings.ToLower(path.Base(name))
	if what := secretNames[base]; what != "" {
		return what
	}
	if what := secretExts[path.Ext(base)]; what != "" {
		return what
	}
	if rest, ok := strings.CutPrefix(base, ".env."); ok && !slices.Contains([]string{"example", "sample", "template", "dist"}, rest) {
		return "an environment file"
	}
	for _, end := range []string{lastPath(name, 2), lastPath(name, 3)} {
		if what := secretPaths[end]; what != "" {
			return what
		}
	}
	return ""
}

// lastPath is the last n components of name.
func lastPath(name string, n int) string {
	parts := strings.Split(name, "/")
	return strings.Join(parts[max(0, len(parts)-n):], "/")
}

// secretContent says what a file is if its first bytes are reason to warn.
func secretContent(head []byte) string {
	switch {
	case privatePEM(head):
		return "a private key"
	case bytes.HasPrefix(head, []byte("PuTTY-User-Key-File-")):
		return "a private SSH key"
	case bytes.Contains(head, []byte("AGE-SECRET-KEY-1")):
		return "an age identity"
	case bytes.HasPrefix(head, []byte{0x03, 0xd9, 0xa2, 0x9a}):
		return "a password database"
	}
	return ""
}

// privatePEM looks for a line that begins a private key in PEM: "-----BEGIN "
// and a label that ends in "PRIVATE KEY", with or without " BLOCK".
func privatePEM(head []byte) bool {
	for label := range pemLabels(head) {
		if bytes.HasSuffix(label, []byte("PRIVATE KEY")) || bytes.HasSuffix(label, []byte("PRIVATE KEY BLOCK")) {
			return true
		}
	}
	return false
}

// publicPEM reports whether head has PEM blocks, and none that holds a key that
// is not public.
func publicPEM(head []byte) bool {
	found := false
	for range pemLabels(head) {
		found = true
	}
	return found && !privatePEM(head)
}

// pemLabels yields the labels of the PEM blocks that begin at a line's start.
func pemLabels(head []byte) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for line := range bytes.Lines(head) {
			label, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("-----BEGIN "))
			if !ok {
				continue
			}
			if label, ok = bytes.CutSuffix(label, []byte("-----")); ok && !yield(label) {
				return
			}
		}
	}
}

// isProgram recognises ELF and scripts.
func isProgram(head []byte) bool {
	return bytes.HasPrefix(head, []byte("\x7fELF")) || bytes.HasPrefix(head, []byte("#!/"))
}
