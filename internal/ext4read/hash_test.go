package ext4read

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/testneed"
)

// The expected hashes were printed by debugfs(8)'s dx_hash.
func TestDirHash(t *testing.T) {
	seed := [4]uint32{0x67452301, 0xefcdab89, 0x67452301, 0xefcdab89}
	tests := []struct {
		version uint8
		seed    [4]uint32
		name    string
		want    uint32
	}{
		{hashHalfMD4, seed, "hello", 0xa26e4a80},
		{hashLegacy, [4]uint32{}, "hello world", 0xe0a6a922},
	}
	for _, tt := range tests {
		if got := dirHash(tt.version, tt.seed, []byte(tt.name)); got != tt.want {
			t.Errorf("dirHash(%d, %x, %q) = %#x, want %#x", tt.version, tt.seed, tt.name, got, tt.want)
		}
	}
}

func TestDirHashEqualsDebugfs(t *testing.T) {
	testneed.Tool(t, "debugfs", "mke2fs")
	image := mke2fs(t, "1M", "-t", "ext4", "-O", "^has_journal")
	uuid := "00112233-4455-6677-8899-aabbccddeeff"
	seed := [4]uint32{0x33221100, 0x77665544, 0xbbaa9988, 0xffeeddcc}
	type input struct {
		version uint8
		name    string
	}
	var inputs []input
	var requests []string
	for version := range uint8(6) {
		for n := 1; n < 255; n += 7 {
			name := strings.Repeat("f\xc3\xa9e.Z", n/6+1)[:n]
			inputs = append(inputs, input{version, name})
			requests = append(requests, fmt.Sprintf("dx_hash -h %d -s %s %s", version, uuid, name))
		}
	}
	found := regexp.MustCompile(`is 0x([0-9a-f]+) \(`).FindAllStringSubmatch(debugfs(t, image, requests...), -1)
	if len(found) != len(inputs) {
		t.Fatalf("debugfs printed %d hashes, want %d", len(found), len(inputs))
	}
	for i, in := range inputs {
		want, err := strconv.ParseUint(found[i][1], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		if got := dirHash(in.version, seed, []byte(in.name)); got != uint32(want) {
			t.Errorf("dirHash(%d, %q) = %#x, debugfs says %#x", in.version, in.name, got, want)
		}
	}
}
