package release

import (
	"fmt"
	"mime"
	"regexp"
	"strings"
	"unicode/utf8"
)

// SumsName is the list of digests that is verified after the upload.
const SumsName = "SHA256SUMS"

// Limits of GitHub, and of names. See docs/release.md for where they come from.
const (
	MaxAssets = 1000      // of a release
	MaxSize   = 2<<30 - 1 // bytes of an asset
	MaxNotes  = 125_000   // characters of a release's notes
	MaxName   = 200       // bytes of an asset's name, which leaves room for that of a replacement
	maxTag    = 255       // bytes
	maxSums   = 1 << 20   // bytes of it
	freshMark = ".new-"   // between a name and 12 digits of its new digest
	oldMark   = ".old-"   // between a name and the id of the asset that had it
	freshHex  = 12
)

var (
	goodName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)
	goodDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	reserved   = regexp.MustCompile(`\.(new-[0-9a-f]{12}|old-[0-9]+)$`)
)

// CheckName tells whether GitHub keeps a name as it is, and why not. GitHub renames
// other files without a word, and what names them then points nowhere.
func CheckName(name string) error {
	switch {
	case len(name) > MaxName:
		return fmt.Errorf("asset name %.40q… has %d bytes: want %d at most", name, len(name), MaxName)
	case !goodName.MatchString(name), strings.Contains(name, ".."), strings.HasSuffix(name, "."):
		return fmt.Errorf("asset name %q: GitHub would rename it; use letters, digits, single dots, '-', '_' and '+', a letter or digit first and no dot at the end", name)
	case reserved.MatchString(name):
		return fmt.Errorf("asset name %q: names that end like this are those of unfinished replacements", name)
	}
	return nil
}

// check finds what GitHub would refuse, before anything is sent.
func check(tag string, assets []Asset, o Options) error {
	invalid := func(format string, args ...any) error {
		return &Error{Reason: Invalid, What: "checking the release", Why: fmt.Sprintf(format, args...)}
	}
	switch {
	case !validTag(tag):
		return invalid("tag %q is not a name that git takes", tag)
	case len(assets) == 0:
		return invalid("no files")
	case len(assets) > MaxAssets:
		return invalid("%d files: GitHub takes %d a release", len(assets), MaxAssets)
	case utf8.RuneCountInString(o.Body) > MaxNotes, utf8.RuneCountInString(o.Notes) > MaxNotes:
		return invalid("release notes have %d characters: GitHub takes %d", max(utf8.RuneCountInString(o.Body), utf8.RuneCountInString(o.Notes)), MaxNotes)
	case o.Draft && o.MakeLatest != "":
		return invalid("a draft cannot be the latest release")
	case o.Prerelease && o.MakeLatest == "true":
		return invalid("a prerelease cannot be the latest release")
	}
	switch o.MakeLatest {
	case "", "true", "false", "legacy":
	default:
		return invalid("make latest is %q: want true, false or legacy", o.MakeLatest)
	}
	switch o.Clash {
	case "", ClashFail, ClashReplace, ClashAuto:
	default:
		return invalid("clash is %q: want %s, %s or %s", o.Clash, ClashFail, ClashReplace, ClashAuto)
	}
	seen := map[string]string{}
	for _, a := range assets {
		if err := CheckName(a.Name); err != nil {
			return invalid("%v", err)
		}
		// Whether GitHub tells cases apart is not documented, and downloads may
		// land on a filesystem that does not.
		if other, twice := seen[strings.ToLower(a.Name)]; twice {
			return invalid("two files are named %q and %q", other, a.Name)
		}
		seen[strings.ToLower(a.Name)] = a.Name
		switch {
		case a.Size <= 0:
			return invalid("%s is empty: GitHub takes no empty files", a.Name)
		case a.Size > MaxSize:
			return &Error{
				Reason: TooLarge, What: "checking the release", Why: fmt.Sprintf("%s has %d bytes (%.1f GiB): GitHub takes files under 2 GiB", a.Name, a.Size, float64(a.Size)/(1<<30)),
				Do: "make the artifact smaller, or keep it elsewhere and set its url",
			}
		case !goodDigest.MatchString(a.Digest):
			return invalid("digest %q of %s: want sha256: and 64 lower-case hex digits", a.Digest, a.Name)
		case a.Open == nil:
			return invalid("%s cannot be opened", a.Name)
		}
		if a.MediaType != "" {
			if _, _, err := mime.ParseMediaType(a.MediaType); err != nil {
				return invalid("media type %q of %s: %v", a.MediaType, a.Name, err)
			}
		}
	}
	return nil
}

// validTag follows git-check-ref-format(1).
func validTag(tag string) bool {
	if tag == "" || len(tag) > maxTag || tag == "@" || !utf8.ValidString(tag) || strings.HasPrefix(tag, "-") || strings.HasSuffix(tag, ".") {
		return false
	}
	for part := range strings.SplitSeq(tag, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return !strings.Contains(tag, "..") && !strings.Contains(tag, "@{") &&
		!strings.ContainsFunc(tag, func(c rune) bool { return c <= ' ' || c == 0x7f || strings.ContainsRune(`~^:?*[\`, c) })
}
