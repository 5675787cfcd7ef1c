package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// reference is docs/cli.md, made from the commands.
func reference() string {
	var b strings.Builder
	b.WriteString("# Command line\n\n<!-- Generated from internal/cli by \"make golden\". -->\n\n")
	root := (&Program{Version: "x", Getenv: func(string) string { return "" }}).command()
	describeAll(&b, root)
	b.WriteString(`## Output

Results go to standard output: the paths of the artifact and of manifest.json, one a line, or one JSON object with ` + "`--json`" + `. Everything else
goes to standard error: a progress bar on a terminal, one line a stage elsewhere. A command that fails prints nothing on standard output. ` + "`fledge boot`" + ` prints
PASS and milliseconds, ` + "`fledge release upload`" + ` the release's URL and then those of the files, one a line, ` + "`fledge release merge`" + ` the paths of all files.
` + "`fledge plan`" + ` prints a table, or the job matrix of [many plugins](many-plugins.md) on one line.

| key of ` + "`fledge build --json`" + ` | |
|---|---|
| ` + "`artifact`" + ` | ` + "`path`, `format` (\"ext4\"), `size` in bytes, `digest`" + ` |
| ` + "`manifest`" + ` | ` + "`path`, `content`" + ` |
| ` + "`epoch`" + ` | seconds since 1970, see [reproducibility](reproducibility.md) |
| ` + "`materials`" + ` | what was read: ` + "`name`, `uri`, `digest`" + ` of image (the platform's manifest), image index, image config, each image layer, agent (with its release's ` + "`version`" + `), busybox, init, init shim, mappings, config (fledge.toml), manifest template |
| ` + "`unpinned`" + ` | which of image, agent and busybox neither fledge.toml nor [fledge.lock](lock.md) pins |
| ` + "`reproducible`" + ` | true: a second build has made the same bytes, see [reproducibility](reproducibility.md#checking-it); only with ` + "`--check-reproducible`" + ` |
| ` + "`content_reproducible`" + ` | true: a second build has made other bytes, as it must of xfs and btrfs, that hold the same; only with ` + "`--check-reproducible`" + ` |
| ` + "`content_digest`" + ` | the [content digest](content-digest.md) of the artifact: of xfs and btrfs always, else if a build record is written and with ` + "`--check-reproducible`" + ` |
| ` + "`filesystem`" + ` | ` + "`free` and `journal` in bytes, `inodes`, `free_inodes`" + ` |
| ` + "`size`" + ` | in bytes: ` + "`artifact`, `download`" + ` (fetched at each start of a VM), ` + "`empty`" + ` (free space), ` + "`content`" + ` (all files), ` + "`strippable`" + `; numbers of ` + "`files`" + ` and ` + "`entries`" + `; ` + "`directories`, `largest`" + ` files, ` + "`unstripped`" + ` programs and libraries with what strip ` + "`saves`" + `, ten each at most, and ` + "`unstripped_not_named`" + `; see [preflight](preflight.md#where-the-bytes-are) |
| ` + "`warnings`" + ` | list of messages |

` + "`fledge lock --json`" + ` prints ` + "`path`, `lock`" + ` (the file's content) and ` + "`changes`: `name`, `old`, `new`" + `.
` + "`fledge validate --json`" + ` prints ` + "`config`" + `, the file's name, ` + "`strategy`" + ` and ` + "`warnings`" + `. These keys stay; others may come.
What ` + "`fledge inspect --json`" + ` and ` + "`fledge diff --json`" + ` print is in [inspect](inspect.md), what ` + "`fledge verify --json`" + ` prints in
[verify](verify.md#keys-of-fledge-verify---json); that command prints its result when a target did not verify, too.

| key of ` + "`fledge boot --json`" + ` | |
|---|---|
| ` + "`result`" + ` | "PASS"; a boot that fails prints nothing here |
| ` + "`milliseconds`" + ` | from the start of QEMU to the good answer, or the text of ` + "`--wait-for`" + ` |
| ` + "`agent_milliseconds`" + ` | from the start of QEMU to the agent's first word on the console, if it said one |
| ` + "`accelerator`, `cpus`, `memory_mib`" + ` | "kvm" or "tcg", and what the machine had |
| ` + "`kernel`" + ` | ` + "`name`, `arch`, `volant`" + `: whether it is Volant's own release |
| ` + "`artifact`" + ` | ` + "`path`, `digest`" + ` |
| ` + "`url`, `status`, `wait_for`" + ` | what was asked in the guest and what came back, or the text |
| ` + "`warnings`" + ` | list of messages |

| key of ` + "`fledge release upload --json`" + ` | |
|---|---|
| ` + "`tag`, `id`, `url`" + ` | of the release; a dry run that found none has no ` + "`id` and `url`" + ` |
| ` + "`draft`, `immutable`" + ` | what it is now |
| ` + "`created`" + ` | whether this run made it |
| ` + "`dry_run`" + ` | whether nothing was written |
| ` + "`assets`" + ` | list of ` + "`name`, `id`, `url`, `size`, `digest`, `done`" + `: "uploaded", "skipped" or "replaced" |
| ` + "`previous`" + ` | [the release before](release.md#the-release-before): ` + "`tag`, `url`, `assets`" + `, a list of ` + "`name`, `size`, `digest`" + `; null without one |
| ` + "`warnings`" + ` | list of messages |

| key of ` + "`fledge release merge --json`" + ` | |
|---|---|
| ` + "`folder`" + ` | the merged folder |
| ` + "`plugins`" + ` | list, sorted by name, of ` + "`name`, `version`, `platform`" + ` (if there is a build record), ` + "`url`" + ` (where the manifest says that the artifact is), ` + "`folder`" + ` (it was taken from), ` + "`files`" + ` |
| ` + "`files`, `sums`" + ` | list of, and for SHA256SUMS one: ` + "`name`, `path`, `size`" + ` in bytes, ` + "`sha256`" + ` in hex, ` + "`role`" + `: "artifact", "manifest", "sbom", "build record", "bundle", "checksums" |
| ` + "`warnings`" + ` | list of messages |

` + "`fledge attest --json`" + ` prints ` + "`attestations`" + `, a list of ` + "`artifact`" + ` (its path), ` + "`sums`, `bundle`, `bundles`" + ` (paths), ` + "`statements`" + ` (their types),
` + "`subjects`: `name`, `digest`" + `, and ` + "`github_urls`" + `, the pages of what GitHub keeps; for one artifact these keys stand beside the list, too.

## Exit codes

| code | |
|---|---|
| 0 | done; ` + "`fledge diff`" + `: the artifacts are the same bytes |
| 1 | the build failed, or is not reproducible; nothing was written, unless only printing the result failed |
| | ` + "`fledge lock`" + `: something cannot be pinned, or with ` + "`--check`" + ` the lock is not up to date |
| | ` + "`fledge boot`" + `: the plugin did not boot, or there is nothing to boot it with |
| | ` + "`fledge inspect`" + `: the artifact cannot be read, is malformed, does not have the path, or ` + "`--check`" + ` found problems |
| | ` + "`fledge diff`" + `: the artifacts differ |
| | ` + "`fledge verify`" + `: a target did not verify, or could not be reached |
| | ` + "`fledge release upload`" + `: the release does not have all files, or is not published; what was uploaded stays |
| | ` + "`fledge release merge`" + `: a plugin's files do not belong together; nothing was written |
| 2 | flags, fledge.toml, or a manifest are wrong; nothing was written or started |
| | ` + "`fledge release merge`" + `: also folders without a plugin, names that are there twice, and a folder that may not be replaced |
| | ` + "`fledge release upload`" + `: also files that GitHub would not take, or a missing token |
| | ` + "`fledge diff`" + `: the artifacts could not be compared |
| 3 | ` + "`fledge verify`" + `: there is nothing to verify a target with |
| 130 | interrupted by SIGINT, SIGTERM or SIGHUP; nothing was written or left running |
| | ` + "`fledge release upload`" + `: what was uploaded stays; the same command goes on from there |

A signal that was ignored when fledge started, as ` + "`nohup`" + ` does with SIGHUP, stays ignored.

## Why

*Why has ` + "`fledge diff`" + ` codes of its own?* They are those of diff(1) and cmp(1), which scripts that compare files expect.
*Why does an interrupted build say that nothing was written?* Because both files get their names in the last step, after everything else has
succeeded. Until then the bytes have no name, and go with the process.

*What if two builds write into one folder?* The last one wins, with both of its files.
`)
	return b.String()
}

func describeAll(b *strings.Builder, c *cobra.Command) {
	if len(c.Commands()) == 0 || c.Parent() == nil { // others only hold commands
		describe(b, c)
	}
	for _, c := range c.Commands() {
		if c.IsAvailableCommand() {
			describeAll(b, c)
		}
	}
}

func describe(b *strings.Builder, c *cobra.Command) {
	fmt.Fprintf(b, "## %s\n\n", c.CommandPath())
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	text, env, _ := strings.Cut(text, "\nEnvironment:\n")
	fmt.Fprintf(b, "%s\n\n", strings.TrimSpace(text))
	if c.Example != "" {
		fmt.Fprintf(b, "```\n%s\n```\n\n", strings.ReplaceAll(strings.TrimPrefix(c.Example, "  "), "\n  ", "\n"))
	}
	c.InitDefaultHelpFlag()
	c.InitDefaultVersionFlag()
	b.WriteString("| flag | |\n|---|---|\n")
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "`--" + f.Name + strings.TrimRight(" "+value, " ") + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(b, "| %s | %s |\n", name, usage)
	})
	b.WriteString("\n")
	if env != "" {
		b.WriteString("| environment | |\n|---|---|\n")
		for line := range strings.Lines(env) {
			names, meaning, _ := strings.Cut(strings.TrimSpace(line), "  ")
			fmt.Fprintf(b, "| `%s` | %s |\n", names, strings.TrimSpace(meaning))
		}
		b.WriteString("\n")
	}
}

func TestReference(t *testing.T) {
	const file = "../../docs/cli.md"
	got := reference()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is out of date: run make golden", file)
	}
}
