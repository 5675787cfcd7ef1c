// Package shim makes the first process of an initramfs plugin: a static program
// for linux/amd64 or linux/arm64 that mounts what programs expect, opens the
// console, and becomes the next program.
//
// [Binary] returns the whole ELF file. docs/init-shim.md has what the shim does as
// users see it, docs/decisions/0005-init-shim.md why it is made this way.
//
// # How it is made
//
// No compiler takes part. What the shim does is a list of steps in program.go, each
// one system call: its number, its arguments, which errno counts as success, what to
// print on failure, and which step follows. An interpreter of about 75
// instructions walks the list. Its source is asm/amd64.s and asm/arm64.s; the
// assembled bytes are kept as text beside the instruction they are, in
// asm/amd64.lst and asm/arm64.lst, and a test assembles the source again and compares.
// image.go puts interpreter, list and strings into an ELF file.
//
//	offset 0      ELF header, three program headers
//	offset 0x200  the interpreter, at address 0x400200; readable, executable
//	offset 0x400  the list and its strings, at address 0x410400; readable
//	the end       section headers, for objdump and readelf; not loaded
//
// Nothing is writable but the stack, and the stack is not executable. Both segments have
// an alignment of 64 KiB, which is the largest page of an arm64 kernel.
//
// References: the System V ABI's chapter on object files
// (https://gabi.xinuos.com), and of the manual's section 2 the pages syscall,
// execve, mount and reboot.
//
// # Determinism
//
// The file is a function of the architecture and of the next program's path.
// testdata/golden.sha256 has the digests for /bin/kestrel.
//
// # Limits
//
// The path has at most [MaxPath] bytes; the longest one makes a file of less than
// 32 KiB, /bin/kestrel one of about 6 KiB.
//
// # Failure
//
// Binary returns the whole file or an error that names what is wrong with the path
// or the architecture.
package shim
