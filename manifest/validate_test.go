package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValidateAcceptsGoodManifests(t *testing.T) {
	ram := nginx()
	ram.Rootfs, ram.Initramfs = nil, &Initramfs{URL: "/srv/p.cpio.gz", Checksum: digest}
	worker := nginx()
	worker.HealthCheck = nil
	qcow := nginx()
	qcow.Rootfs.Format, qcow.Rootfs.URL = "qcow2", "http://10.0.0.1:8000/x.img"
	bare := nginx()
	bare.Rootfs.Format = ""
	for i, m := range []*Manifest{nginx(), full(), ram, worker, qcow, bare} {
		if p := m.Validate(); len(p) > 0 {
			t.Errorf("manifest %d: %v", i, p)
		}
	}
}

func TestValidateNamesTheKey(t *testing.T) {
	const warning = "warning: "
	toRAM := func(m *Manifest) { m.Rootfs, m.Initramfs = nil, &Initramfs{URL: "/x", Checksum: digest} }
	tests := []struct {
		name  string
		spoil func(m *Manifest)
		want  []string // keys
	}{
		{"no schema_version", func(m *Manifest) { m.SchemaVersion = "" }, []string{"schema_version"}},
		{"other schema_version", func(m *Manifest) { m.SchemaVersion = "v1" }, []string{warning + "schema_version"}},
		{"no name", func(m *Manifest) { m.Name = "" }, []string{"name"}},
		{"space in name", func(m *Manifest) { m.Name = "my plugin" }, []string{"name"}},
		{"slash in name", func(m *Manifest) { m.Name = "my/plugin" }, []string{"name"}},
		{"dots as name", func(m *Manifest) { m.Name = ".." }, []string{"name"}},
		{"quote in name", func(m *Manifest) { m.Name = `a"b` }, []string{"name"}},
		{"newline after name", func(m *Manifest) { m.Name = "a\n" }, []string{"name"}},
		{"other letters in name", func(m *Manifest) { m.Name = "é" }, []string{"name"}},
		{"no version", func(m *Manifest) { m.Version = "" }, []string{"version"}},
		{"space in version", func(m *Manifest) { m.Version = "1.0 " }, []string{"version"}},
		{"no runtime", func(m *Manifest) { m.Runtime = "" }, []string{"runtime"}},
		{"space in runtime", func(m *Manifest) { m.Runtime = "a b" }, []string{"runtime"}},
		{"not enabled", func(m *Manifest) { m.Enabled = false }, []string{"enabled"}},
		{"odd image digest", func(m *Manifest) { m.ImageDigest = "abc" }, []string{warning + "image_digest"}},

		{"no artifact", func(m *Manifest) { m.Rootfs = nil }, []string{"rootfs"}},
		{"two artifacts", func(m *Manifest) { m.Initramfs = &Initramfs{URL: "/x", Checksum: digest} }, []string{"initramfs"}},
		{"no url", func(m *Manifest) { m.Rootfs.URL = "" }, []string{"rootfs.url"}},
		{"file url", func(m *Manifest) { m.Rootfs.URL = "file:///srv/x.img" }, []string{"rootfs.url"}},
		{"relative url", func(m *Manifest) { m.Rootfs.URL = "x.img" }, []string{"rootfs.url"}},
		{"oci url", func(m *Manifest) { m.Rootfs.URL = "oci://r/x" }, []string{"rootfs.url"}},
		{"url without host", func(m *Manifest) { m.Rootfs.URL = "https:///x" }, []string{"rootfs.url"}},
		{"no url at all", func(m *Manifest) { m.Rootfs.URL = "http://a b/" }, []string{"rootfs.url"}},
		{"space before url", func(m *Manifest) { m.Rootfs.URL = " /x" }, []string{"rootfs.url"}},
		{"credentials in url", func(m *Manifest) { m.Rootfs.URL = "https://u:p@h/x" }, []string{warning + "rootfs.url"}},
		{"initramfs file url", func(m *Manifest) { toRAM(m); m.Initramfs.URL = "file:///x" }, []string{"initramfs.url"}},
		{"no checksum", func(m *Manifest) { m.Rootfs.Checksum = "" }, []string{warning + "rootfs.checksum"}},
		{"bare checksum", func(m *Manifest) { m.Rootfs.Checksum = digest[7:] }, []string{"rootfs.checksum"}},
		{"upper-case prefix", func(m *Manifest) { m.Rootfs.Checksum = "SHA256:" + digest[7:] }, []string{"rootfs.checksum"}},
		{"upper-case hex", func(m *Manifest) { m.Rootfs.Checksum = "sha256:" + strings.ToUpper(digest[7:]) }, []string{"rootfs.checksum"}},
		{"63 digits", func(m *Manifest) { m.Rootfs.Checksum = digest[:len(digest)-1] }, []string{"rootfs.checksum"}},
		{"65 digits", func(m *Manifest) { m.Rootfs.Checksum = digest + "0" }, []string{"rootfs.checksum"}},
		{"sha512", func(m *Manifest) { m.Rootfs.Checksum = "sha512:" + strings.Repeat("a", 128) }, []string{"rootfs.checksum"}},
		{"initramfs checksum", func(m *Manifest) { toRAM(m); m.Initramfs.Checksum = "x" }, []string{"initramfs.checksum"}},
		{"file system as format", func(m *Manifest) { m.Rootfs.Format = "ext4" }, []string{"rootfs.format"}},

		{"no cpu", func(m *Manifest) { m.Resources.CPUCores = 0 }, []string{"resources.cpu_cores"}},
		{"negative memory", func(m *Manifest) { m.Resources.MemoryMB = -1 }, []string{"resources.memory_mb"}},

		{"other workload type", func(m *Manifest) { m.Workload.Type = "worker" }, []string{"workload.type"}},
		{"no entrypoint", func(m *Manifest) { m.Workload.Entrypoint = nil }, []string{"workload.entrypoint"}},
		{"relative program", func(m *Manifest) { m.Workload.Entrypoint = []string{"nginx"} }, []string{"workload.entrypoint[0]"}},
		{"empty argument", func(m *Manifest) { m.Workload.Entrypoint = []string{"/n", "", " "} }, []string{"workload.entrypoint[1]", "workload.entrypoint[2]"}},
		{"empty program", func(m *Manifest) { m.Workload.Entrypoint = []string{""} }, []string{"workload.entrypoint[0]"}},
		{"argument that is trimmed", func(m *Manifest) { m.Workload.Entrypoint = []string{"/n", "a "} }, []string{warning + "workload.entrypoint[1]"}},
		{"NUL in argument", func(m *Manifest) { m.Workload.Entrypoint = []string{"/n", "a\x00b"} }, []string{"workload.entrypoint[1]"}},
		{"no base_url", func(m *Manifest) { m.Workload.BaseURL = "" }, []string{"workload.base_url"}},
		{"base_url without scheme", func(m *Manifest) { m.Workload.BaseURL = "127.0.0.1:80" }, []string{"workload.base_url"}},
		{"base_url on the agent's port", func(m *Manifest) { m.Workload.BaseURL = "http://10.0.0.2:8080/api" }, []string{warning + "workload.base_url"}},
		{"base_url without host", func(m *Manifest) { m.Workload.BaseURL = "http://:80" }, []string{"workload.base_url"}},
		{"equals sign in env name", func(m *Manifest) { m.Workload.Env["A=B"] = "" }, []string{`workload.env."A=B"`}},
		{"empty env name", func(m *Manifest) { m.Workload.Env[""] = "" }, []string{`workload.env.""`}},
		{"space in env name", func(m *Manifest) { m.Workload.Env["A "] = "" }, []string{`workload.env."A "`}},
		{"env value that is trimmed", func(m *Manifest) { m.Workload.Env["X"] = "a\n" }, []string{warning + "workload.env.X"}},
		{"env that is not UTF-8", func(m *Manifest) { m.Workload.Env["X"] = "\xff" }, []string{"workload.env.X"}},
		{"secret in env", func(m *Manifest) { m.Workload.Env["DB_PASSWORD"] = "x" }, []string{warning + "workload.env.DB_PASSWORD"}},
		{"file of a secret in env", func(m *Manifest) { m.Workload.Env["DB_PASSWORD_FILE"] = "/run/p" }, nil},
		{"relative workdir", func(m *Manifest) { m.Workload.Workdir = "app" }, []string{"workload.workdir"}},

		{"health check without endpoint", func(m *Manifest) { m.HealthCheck.Endpoint = "" }, []string{"health_check.endpoint"}},
		{"relative endpoint", func(m *Manifest) { m.HealthCheck.Endpoint = "healthz" }, []string{"health_check.endpoint"}},
		{"endpoint with query", func(m *Manifest) { m.HealthCheck.Endpoint = "/h?x=1" }, []string{"health_check.endpoint"}},
		{"health check without timeout", func(m *Manifest) { m.HealthCheck.TimeoutMS = 0 }, []string{"health_check.timeout_ms"}},
		{"empty health check", func(m *Manifest) { m.HealthCheck = &HealthCheck{} }, []string{"health_check.endpoint", "health_check.timeout_ms"}},

		{"empty network", func(m *Manifest) { m.Network = &Network{} }, []string{"network.mode"}},
		{"other network mode", func(m *Manifest) { m.Network = &Network{Mode: "host"} }, []string{"network.mode"}},
		{"vsock", func(m *Manifest) { m.Network = &Network{Mode: "vsock"} }, []string{warning + "network.mode"}},
		{"dhcp", func(m *Manifest) { m.Network = &Network{Mode: "dhcp"} }, []string{warning + "network.mode"}},
		{"bridged", func(m *Manifest) { m.Network = &Network{Mode: "bridged"} }, nil},
		{"subnet without gateway", func(m *Manifest) { m.Network = &Network{Mode: "bridged", Subnet: "10.0.0.0/8"} }, []string{"network.gateway"}},
		{"subnet with auto_assign", func(m *Manifest) { m.Network = &Network{Mode: "bridged", Subnet: "10.0.0.0/8", AutoAssign: true} }, nil},
		{"no subnet", func(m *Manifest) { m.Network = &Network{Mode: "bridged", Subnet: "x", Gateway: "10.0.0.1"} }, []string{"network.subnet"}},
		{"no gateway address", func(m *Manifest) { m.Network = &Network{Mode: "bridged", Subnet: "10.0.0.0/8", Gateway: "x"} }, []string{"network.gateway"}},
		{"gateway outside", func(m *Manifest) { m.Network = &Network{Mode: "bridged", Subnet: "10.0.0.0/8", Gateway: "192.168.0.1"} }, []string{"network.gateway"}},

		{
			"bad action", func(m *Manifest) { m.Actions = map[string]Action{"a b": {Method: "get", Path: "x", TimeoutMS: -1}} },
			[]string{`actions."a b"`, `actions."a b".method`, `actions."a b".path`, `actions."a b".timeout_ms`},
		},
		{"label of Volant's", func(m *Manifest) { m.Labels = map[string]string{"volant.plugin": "other", "volant.runtime": "nginx"} }, []string{warning + `labels."volant.plugin"`}},
		{"empty label", func(m *Manifest) { m.Labels = map[string]string{"": "x"} }, []string{`labels.""`}},
		{"odd openapi", func(m *Manifest) { m.OpenAPI = "openapi.json" }, []string{warning + "openapi"}},

		{"empty disk", func(m *Manifest) { m.Disks = []Disk{{}} }, []string{"disks[0].name", "disks[0].source"}},
		{"relative disk", func(m *Manifest) { m.Disks = []Disk{{Name: "a", Source: "x"}} }, []string{"disks[0].source"}},
		{"disk to download", func(m *Manifest) { m.Disks = []Disk{{Name: "a", Source: "https://h/x"}} }, []string{"disks[0].source"}},
		{"disks of one name", func(m *Manifest) { m.Disks = []Disk{{Name: "a", Source: "/x"}, {Name: "a", Source: "/y"}} }, []string{"disks[1].name"}},
		{"disk format", func(m *Manifest) { m.Disks = []Disk{{Name: "a", Source: "/x", Format: "vmdk"}} }, []string{"disks[0].format"}},
		{"disk checksum", func(m *Manifest) { m.Disks = []Disk{{Name: "a", Source: "/x", Checksum: "y"}} }, []string{warning + "disks[0].checksum"}},
		{"disk on an initramfs", func(m *Manifest) { toRAM(m); m.Disks = []Disk{{Name: "a", Source: "/x"}} }, []string{"disks"}},

		{"other datasource", func(m *Manifest) { m.CloudInit = &CloudInit{Datasource: "EC2"} }, []string{warning + "cloud_init.datasource"}},
		{"other seed mode", func(m *Manifest) { m.CloudInit = &CloudInit{SeedMode: "iso"} }, []string{"cloud_init.seed_mode"}},
		{"content not inline", func(m *Manifest) { m.CloudInit = &CloudInit{UserData: &Document{Content: "x"}} }, []string{"cloud_init.user_data.inline"}},
		{"inline without content", func(m *Manifest) { m.CloudInit = &CloudInit{MetaData: &Document{Inline: true}} }, []string{"cloud_init.meta_data.content"}},
		{"content and path", func(m *Manifest) {
			m.CloudInit = &CloudInit{NetworkConfig: &Document{Inline: true, Content: "x", Path: "y"}}
		}, []string{"cloud_init.network_config.path"}},
		{"cloud_init on an initramfs", func(m *Manifest) { toRAM(m); m.CloudInit = &CloudInit{} }, []string{"cloud_init"}},

		{"odd PCI address", func(m *Manifest) { m.Devices = &Devices{PCIPassthrough: []string{"01:00.0", "gpu"}} }, []string{warning + "devices.pci_passthrough[1]"}},
		{"empty device", func(m *Manifest) { m.Devices = &Devices{Allowlist: []string{""}} }, []string{"devices.allowlist[0]"}},
		{"all at once", func(m *Manifest) { *m = Manifest{} }, []string{
			"schema_version", "name", "version", "runtime", "enabled", "rootfs", "resources.cpu_cores", "resources.memory_mb",
			"workload.type", "workload.entrypoint", "workload.base_url",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := nginx()
			tt.spoil(m)
			var got []string
			for _, p := range m.Validate() {
				key := p.Key
				if p.Warning {
					key = warning + key
				}
				got = append(got, key)
				if p.Message == "" || p.Fix == "" {
					t.Errorf("%+v does not say what is wrong and what to do", p)
				}
			}
			if !cmp.Equal(got, tt.want) {
				t.Errorf("keys = %q, want %q", got, tt.want)
			}
		})
	}
}

// noise is text that does not compress, n bytes of it, the same on every run
// and other for every name.
func noise(name string, n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", name, i))
		b.WriteString(hex.EncodeToString(sum[:]))
	}
	return b.String()[:n]
}

func TestCommandLineIsNeverShorterThanVolantsOwn(t *testing.T) {
	// A typical manifest was seen to take 370 to 520 bytes encoded, and 680 to 860
	// bytes of the line with short host names. The estimate may be above, not below.
	line := nginx().CommandLine()
	if line.Manifest < 520 || line.Manifest > 700 || line.Used < 860 || line.Used > 1100 {
		t.Errorf("estimate = %+v", line)
	}
	if line.Limit != 2047 {
		t.Errorf("limit = %d", line.Limit)
	}
}

func TestCommandLineCountsEveryPart(t *testing.T) {
	m := nginx()
	before := m.CommandLine()
	m.Labels = map[string]string{"big": noise("big", 400)}
	m.Workload.Env["SMALL"] = noise("small", 100)
	after := m.CommandLine()
	// Hexadecimal noise holds 4 bits a byte and base64 makes 6 of 8: 400 bytes
	// need 267 at least.
	if grown := after.Used - before.Used; grown < 330 || grown > 500 {
		t.Errorf("500 bytes of noise took %d", grown)
	}
	if got := []string{after.Largest[0].Key, after.Largest[1].Key}; !slices.Equal(got, []string{"labels.big", "workload.env.SMALL"}) {
		t.Errorf("largest parts = %v", after.Largest)
	}
	if b := after.Largest[0].Bytes; b < 260 || b > 340 {
		t.Errorf("labels.big takes %d bytes", b)
	}

	ram := nginx()
	ram.Rootfs = nil
	ram.Initramfs = &Initramfs{URL: nginx().Rootfs.URL, Checksum: digest}
	if got := before.Used - ram.CommandLine().Used; got < len(" volant.rootfs_device=vda volant.rootfs_fstype=ext4") {
		t.Errorf("an initramfs saves %d bytes, want %d at least", got, len(" volant.rootfs_device=vda volant.rootfs_fstype=ext4"))
	}
	long := nginx()
	long.Name += "-and-more"
	if got := long.CommandLine().Used - before.Used; got < len("-and-more") {
		t.Errorf("a name longer by %d bytes takes %d more", len("-and-more"), got)
	}
}

func TestValidateRefusesTheFirstByteOverTheLimit(t *testing.T) {
	m := nginx()
	fill := func(n int) (used int, refused bool) {
		m.Labels = map[string]string{"filler": noise("filler", n)}
		return m.plainSize() + encodedSize(m), slices.ContainsFunc(m.Validate(), func(p Problem) bool {
			return strings.Contains(p.Message, "kernel command line")
		})
	}
	n := sort.Search(4000, func(n int) bool { used, _ := fill(n); return used > CommandLineLimit })
	below, refusedBelow := fill(n - 1)
	over, refusedOver := fill(n)
	// base64 grows in steps of 4 bytes.
	if below <= CommandLineLimit-4 || over > CommandLineLimit+4 || refusedBelow || !refusedOver {
		t.Errorf("%d bytes: refused = %v; %d bytes: refused = %v", below, refusedBelow, over, refusedOver)
	}
}

func TestValidateBlamesTheLargestPart(t *testing.T) {
	m := nginx()
	m.Labels = map[string]string{}
	for i := range 30 {
		m.Labels[fmt.Sprintf("l%02d", i)] = noise(fmt.Sprint(i), 40)
	}
	m.Workload.Env["HUGE"] = noise("huge", 1000)
	problems := m.Validate()
	if len(problems) != 1 {
		t.Fatalf("problems = %v", problems)
	}
	p := problems[0]
	if p.Key != "workload.env.HUGE" || p.Warning || !strings.Contains(p.Message, "most of them: workload.env.HUGE ") {
		t.Errorf("problem = %v", p)
	}
}

func TestLargeManifestsAreMeasuredInReasonableTime(t *testing.T) {
	m := nginx()
	m.Labels = map[string]string{}
	for i := range 20000 {
		m.Labels[fmt.Sprintf("label-%d", i)] = "value"
	}
	if line := m.CommandLine(); line.Used < CommandLineLimit || len(line.Largest) > partsMeasured {
		t.Errorf("line = %+v", line)
	}
}
