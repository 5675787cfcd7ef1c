package vmtest

import (
	"context"
	"encoding/base64"
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/volant/fledge-action/internal/facts"
)

const listerPackage = "github.com/volant/fledge-action/internal/vmtest/lister"

// The lines around what the lister writes.
const (
	ListBegin = "lister: begin"
	ListEnd   = "lister: end"
)

// BuildLister builds the lister, a static program, at path.
func BuildLister(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w -buildid=", "-o", path, listerPackage)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the lister: %w: %s", err, out)
	}
	return nil
}

// List boots an initramfs whose /init is the lister, which ends the machine, and
// returns what the guest's kernel made of the archive.
func List(ctx context.Context, kernel, initramfs string) (facts.Set, error) {
	cmd := exec.CommandContext(ctx, Program, "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot",
		"-machine", "q35", "-accel", "tcg,tb-size=256", "-cpu", "max", "-m", "512", "-serial", "stdio", "-monitor", "none",
		"-kernel", kernel, "-initrd", initramfs, "-append", "console=ttyS0 reboot=k panic=1 quiet")
	console, err := cmd.Output()
	var set facts.Set
	if err == nil {
		set, err = parseList(string(console))
	}
	if err != nil {
		return nil, fmt.Errorf("listing %q: %w; the console ends with:\n%s", initramfs, err, console[max(0, len(console)-2000):])
	}
	return set, nil
}

func parseList(console string) (facts.Set, error) {
	_, rest, ok := strings.Cut(console, ListBegin)
	text, _, ok2 := strings.Cut(rest, ListEnd)
	if !ok || !ok2 {
		return nil, errors.New("the machine went off without a list")
	}
	text = strings.Join(strings.Fields(text), "")
	var set facts.Set
	err := gob.NewDecoder(base64.NewDecoder(base64.StdEncoding, strings.NewReader(text))).Decode(&set)
	return set, err
}
