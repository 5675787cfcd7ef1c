package shim

import "strconv"

// A step is one system call and what follows from it.
type step struct {
	call call
	args []any // int and uint64, or string for its address; missing ones are 0
	exec bool  // the second and third argument are argv, with args[0] first, and the environment

	allow int    // an errno that counts as success
	say   string // what to print on failure, before the errno's text; "" for nothing

	// How many of the following steps to pass over. After the last step comes
	// itself.
	skipOnSuccess, skipOnFailure int
}

// Constants of Linux, the same on both architectures.
const (
	atFDCWD = -100

	oRDWR   = 0x2
	oNOCTTY = 0x100

	msNOSUID = 0x2
	msNODEV  = 0x4
	msNOEXEC = 0x8

	sIFCHR = 0o20000

	eBUSY  = 16
	eEXIST = 17

	tcsBRK = 0x5409 // with an argument that is not 0: wait until the output is sent

	rebootMagic1   uint64 = 0xfee1dead
	rebootMagic2   uint64 = 0x28121969
	rebootPowerOff uint64 = 0x4321fedc
)

// What a message starts with. A plugin that cannot start is found by the first one.
const (
	panicPrefix   = "INIT PANIC: "
	warningPrefix = "INIT WARNING: "
)

// program returns what the shim does. Only the last program is indispensable: what
// cannot be mounted is reported and left to whoever misses it.
func program(next string) []step {
	steps := []step{
		// Messages need a console, so it comes first and in silence: with no
		// devtmpfs, nodes in the initramfs will do, and with none of these, ours. The
		// mount is tried again below, where its failure can be seen.
		silent(mkdir("/dev")),
		silent(mount("devtmpfs", "/dev", msNOSUID, "")),
		mknod("/dev/console", 0o600, 5, 1),
		mknod("/dev/null", 0o666, 1, 3),
		mknod("/dev/kmsg", 0o644, 1, 11),

		// Descriptor 0 is free after the first of these, so the one that opens gets it.
		{call: sysClose, args: []any{0}},
		{
			call: sysOpenat, args: []any{atFDCWD, "/dev/console", oRDWR | oNOCTTY},
			say: warningPrefix + "opening /dev/console", skipOnSuccess: 1,
		},
		{call: sysOpenat, args: []any{atFDCWD, "/dev/null", oRDWR}},
		{call: sysDup3, args: []any{0, 1, 0}},
		{call: sysDup3, args: []any{0, 2, 0}},
	}
	for _, m := range mounts {
		dir, mnt := mkdir(m.dir), mount(m.fstype, m.dir, m.flags, m.options)
		dir.skipOnFailure = 1 // with no mount point one message is enough
		steps = append(steps, dir, mnt)
	}
	return append(steps,
		step{
			call: sysExecve, args: []any{next}, exec: true,
			say: panicPrefix + "executing " + strconv.QuoteToASCII(next),
		},
		// The power would go while the console's driver still has half of the line.
		step{call: sysIoctl, args: []any{2, tcsBRK, 1}},
		step{call: sysSync},
		step{call: sysReboot, args: []any{rebootMagic1, rebootMagic2, rebootPowerOff}},
		// Where the machine cannot be powered off, the end of the first process
		// makes the kernel panic.
		step{call: sysExitGroup, args: []any{1}},
	)
}

// mounts are made in this order.
var mounts = []struct {
	dir, fstype string
	flags       int
	options     string
}{
	// No mode for devtmpfs: options change it wherever it is mounted.
	{"/dev", "devtmpfs", msNOSUID, ""},
	{"/proc", "proc", msNOSUID | msNODEV | msNOEXEC, ""},
	{"/sys", "sysfs", msNOSUID | msNODEV | msNOEXEC, ""},
	{"/dev/pts", "devpts", msNOSUID | msNOEXEC, "gid=5,mode=620,ptmxmode=666"},
	{"/dev/shm", "tmpfs", msNOSUID | msNODEV, "mode=1777"},
	{"/run", "tmpfs", msNOSUID | msNODEV, "mode=0755"},
	{"/tmp", "tmpfs", msNOSUID | msNODEV, "mode=1777"},
}

func mkdir(dir string) step {
	return step{
		call: sysMkdirat, args: []any{atFDCWD, dir, 0o755},
		allow: eEXIST, say: warningPrefix + "making " + dir,
	}
}

// mount accepts that the same filesystem is there already.
func mount(fstype, dir string, flags int, options string) step {
	return step{
		call: sysMount, args: []any{fstype, dir, fstype, flags, options},
		allow: eBUSY, say: warningPrefix + "mounting " + fstype + " on " + dir,
	}
}

// mknod makes a character device where none is.
func mknod(name string, perm, major, minor int) step {
	return step{call: sysMknodat, args: []any{atFDCWD, name, sIFCHR | perm, major<<8 | minor}}
}

func silent(s step) step {
	s.say = ""
	return s
}
