package summary

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// How many of a kind are shown; of more the first ones are.
const (
	maxRows     = 1000 // of the table of files
	maxWarnings = 50
	maxInputs   = 100
	maxCommands = 50 // in one block
)

// writer collects sections as long as they fit.
type writer struct {
	strings.Builder
	omitted int // sections
}

// reserve is room for what has to be said in the end.
const reserve = 1 << 10

// add writes a section, whole or not at all.
func (w *writer) add(section string) {
	if w.Len()+len(section) > MaxSize-reserve {
		w.omitted++
		return
	}
	w.WriteString(section)
}

// Markdown is the page: at most MaxSize bytes, ending in a newline.
func (p Page) Markdown() string {
	w := &writer{}
	w.add("## " + p.title() + "\n\n")
	w.add(p.failure())
	w.add(p.state())
	w.add(p.withheld())
	p.files(w)
	w.add(p.warnings())
	w.add(p.install())
	w.add(p.verify())
	for i, plugin := range p.Plugins {
		w.add(p.details(plugin, i+1))
	}
	w.add(repeat("Commands of the whole run", p.Repeat))
	if w.omitted > 0 {
		fmt.Fprintf(w, "*%s left out: the page is full.*\n\n", count(w.omitted, "section"))
	}
	if p.Fledge != "" {
		fmt.Fprintf(w, "fledge %s\n", text(clean(p.Fledge, 100, false)))
	}
	return strings.TrimRight(w.String(), "\n") + "\n"
}

func (p Page) title() string {
	var what string
	switch {
	case len(p.Plugins) == 1:
		what = heading(p.Plugins[0])
	case len(p.Plugins) > 1:
		what = count(len(p.Plugins), "plugin")
		if p.Release != nil {
			what += " of " + text(p.Release.Tag)
		}
	}
	switch {
	case p.Failure == nil && what == "" && len(p.Repeat) > 0: // verifying, planning
		argv := p.Repeat[0].Argv
		return "✅ " + code(strings.Join(argv[:min(2, len(argv))], " "))
	case p.Failure == nil && what == "":
		return "Nothing was built"
	case p.Failure == nil:
		return what
	case p.Failure.Plugin != "":
		return "❌ " + text(p.Failure.Plugin) + ": failed"
	case what != "":
		return "❌ " + what + ": failed"
	}
	return "❌ Failed"
}

func heading(p Plugin) string {
	if p.Version == "" {
		return text(p.Name)
	}
	return text(p.Name) + " " + text(p.Version)
}

// failure is what went wrong, where, and what to do.
func (p Page) failure() string {
	f := p.Failure
	if f == nil {
		return ""
	}
	var b strings.Builder
	if f.Stage != "" {
		b.WriteString("**Failed while** " + code(f.Stage) + "\n\n")
	}
	b.WriteString(messages(f.Problems))
	if b.Len() == 0 {
		b.WriteString("The log has the reason.\n")
	}
	return quoted("CAUTION", b.String())
}

// messages are a list with places and hints.
func messages(all []Message) string {
	var b strings.Builder
	for i, m := range all {
		if i == maxWarnings {
			fmt.Fprintf(&b, "- … and %d more\n", len(all)-i)
			break
		}
		b.WriteString(m.item())
	}
	return b.String()
}

func (m Message) item() string {
	head := ""
	if m.File != "" {
		at := m.File
		if m.Line > 0 {
			at = fmt.Sprintf("%s:%d", clean(m.File, maxCell, false), m.Line)
		}
		head = link(code(at), m.URL) + ": "
	}
	inline, fenced := message(m.Text)
	item := "- " + head + inline + "\n"
	switch {
	case fenced != "" && head == "":
		item = "- " + strings.TrimPrefix(indent(fenced), "  ") // a list item cannot begin with an empty line
	case fenced != "":
		item = "- " + strings.TrimSuffix(head, " ") + "\n\n" + indent(fenced)
	}
	if m.Hint != "" {
		hint, many := message(m.Hint)
		item += "\n  **What to do:** " + hint + "\n"
		if many != "" {
			item += "\n" + indent(many)
		}
	}
	return item
}

func indent(s string) string {
	var b strings.Builder
	for l := range strings.Lines(s) {
		b.WriteString("  " + l)
	}
	return b.String()
}

// state is where the files are and what is known of them, in a few lines.
func (p Page) state() string {
	var b strings.Builder
	if len(p.Plugins) == 1 {
		b.WriteString(strings.Join(p.facts(p.Plugins[0]), " · ") + "\n\n")
	}
	if r := p.Release; r != nil {
		b.WriteString(r.sentence() + "\n\n")
	}
	switch {
	case p.Signature != nil:
		b.WriteString(p.Signature.sentence() + "\n\n")
	case p.Unsigned != "":
		b.WriteString("Unsigned: " + code(p.Unsigned) + "\n\n")
	}
	return b.String()
}

// facts are what is known of one plugin.
func (p Page) facts(plugin Plugin) []string {
	facts := []string{}
	if plugin.Platform != "" {
		facts = append(facts, code(plugin.Platform))
	}
	if plugin.Format != "" {
		facts = append(facts, code(plugin.Format)+" "+size(plugin.Artifact.Size))
	}
	if plugin.Reproducible == SameBytes {
		facts = append(facts, "✅ reproducible: two builds, the same bytes")
	}
	if plugin.Reproducible == SameContent {
		facts = append(facts, "✅ reproducible content: two builds, other bytes, the same files")
	}
	for _, b := range p.boots(plugin) {
		facts = append(facts, b.short())
	}
	return facts
}

func (r *Release) sentence() string {
	name := link(text(r.Tag), r.URL)
	switch {
	case r.DryRun:
		return "**Dry run** of release " + text(r.Tag) + ": nothing was uploaded or signed."
	case r.Draft:
		return "On the **draft** release " + name + ". Only who may write to the repository sees it; publish it on its page."
	}
	kind := "release"
	if r.Prerelease {
		kind = "prerelease"
	}
	s := "**Published** as " + kind + " " + name
	if r.Immutable {
		s += ", which is **immutable**: its files and its tag cannot be changed"
	}
	return s + "."
}

func (s *Signature) sentence() string {
	var out string
	switch {
	case s.Key != "":
		out = "✅ **Signed** with the key " + code(s.Key) + "."
	case s.Identity == "" && s.Issuer == "":
		out = "✅ **Signed**."
	default:
		out = "✅ **Signed** as " + code(s.Identity)
		if s.Issuer != "" {
			out += ", vouched for by " + code(s.Issuer)
		}
		out += "."
	}
	var links []string
	for i, a := range s.Attestations {
		if i == maxWarnings {
			links = append(links, fmt.Sprintf("and %d more", len(s.Attestations)-i))
			break
		}
		links = append(links, link(text(a.Text), a.URL))
	}
	if links != nil {
		out += " Attestations at GitHub: " + strings.Join(links, ", ") + "."
	}
	return out
}

func (p Page) withheld() string {
	if p.Withheld == nil {
		return ""
	}
	h := p.Withheld
	b := "**Nothing was uploaded:** " + span(h.Why, maxText) + "\n"
	if h.Coming {
		b += "\nA release of this commit will have artifacts with the sha256 below, as long as nothing that it is made from changes.\n"
	}
	if h.Fix != "" {
		b += "\n**What to do:** " + span(h.Fix, maxText) + "\n"
	}
	return quoted("NOTE", b)
}

// boots are the results that are about a plugin's artifact.
func (p Page) boots(plugin Plugin) []Boot {
	var all []Boot
	for _, b := range p.Boots {
		if b.Digest != "" && b.Digest == plugin.Artifact.Digest && len(all) < 10 {
			all = append(all, b)
		}
	}
	return all
}

func (b Boot) short() string {
	if b.Result != "PASS" {
		return "❌ boot: " + text(clean(b.Result, 100, false))
	}
	s := fmt.Sprintf("✅ answers after %d ms", b.Milliseconds)
	if b.Accelerator != "" {
		s += " (" + text(b.Accelerator) + ")"
	}
	return s
}

// columns of the table of files that are there only if some file has something in them.
type columns struct{ plugin, change, same, boot bool }

func (p Page) columns() columns {
	c := columns{plugin: len(p.Plugins) > 1, change: p.Previous != nil}
	for _, plugin := range p.Plugins {
		c.same = c.same || c.plugin && plugin.Reproducible != Unchecked
		c.boot = c.boot || c.plugin && len(p.boots(plugin)) > 0
	}
	return c
}

// sameMark is what the table says of a plugin that was built twice.
var sameMark = map[Reproducible]string{SameBytes: "✅", SameContent: "✅ content"}

// files is the table of artifacts and manifests.
func (p Page) files(w *writer) {
	if len(p.Plugins) == 0 {
		return
	}
	c := p.columns()
	head := []string{"file", "size", "sha256"}
	if c.plugin {
		head = append([]string{"plugin", "platform"}, head...)
	}
	if c.change {
		head = append(head, "since "+link(text(p.Previous.Text), p.Previous.URL))
	}
	if c.same {
		head = append(head, "reproducible")
	}
	if c.boot {
		head = append(head, "boot")
	}
	w.add(row(head) + row(slices.Repeat([]string{"---"}, len(head))))
	rows := p.rows(c)
	for i, r := range rows {
		// Half of the page is left for what comes behind the table.
		if i == maxRows || w.Len()+len(r) > MaxSize/2 {
			w.add(row([]string{fmt.Sprintf("… and %s more", count(len(rows)-i, "file"))}))
			break
		}
		w.add(r)
	}
	w.add("\n")
}

func row(cells []string) string { return "| " + strings.Join(cells, " | ") + " |\n" }

func (p Page) rows(c columns) []string {
	var rows []string
	for _, plugin := range p.Plugins {
		for _, f := range []File{plugin.Artifact, plugin.Manifest} {
			if f.Name == "" {
				continue
			}
			first := f.Name == plugin.Artifact.Name
			cells := []string{link(code(f.Name), f.URL), size(f.Size), code(strings.TrimPrefix(f.Digest, "sha256:"))}
			if c.plugin {
				cells = append([]string{heading(plugin), code(plugin.Platform)}, cells...)
			}
			if c.change {
				cells = append(cells, f.change())
			}
			if c.same {
				cells = append(cells, mark(first && plugin.Reproducible != Unchecked, sameMark[plugin.Reproducible]))
			}
			if c.boot {
				var said []string
				for _, b := range p.boots(plugin) {
					said = append(said, b.short())
				}
				cells = append(cells, mark(first, strings.Join(said, ", ")))
			}
			rows = append(rows, row(cells))
		}
	}
	return rows
}

func mark(yes bool, s string) string {
	if yes {
		return s
	}
	return ""
}

// change compares a file with the one of the release before.
func (f File) change() string {
	switch b := f.Before; {
	case b == nil:
		return "new"
	case b.Digest != "" && b.Digest == f.Digest:
		return "same bytes"
	case b.Size == f.Size:
		return "other bytes, same size"
	case b.Size <= 0:
		return fmt.Sprintf("%+d bytes", f.Size-b.Size)
	default:
		diff := f.Size - b.Size
		sign := "+"
		if diff < 0 {
			sign = "−"
		}
		s := fmt.Sprintf("%s%d bytes", sign, abs(diff))
		if abs(diff) >= 1<<10 {
			s = sign + size(abs(diff)) + " (" + s + ")"
		}
		return fmt.Sprintf("%s, %s%.1f %%", s, sign, 100*float64(abs(diff))/float64(b.Size))
	}
}

// warnings are those of the run and of its plugins, and what the boot results are not about.
func (p Page) warnings() string {
	all := slices.Clone(p.Warnings)
	for _, plugin := range p.Plugins {
		for _, m := range plugin.Warnings {
			if len(p.Plugins) > 1 {
				m.Text = plugin.Name + ": " + m.Text
			}
			all = append(all, m)
		}
	}
	for _, b := range p.Boots {
		about := func(plugin Plugin) bool { return b.Digest != "" && plugin.Artifact.Digest == b.Digest }
		if !slices.ContainsFunc(p.Plugins, about) {
			all = append(all, Message{
				Text: fmt.Sprintf("stale boot result: it is of %s with %s, which is no artifact of this run", b.Artifact, b.Digest),
				Hint: "boot what this run has built",
			})
		}
	}
	if len(all) == 0 {
		return ""
	}
	return quoted("WARNING", "**"+count(len(all), "warning")+"**\n\n"+messages(all))
}

// install are the commands for a Volant host.
func (p Page) install() string {
	var all []Command
	for _, plugin := range p.Plugins {
		if p.Failure != nil || plugin.Manifest.Name == "" {
			continue
		}
		from := plugin.Manifest.Path
		if plugin.Manifest.URL != "" && p.released() {
			from = plugin.Manifest.URL
		}
		if from == "" {
			continue
		}
		all = append(all, Command{Argv: []string{"volar", "plugins", "install", "--manifest", from}})
		if plugin.CPUs > 0 && plugin.MemoryMiB > 0 {
			all = append(all, Command{Argv: []string{"volar", "vms", "create", "NAME", "--plugin", plugin.Name, "--cpu", fmt.Sprint(plugin.CPUs), "--memory", fmt.Sprint(plugin.MemoryMiB)}})
		}
	}
	return section("### Install\n\n", all)
}

func section(head string, all []Command) string {
	if len(all) == 0 {
		return ""
	}
	more := ""
	if n := len(all) - maxCommands; n > 0 {
		all, more = all[:maxCommands], fmt.Sprintf("\n… and %d more\n", n)
	}
	return head + commands(all) + more + "\n"
}

// verify are the commands with which others check what is here.
func (p Page) verify() string {
	if len(p.Plugins) == 0 || p.Failure != nil {
		return ""
	}
	if p.Signature == nil {
		return section("### Verify\n\n", p.sums())
	}
	released := p.released()
	var all []Command
	who := p.accepted()
	if released {
		all = append(all, Command{Argv: slices.Concat([]string{"fledge", "verify", p.Release.URL}, who)})
	}
	for _, plugin := range p.Plugins {
		artifact := plugin.Artifact.place(released)
		if artifact == "" {
			continue
		}
		if !released {
			all = append(all, Command{Argv: slices.Concat([]string{"fledge", "verify", artifact}, who)})
		}
		if len(p.Plugins) == 1 { // else they stand with each plugin
			all = append(all, p.others(plugin, released)...)
		}
	}
	return section("### Verify\n\n", all)
}

// released tells whether everybody can download the files.
func (p Page) released() bool {
	return p.Release != nil && !p.Release.Draft && !p.Release.DryRun && p.Release.URL != ""
}

// place is what a file is called on the command line: of a released one, which has been
// downloaded, its name.
func (f File) place(released bool) string {
	if released || f.Path == "" {
		return f.Name
	}
	return f.Path
}

// accepted are the flags that say whose signature is accepted.
func (p Page) accepted() []string {
	s := p.Signature
	if s.Key != "" {
		return []string{"--key", "FILE.pub"}
	}
	args := []string{"--repo", p.Repo}
	if p.Repo == "" {
		args = nil
	}
	if s.Workflow != "" {
		args = append(args, "--signer-workflow", s.Workflow)
	}
	if s.TrustedRoot {
		args = append(args, "--trusted-root", "trusted_root.json")
	}
	return args
}

// others are the commands of gh and cosign for one artifact.
func (p Page) others(plugin Plugin, released bool) []Command {
	s, artifact := p.Signature, plugin.Artifact.place(released)
	if s == nil || artifact == "" || p.Failure != nil {
		return nil
	}
	bundle, all := plugin.bundle(Bundle, released), plugin.bundle(Bundles, released)
	var list []Command
	if s.Key == "" && p.Repo != "" && (all != "" || s.Attestations != nil) {
		argv := []string{"gh", "attestation", "verify", artifact, "--repo", p.Repo}
		if s.Workflow != "" {
			argv = append(argv, "--signer-workflow", s.Workflow)
		}
		if all != "" {
			argv = append(argv, "--bundle", all)
		}
		if s.TrustedRoot {
			argv = append(argv, "--custom-trusted-root", "trusted_root.jsonl")
		}
		list = append(list, Command{Argv: argv})
	}
	digest := strings.TrimPrefix(plugin.Artifact.Digest, "sha256:")
	if bundle == "" || digest == "" {
		return list
	}
	argv := []string{"cosign", "verify-blob-attestation", "--bundle", bundle}
	switch {
	case s.Key != "":
		argv = append(argv, "--key", "FILE.pub", "--insecure-ignore-tlog", "--type", "https://github.com/volant/fledge-action/attestations/build/v1")
	case s.Identity != "" && s.Issuer != "":
		argv = append(argv, "--type", "slsaprovenance1", "--certificate-identity", s.Identity, "--certificate-oidc-issuer", s.Issuer)
	default:
		return list
	}
	if s.TrustedRoot {
		argv = append(argv, "--trusted-root", "trusted_root.json")
	}
	return append(list, Command{Argv: append(argv, "--digest", digest, "--digestAlg", "sha256")})
}

func (p Plugin) bundle(kind Kind, released bool) string {
	for _, f := range p.Others {
		if f.Kind == kind {
			return f.place(released)
		}
	}
	return ""
}

// sums are the commands that check what is unsigned.
func (p Page) sums() []Command {
	var all []Command
	for _, plugin := range p.Plugins {
		for _, f := range plugin.Others {
			c := Command{Argv: []string{"sha256sum", "--check", "--ignore-missing", f.Name}}
			if f.Kind != Checksums || f.Name == "" {
				continue
			}
			if i := strings.LastIndexByte(f.Path, '/'); i > 0 && f.URL == "" {
				c.Dir = f.Path[:i]
			}
			if !slices.ContainsFunc(all, func(a Command) bool { return a.line() == c.line() }) {
				all = append(all, c)
			}
		}
	}
	return all
}

// details is everything else about one plugin, folded.
func (p Page) details(plugin Plugin, number int) string {
	var b strings.Builder
	b.WriteString(plugin.inputs())
	b.WriteString(plugin.others())
	b.WriteString(p.bootTable(plugin))
	if len(p.Plugins) > 1 {
		b.WriteString(section("**Verify with other tools**\n\n", p.others(plugin, p.released())))
	}
	b.WriteString(section("**Build it again by hand**\n\n", plugin.Repeat))
	if b.Len() == 0 {
		return ""
	}
	return folded(fmt.Sprintf("What %s is made from, and how to build it again", plainly(plugin.Name, number)), b.String())
}

// plainly is a name in HTML, or a number for a name that is no plain text.
func plainly(name string, number int) string {
	if plain(name) {
		return name
	}
	return fmt.Sprintf("plugin %d", number)
}

// folded is a section that is opened by hand. title is HTML.
func folded(title, markdown string) string {
	return "<details>\n<summary>" + title + "</summary>\n\n" + strings.TrimRight(markdown, "\n") + "\n\n</details>\n\n"
}

func repeat(title string, all []Command) string {
	if len(all) == 0 {
		return ""
	}
	return folded(title, section("", all))
}

// inputs is what a plugin is made from.
func (p Plugin) inputs() string {
	var b strings.Builder
	if p.Config != "" {
		b.WriteString("Configuration " + code(p.Config) + "\n\n")
	}
	if len(p.Inputs) > 0 {
		b.WriteString(row([]string{"input", "from", "version", "digest"}) + row(slices.Repeat([]string{"---"}, 4)))
	}
	for i, in := range p.Inputs {
		if i == maxInputs {
			b.WriteString(row([]string{fmt.Sprintf("… and %d more", len(p.Inputs)-i), "", "", ""}))
			break
		}
		from := code(in.URI)
		if in.Signer != "" {
			from += "<br>✅ attested by " + code(in.Signer)
		}
		b.WriteString(row([]string{text(in.Name), from, code(in.Version), code(in.Digest)}))
	}
	if len(p.Inputs) > 0 {
		b.WriteString("\n")
	}
	if p.Epoch != nil {
		b.WriteString("`SOURCE_DATE_EPOCH=" + fmt.Sprint(*p.Epoch) + "`" + date(*p.Epoch) + "\n\n")
	}
	if len(p.Unpinned) > 0 {
		var names []string
		for i, n := range p.Unpinned {
			if i < 10 {
				names = append(names, text(n))
			}
		}
		b.WriteString("⚠️ **Not pinned:** " + strings.Join(names, ", ") + ". A later build may get others: run `fledge lock` and commit fledge.lock.\n\n")
	}
	if p.SBOM != nil {
		b.WriteString("SBOM (" + text(p.SBOM.Format) + "): " + count(p.SBOM.Packages, "package") + "\n\n")
	}
	return b.String()
}

// date is a time of day in UTC, where it has one with four digits of a year.
func date(epoch int64) string {
	if epoch < 0 || epoch > 253402300799 {
		return ""
	}
	return " (" + time.Unix(epoch, 0).UTC().Format("2006-01-02 15:04:05") + " UTC)"
}

// kinds are what files are for, in words.
var kinds = map[Kind]string{
	SBOMFile: "software list", Record: "build record", Checksums: "checksums", Bundle: "signed provenance", Bundles: "all signed statements",
}

// others are the files beside artifact and manifest.
func (p Plugin) others() string {
	if len(p.Others) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(row([]string{"file", "", "size", "sha256"}) + row(slices.Repeat([]string{"---"}, 4)))
	for i, f := range p.Others {
		if i == maxInputs {
			b.WriteString(row([]string{fmt.Sprintf("… and %d more", len(p.Others)-i), "", "", ""}))
			break
		}
		b.WriteString(row([]string{link(code(f.Name), f.URL), kinds[f.Kind], size(f.Size), code(strings.TrimPrefix(f.Digest, "sha256:"))}))
	}
	return b.String() + "\n"
}

// bootTable is how a plugin's artifact was booted.
func (p Page) bootTable(plugin Plugin) string {
	all := p.boots(plugin)
	if len(all) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(row([]string{"boot", "after", "kernel", "accelerator", "machine"}) + row(slices.Repeat([]string{"---"}, 5)))
	for _, x := range all {
		machine := ""
		if x.CPUs > 0 && x.MemoryMiB > 0 {
			machine = fmt.Sprintf("%d CPU, %d MiB", x.CPUs, x.MemoryMiB)
		}
		b.WriteString(row([]string{text(x.Result), fmt.Sprintf("%d ms", x.Milliseconds), code(x.Kernel), code(x.Accelerator), machine}))
	}
	return b.String() + "\n"
}
