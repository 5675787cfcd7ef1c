package boot

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestArgv(t *testing.T) {
	base := machine{qemu: "/q", arch: "amd64", accel: AccelTCG, cpus: 1, memoryMiB: 256, kernel: "/k", line: "a b=c"}
	with := func(change func(*machine)) machine {
		m := base
		change(&m)
		return m
	}
	const fixed = "/q|-no-user-config|-nodefaults|-display|none|-no-reboot|-monitor|none|-serial|stdio|-machine|"
	const tcg = "|-accel|tcg,tb-size=256|-cpu|max|-kernel|/k"
	const net = "|-netdev|user,id=net,restrict=on,net=192.168.127.0/24,host=192.168.127.1"
	const nic = "|-device|virtio-net-pci,netdev=net,romfile="
	tests := []struct {
		name string
		m    machine
		want string
	}{
		{
			"initramfs", with(func(m *machine) { m.initramfs = "/dev/fd/4" }),
			fixed + "q35|-smp|1|-m|256" + tcg + "|-initrd|/dev/fd/4|-append|a b=c",
		},
		{
			"disk, whose name has a comma", with(func(m *machine) { m.disk = "/a,b" }),
			fixed + "q35|-smp|1|-m|256" + tcg + "|-append|a b=c|-drive|file=/a,,b,format=raw,if=none,id=root,snapshot=on|-device|virtio-blk-pci,drive=root",
		},
		{
			"KVM", with(func(m *machine) { m.accel, m.cpus, m.memoryMiB = AccelKVM, 4, 1024 }),
			fixed + "q35|-smp|4|-m|1024|-accel|kvm|-cpu|host|-kernel|/k|-append|a b=c",
		},
		{"arm64", with(func(m *machine) { m.arch = "arm64" }), fixed + "virt|-smp|1|-m|256" + tcg + "|-append|a b=c"},
		{
			"a network that nothing leads into", with(func(m *machine) { m.network = true }),
			fixed + "q35|-smp|1|-m|256" + tcg + "|-append|a b=c" + net + nic,
		},
		{
			"two ports", with(func(m *machine) { m.network, m.forwards = true, []forward{{40000, 80}, {40001, 8000}} }),
			fixed + "q35|-smp|1|-m|256" + tcg + "|-append|a b=c" + net +
				",hostfwd=tcp:127.0.0.1:40000-192.168.127.2:80,hostfwd=tcp:127.0.0.1:40001-192.168.127.2:8000" + nic,
		},
	}
	for _, test := range tests {
		if got := strings.Join(test.m.argv(), "|"); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.name, got, test.want)
		}
	}
}

func TestSizeFollowsTheCallerThenTheManifestWithinBounds(t *testing.T) {
	tests := []struct {
		accel                                 string
		host, cpus, wantCPUs, memory, wantMiB int
		gotCPUs, gotMiB                       int
		why                                   string
	}{
		{AccelTCG, 8, 0, 1, 0, 512, 1, 512, "the manifest's"},
		{AccelTCG, 8, 0, 4, 0, 1024, 2, 1024, "TCG has few processors"},
		{AccelTCG, 1, 0, 4, 0, 4096, 1, 4096, "the host has fewer"},
		{AccelKVM, 4, 0, 16, 0, 4097, 4, 4096, "the host's processors, bounded memory"},
		{AccelKVM, 64, 0, 9, 0, 1, 8, 1, "bounded processors"},
		{AccelTCG, 1, 16, 1, 65536, 128, 16, 65536, "the caller's"},
		{AccelTCG, 1, 0, 0, 0, 0, 1, 1, "a manifest that says nothing"},
	}
	for _, test := range tests {
		cpus, memory := size(test.accel, test.host, test.cpus, test.wantCPUs, test.memory, test.wantMiB)
		if cpus != test.gotCPUs || memory != test.gotMiB {
			t.Errorf("%s: %d CPUs, %d MiB, want %d and %d", test.why, cpus, memory, test.gotCPUs, test.gotMiB)
		}
	}
}

func TestFindQEMUSaysWhatToInstall(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "qemu-system-aarch64")
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		arch, file, path string
		want             string
		errors           []string
	}{
		{"arm64", "", dir, program, nil},
		{"amd64", program, "", program, nil},
		{"amd64", "qemu-system-aarch64", dir, program, nil},
		{"amd64", "", dir, "", []string{"qemu-system-x86_64 is not on PATH", "apt-get install qemu-system-x86;", "dnf install", "brew install qemu", "--qemu"}},
		{"arm64", "", "", "", []string{"qemu-system-aarch64 is not on PATH", "apt-get install qemu-system-arm;"}},
		{"amd64", dir + "/none", "", "", []string{"/none: no such file"}},
		{"amd64", dir, "", "", []string{"not a regular file"}},
		{"EM_RISCV", "", dir, "", []string{`"EM_RISCV"`, "amd64 and arm64"}},
	}
	for _, test := range tests {
		got, err := FindQEMU(test.arch, test.file, test.path)
		if err == nil && (got != test.want || test.errors != nil) {
			t.Errorf("%+v: %q", test, got)
		}
		for _, want := range test.errors {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: error %v, want %q in it", test, err, want)
			}
		}
	}
}

func TestNoKVMWithoutTheProcessorAndTheDevice(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain, intel, amd := write("plain", "flags : fpu novmx svm_lock\n"), write("intel", "flags : fpu vmx\n"), write("amd", "flags : svm\n")
	device, none := write("kvm", ""), filepath.Join(dir, "none")
	for _, test := range []struct {
		cpuinfo, device, want string
	}{
		{plain, device, "the processor has neither vmx nor svm"},
		{intel, none, "no such file"},
		{none, device, "tells whether the processor runs guests"},
		{intel, device, ""},
		{amd, device, ""},
	} {
		got := noKVM(test.cpuinfo, test.device)
		if !strings.Contains(got, test.want) || (got == "") != (test.want == "") {
			t.Errorf("noKVM(%s, %s) = %q, want %q", test.cpuinfo, test.device, got, test.want)
		}
	}
}

func TestVMNameIsALabel(t *testing.T) {
	for in, want := range map[string]string{"web": "web", strings.Repeat("a", 70): strings.Repeat("a", 63), strings.Repeat("a", 62) + "--b": strings.Repeat("a", 62)} {
		if got := vmName(in); got != want {
			t.Errorf("vmName(%q) = %q", in, got)
		}
	}
}

func TestOnlyKnownBoards(t *testing.T) {
	var known []string
	for arch := range boards {
		known = append(known, arch)
	}
	slices.Sort(known)
	if !slices.Equal(known, []string{"amd64", "arm64"}) {
		t.Errorf("%q: the messages name amd64 and arm64", known)
	}
}
