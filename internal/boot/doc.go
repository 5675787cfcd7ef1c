// Package boot starts a plugin in QEMU the way Volant starts it, and waits until
// its workload answers.
//
// [Open] checks an artifact against its manifest as Volant's installer and
// launcher do; [FindKernel] and [FindQEMU] find what to start it with; [Run] starts
// it, waits, and ends it. [Start] is for callers that want to talk to the machine.
// docs/boot.md has the rules as users see them.
//
// # What is Volant's and what is not
//
// The kernel command line is Volant's, word for word (manifest.KernelCommandLine),
// and so are the guest's addresses, the disk as /dev/vda, the initramfs, and
// with its released kernel the init and the agent in that. The hypervisor is
// not: QEMU stands in for cloud-hypervisor. A kernel that brings no initramfs of
// its own gets one made here, with the image's own agent as /init; a machine for
// arm64 has its console on ttyAMA0.
//
// # Isolation
//
// The guest reaches no network: its user-mode network is restricted, and what leads
// in are ports on the host's loopback interface that the kernel chose. The artifact is
// opened for reading only, once, so that what was checked is what boots; writes of
// the guest go to a temporary file without a name. QEMU gets no monitor, no
// display and no configuration of the user's.
//
// # Ends
//
// When Run returns, QEMU is gone, and so are temporary files. On Linux that
// holds also when this process is killed: the kernel kills QEMU with it, and no
// temporary file has a name. Elsewhere a killed process leaves QEMU running.
//
// # Limits and hostile input
//
// Of an image only what starts it is read, by internal/ext4read with its limits; of an archive
// at most 1 Mi records and 4 GiB. Of the console the last MiB is
// kept. The guest can make a boot pass or fail by what it answers and prints,
// and nothing else.
//
// # Determinism
//
// None: this package measures time and makes nothing that is kept.
package boot
