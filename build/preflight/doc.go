// Package preflight finds out, without running anything, whether a finished tree
// boots under Volant and whether its workload starts.
//
// [Check] does what the kernel and the dynamic loader will do, on metadata and a
// few small reads: it follows the entrypoint through symbolic links, "#!" lines,
// the program interpreter and every needed library. It also knows what Volant does
// to a guest: where its agent is copied to, what is mounted over the tree, that no
// resolver is configured. docs/preflight.md lists every message with what to do.
//
// # What is followed
//
//   - execve(2): the kernel's fs/binfmt_elf.c and fs/binfmt_script.c as their
//     behaviour is documented in execve(2), with 256 bytes of a "#!" line.
//   - ld.so(8) of glibc: DT_RPATH, LD_LIBRARY_PATH, DT_RUNPATH, /etc/ld.so.cache,
//     the default folders, with $ORIGIN, $LIB and $PLATFORM.
//   - musl's loader: LD_LIBRARY_PATH, DT_RPATH and DT_RUNPATH,
//     /etc/ld-musl-ARCH.path or its default.
//
// A false alarm is worse than a miss. Folders that only some builds of a loader search
// count as searched, and what an unknown loader does is a warning. What a program
// opens by dlopen(3) is not seen.
//
// # Limits
//
// Package elfread says how much of an ELF file counts. Beside that at most
// [MaxLibraries] libraries of one program, [MaxPrograms] programs of an initramfs,
// and a fixed amount of work are looked at; when that is used up a warning
// says so, and a check that found nothing until then finds nothing.
//
// # Determinism and failure
//
// Findings and their order are functions of the guest. Only a content that cannot be
// read and a cancelled context are errors; whatever the files hold is a finding.
package preflight
