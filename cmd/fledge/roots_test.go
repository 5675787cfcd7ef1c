package main

import (
	"crypto/x509"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// TestTheProgramTrustsPublicRootsOnAMachineWithoutAny asks a child process: what a
// process takes for the machine's roots is settled once.
func TestTheProgramTrustsPublicRootsOnAMachineWithoutAny(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIP: other systems' roots cannot be taken away")
	}
	const child = "FLEDGE_TEST_PRINT_ROOTS"
	if os.Getenv(child) != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			t.Fatal(err)
		}
		//lint:ignore SA1019 Linux does list the system's roots
		for _, subject := range pool.Subjects() {
			os.Stdout.WriteString(strings.ToValidUTF8(string(subject), "?") + "\n")
		}
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run", "^"+t.Name()+"$")
	cmd.Env = []string{child + "=1", "SSL_CERT_FILE=/nonexistent", "SSL_CERT_DIR=/nonexistent"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// GitHub's, its stores' and Docker Hub's certificates are issued under these.
	for _, name := range []string{"ISRG Root X1", "USERTrust ECC", "DigiCert Global Root G2", "Amazon Root CA 1", "GTS Root R1"} {
		if !strings.Contains(string(out), name) {
			t.Errorf("%s is not among the roots", name)
		}
	}
}
