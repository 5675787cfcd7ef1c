package shim

import (
	"debug/elf"
	_ "embed"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// A machine is what differs between architectures.
type machine struct {
	elf     elf.Machine
	listing string            // the interpreter
	number  func(call) uint64 // of a system call
}

var machines = map[string]machine{
	"amd64": {elf.EM_X86_64, listingAMD64, func(c call) uint64 { return c.amd64 }},
	"arm64": {elf.EM_AARCH64, listingARM64, func(c call) uint64 { return c.arm64 }},
}

//go:embed asm/amd64.lst
var listingAMD64 string

//go:embed asm/arm64.lst
var listingARM64 string

// A call is a system call by its numbers.
type call struct{ amd64, arm64 uint64 }

// Linux: arch/x86/entry/syscalls/syscall_64.tbl and scripts/syscall.tbl.
var (
	sysClose     = call{3, 57}
	sysIoctl     = call{16, 29}
	sysExecve    = call{59, 221}
	sysSync      = call{162, 81}
	sysMount     = call{165, 40}
	sysReboot    = call{169, 142}
	sysExitGroup = call{231, 94}
	sysOpenat    = call{257, 56}
	sysMkdirat   = call{258, 34}
	sysMknodat   = call{259, 33}
	sysDup3      = call{292, 24}
)

// parseListing returns the bytes of a listing. Its lines are
//
//	offset TAB bytes TAB instruction
//
// with the bytes in the order of memory, all in hexadecimal; labels end in a colon and
// comments start with #.
func parseListing(listing string) ([]byte, error) {
	var code []byte
	for i, line := range strings.Split(listing, "\n") {
		if line == "" || strings.HasPrefix(line, "#") || strings.HasSuffix(line, ":") {
			continue
		}
		offset, rest, _ := strings.Cut(line, "\t")
		digits, _, _ := strings.Cut(rest, "\t")
		if at, err := strconv.ParseUint(strings.TrimSpace(offset), 16, 32); err != nil || at != uint64(len(code)) {
			return nil, fmt.Errorf("reading the interpreter's listing: line %d: offset %q, want %x", i+1, offset, len(code))
		}
		b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
		if err != nil || len(b) == 0 {
			return nil, fmt.Errorf("reading the interpreter's listing: line %d: bytes %q", i+1, digits)
		}
		code = append(code, b...)
	}
	return code, nil
}
