package release

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
)

// sum is one line of SHA256SUMS.
type sum struct{ digest, name string }

// readSums reads SHA256SUMS, if it is among the assets, and compares it with them.
func readSums(assets []Asset) ([]sum, error) {
	i := slices.IndexFunc(assets, func(a Asset) bool { return a.Name == SumsName })
	if i < 0 {
		return nil, nil
	}
	wrong := func(err error) error {
		return &Error{Reason: Checksums, What: "checking " + SumsName, Why: err.Error(), Do: "make it anew from the files that are uploaded", Err: err}
	}
	if assets[i].Size > maxSums {
		return nil, wrong(fmt.Errorf("it has %d bytes: want %d at most", assets[i].Size, maxSums))
	}
	file, err := assets[i].Open()
	if err != nil {
		return nil, wrong(err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxSums+1))
	if err != nil {
		return nil, wrong(err)
	}
	sums, err := parseSums(text)
	if err != nil {
		return nil, wrong(err)
	}
	for _, s := range sums {
		for _, a := range assets {
			if a.Name == s.name && a.Digest != s.digest {
				return nil, wrong(fmt.Errorf("it says %s of %s, which has %s", s.digest, s.name, a.Digest))
			}
		}
	}
	return sums, nil
}

// parseSums reads what sha256sum(1) writes, in either mode.
func parseSums(text []byte) ([]sum, error) {
	var all []sum
	number := 0
	for line := range bytes.Lines(text) {
		number++
		hex, name, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		digest := "sha256:" + hex
		if !ok || len(name) < 2 || name[0] != ' ' && name[0] != '*' || !goodDigest.MatchString(digest) {
			return nil, fmt.Errorf("line %d: want 64 lower-case hex digits, two spaces and a name", number)
		}
		all = append(all, sum{digest, name[1:]})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("it has no lines")
	}
	return all, nil
}

// sumsFit compares the lines with what is, or will be, on the release.
func (r *run) sumsFit(list map[string]*remote) error {
	for _, s := range r.sums {
		if slices.ContainsFunc(r.assets, func(a Asset) bool { return a.Name == s.name }) {
			continue // readSums has compared it
		}
		at := list[s.name]
		why := ""
		switch {
		case at == nil || !at.whole():
			why = fmt.Sprintf("it names %q, which is neither uploaded nor on the release", s.name)
		case at.digest != "" && at.digest != s.digest:
			why = fmt.Sprintf("it says %s of %s, which has %s on the release", s.digest, s.name, at.digest)
		}
		if why != "" {
			return &Error{Reason: Checksums, What: "checking " + SumsName + " of " + r.where(), Why: why, Do: "upload what it names together with it"}
		}
	}
	return nil
}

// verifySums reads SHA256SUMS back from the release, and compares each of its lines
// with what GitHub says of the asset.
func (r *run) verifySums(ctx context.Context, list map[string]*remote) error {
	at := list[SumsName]
	if r.sums == nil || at == nil {
		return nil
	}
	var text bytes.Buffer
	if err := r.download(ctx, at, &text); err != nil {
		return err
	}
	what := "verifying " + SumsName + " of " + r.where()
	sums, err := parseSums(text.Bytes())
	if err != nil || !slices.Equal(sums, r.sums) {
		return &again{err: &Error{Reason: Checksums, What: what, Why: "GitHub serves other lines than were uploaded", Err: err}}
	}
	for _, s := range sums {
		on := list[s.name]
		if on == nil || on.digest != "" && on.digest != s.digest {
			return &again{err: &Error{Reason: Checksums, What: what, Why: fmt.Sprintf("%s is not on the release with the bytes that it names", s.name)}}
		}
	}
	return nil
}
