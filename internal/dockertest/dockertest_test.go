package dockertest

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

func TestABusyboxContainerRuns(t *testing.T) {
	d := Start(t)
	if got := d.Run(t, "run", "--rm", d.Busybox(t), "sh", "-c", "echo $((6*7)); id -u"); got != "42\n0" {
		t.Errorf("it printed %q", got)
	}
}

func TestTheImageHasNothingButTheProgram(t *testing.T) {
	d := Start(t)
	image := d.Fledge(t)
	t.Log(d.Run(t, "inspect", "-f", "{{json .Config}} {{.Size}}", image))
	t.Log(d.Run(t, "run", "--rm", "--entrypoint", "/usr/local/bin/fledge", image, "--version"))
}
