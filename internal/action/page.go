package action

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/volant/fledge-action/internal/merge"
	"github.com/volant/fledge-action/internal/plan"
	"github.com/volant/fledge-action/internal/summary"
)

// pluginPage is what the summary says of a plugin that was built.
func pluginPage(p *Program, x plan.Plugin, b *built, files *pluginFiles) summary.Plugin {
	m := &b.Manifest.Content
	s := summary.Plugin{
		Name: m.Name, Version: m.Version, Platform: x.Platform, Config: p.inWorkspace(x.Config), Format: b.Artifact.Format,
		Epoch: &b.Epoch, Unpinned: b.Unpinned, Warnings: messages(b.Warnings),
		CPUs: m.Resources.CPUCores, MemoryMiB: m.Resources.MemoryMB,
	}
	if b.SBOM != nil {
		s.SBOM = &summary.SBOM{Format: b.SBOM.Format, Packages: b.SBOM.Packages}
	}
	for _, i := range b.Materials {
		s.Inputs = append(s.Inputs, summary.Input{Name: i.Name, URI: i.URI, Version: i.Version, Digest: i.Digest, Signer: i.Signer})
	}
	fill(&s, files.files)
	return s
}

// fill puts files into a plugin's part of the summary.
func fill(s *summary.Plugin, files []file) {
	s.Others = nil
	for _, f := range files {
		x := summary.File{Name: f.Name, Path: f.Path, Kind: summary.Kind(f.Kind), Size: f.Size, Digest: f.digest()}
		switch f.Kind {
		case kindArtifact:
			s.Artifact = x
		case kindManifest:
			s.Manifest = x
		default:
			s.Others = append(s.Others, x)
		}
	}
}

// mergedPage makes sure that the summary has the merged plugins.
func (p *Program) mergedPage(m *merge.Result) {
	known := map[string]summary.Plugin{}
	for _, x := range p.page.Plugins {
		known[x.Name] = x
	}
	p.page.Plugins = nil
	for _, x := range m.Plugins {
		s, ok := known[x.Name]
		if !ok {
			s = summary.Plugin{Name: x.Name, Version: x.Version, Platform: x.Platform}
		}
		var files []file
		for _, f := range x.Files {
			files = append(files, file{Name: f.Name, Path: p.place(f.Path), Size: f.Size, SHA256: f.SHA256, Kind: kindOf(f)})
		}
		fill(&s, files)
		p.page.Plugins = append(p.page.Plugins, s)
	}
}

// releasePage is what the summary says of the release.
func (p *Program) releasePage(s settings, d decision, version string, u *uploaded) {
	p.page.Release = &summary.Release{
		Tag: d.tag, URL: u.URL, Draft: u.Draft, Immutable: u.Immutable, DryRun: s.dryRun, Prerelease: prerelease(s.prerelease, version),
	}
	urls := map[string]string{}
	for _, a := range u.Assets {
		urls[a.Name] = a.URL
	}
	before := map[string]*summary.Before{}
	if u.Previous != nil {
		p.page.Previous = &summary.Link{Text: u.Previous.Tag, URL: u.Previous.URL}
		for _, a := range u.Previous.Assets {
			before[a.Name] = &summary.Before{Size: a.Size, Digest: a.Digest}
		}
	}
	place := func(f *summary.File) { f.URL, f.Before = urls[f.Name], before[f.Name] }
	for i := range p.page.Plugins {
		x := &p.page.Plugins[i]
		place(&x.Artifact)
		place(&x.Manifest)
		for k := range x.Others {
			place(&x.Others[k])
		}
	}
}

// signedBy tells who has signed, as the bundle says.
func (p *Program) signedBy(a *attested, s settings) {
	if a == nil {
		return
	}
	sig := p.page.Signature
	if sig == nil {
		sig = &summary.Signature{TrustedRoot: s.trustedRoot != ""}
		sig.Identity, sig.Issuer, sig.Key = signer(a.Bundle)
		server := p.workflow.Context().ServerURL + "/"
		if id, ok := strings.CutPrefix(sig.Identity, server); ok && !strings.HasPrefix(id, p.page.Repo+"/") {
			sig.Workflow, _, _ = strings.Cut(id, "@")
		}
		p.page.Signature = sig
	}
	for _, page := range a.Pages {
		sig.Attestations = append(sig.Attestations, summary.Link{Text: path.Base(page), URL: page})
	}
}

// fulcioIssuer is the extension with the issuer of the token that a certificate was
// given for. https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
var fulcioIssuer = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}

// signer reads who has signed a bundle that was just made and verified.
func signer(name string) (identity, issuer, key string) {
	f, err := os.Open(name)
	if err != nil {
		return "", "", ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 16<<20))
	if err != nil {
		return "", "", ""
	}
	var b struct {
		Material struct {
			Certificate struct {
				Raw []byte `json:"rawBytes"`
			} `json:"certificate"`
			PublicKey struct {
				Hint string `json:"hint"`
			} `json:"publicKey"`
		} `json:"verificationMaterial"`
	}
	if json.Unmarshal(text, &b) != nil {
		return "", "", ""
	}
	cert, err := x509.ParseCertificate(b.Material.Certificate.Raw)
	if err != nil || len(cert.URIs) == 0 {
		return "", "", b.Material.PublicKey.Hint
	}
	for _, e := range cert.Extensions {
		if e.Id.Equal(fulcioIssuer) {
			asn1.Unmarshal(e.Value, &issuer) // "" if it is no string
		}
	}
	return cert.URIs[0].String(), issuer, ""
}

// maxBoot is the longest of these files, in bytes, and mostBoots how many are read.
const (
	maxBoot   = 64 << 10
	mostBoots = 256
)

// boots reads what 'fledge boot --json' printed in build jobs, for the summary. It is not
// trusted: it is shown, and nothing else.
func (p *Program) boots(s settings) error {
	root := p.owner.Load().root
	return fs.WalkDir(root.FS(), p.inWorkspace(s.output), func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !strings.HasSuffix(name, merge.BootSuffix) || len(p.page.Boots) == mostBoots {
			return nil // what is missing is told when it is merged
		}
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		text, err := io.ReadAll(io.LimitReader(f, maxBoot))
		if err != nil {
			return err
		}
		var b struct {
			Result       string `json:"result"`
			Milliseconds int64  `json:"milliseconds"`
			Accelerator  string `json:"accelerator"`
			CPUs         int    `json:"cpus"`
			MemoryMiB    int    `json:"memory_mib"`
			Kernel       struct {
				Name string `json:"name"`
			} `json:"kernel"`
			Artifact struct {
				Path   string `json:"path"`
				Digest string `json:"digest"`
			} `json:"artifact"`
		}
		if json.Unmarshal(text, &b) != nil {
			p.warn("fledge", "", name+" is not what 'fledge boot --json' prints")
			return nil
		}
		p.page.Boots = append(p.page.Boots, summary.Boot{
			Artifact: path.Base(b.Artifact.Path), Digest: b.Artifact.Digest, Result: b.Result, Milliseconds: b.Milliseconds,
			Kernel: b.Kernel.Name, Accelerator: b.Accelerator, CPUs: b.CPUs, MemoryMiB: b.MemoryMiB,
		})
		return nil
	})
}
