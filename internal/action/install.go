package action

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/volant/fledge-action/internal/outfile"
)

// installFolder is where the program is put for later steps.
const installFolder = ".fledge"

// install puts the program into the workspace.
func (p *Program) install() error {
	if p.Executable == "" {
		return errors.New("installing fledge: the system does not tell where this program is")
	}
	o := p.owner.Load()
	if err := o.folder(installFolder); err != nil {
		return fmt.Errorf("installing fledge: %w", err)
	}
	in, err := os.Open(p.Executable)
	if err != nil {
		return fmt.Errorf("installing fledge: %w", err)
	}
	defer in.Close()
	name := installFolder + "/fledge"
	// Another program may be running the old one: it gets a new file.
	out, err := outfile.Create(p.workspace + "/" + name)
	if err != nil {
		return fmt.Errorf("installing fledge: %w", err)
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Abort()
		return fmt.Errorf("installing fledge: %w", err)
	}
	if err := out.Commit(); err != nil {
		return fmt.Errorf("installing fledge: %w", err)
	}
	if err := o.root.Chmod(name, 0o755); err != nil {
		return fmt.Errorf("installing fledge: %w", err)
	}
	p.outputs["fledge"] = name
	fmt.Fprintf(p.workflow.Log(), "fledge %s is %s\n", p.Version, name)
	return nil
}
