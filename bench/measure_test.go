package main

import (
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == measureArg {
		os.Exit(measured(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func TestMeasureSeesWhatAProgramUses(t *testing.T) {
	ballast := make([]byte, 300<<20) // the measuring process is large
	for i := 0; i < len(ballast); i += 4096 {
		ballast[i] = 1
	}
	idle, out, err := measure(t.Context(), t.TempDir(), []string{"/bin/sh", "-c", "echo here"})
	if err != nil || string(out) != "here\n" {
		t.Fatalf("%q, %v", out, err)
	}
	if idle.Peak > 64 || idle.CPU > 1 {
		t.Errorf("a program that does nothing used %+v", idle)
	}
	// A child of the program's counts as well.
	busy, _, err := measure(t.Context(), t.TempDir(), []string{"/bin/sh", "-c", `(head -c 300000000 /dev/zero | tail -n 1 | wc -c); sleep 0.3`})
	if err != nil {
		t.Fatal(err)
	}
	if busy.Peak < 250 || busy.CPU <= idle.CPU || busy.Wall < (300*time.Millisecond).Seconds() {
		t.Errorf("a program that holds 300 MB and sleeps 0.3 s used %+v", busy)
	}
	if _, _, err := measure(t.Context(), t.TempDir(), []string{"/bin/false"}); err == nil {
		t.Error("a failure goes unnoticed")
	}
	ballast[0] = 2
}
