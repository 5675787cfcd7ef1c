package manifest

// SchemaVersion is the value of schema_version that Volant's documentation
// shows. Volant stores it without interpreting it.
const SchemaVersion = "1.0"

// WorkloadHTTP is the only type of workload that Volant runs.
const WorkloadHTTP = "http"

// A Manifest is one manifest.json. Zero values stand for absent keys; the order
// of the fields is the order in which [Manifest.Encode] writes them.
//
// The struct tags of the types below describe fledge.toml's tables of the same
// names too: build/config reads them for messages, its schema and its
// documentation.
type Manifest struct {
	Schema        string            `json:"$schema,omitempty"` // for editors
	SchemaVersion string            `json:"schema_version"`
	Name          string            `json:"name"`
	Version       string            `json:"version"`
	Runtime       string            `json:"runtime"`
	Enabled       bool              `json:"enabled"` // Volant refuses VMs of a plugin that is not
	Image         string            `json:"image,omitempty"`
	ImageDigest   string            `json:"image_digest,omitempty"`
	Rootfs        *Rootfs           `json:"rootfs,omitempty"`
	Initramfs     *Initramfs        `json:"initramfs,omitempty"`
	Resources     Resources         `json:"resources"`
	Workload      Workload          `json:"workload"`
	HealthCheck   *HealthCheck      `json:"health_check,omitempty"`
	Network       *Network          `json:"network,omitempty"`
	Actions       map[string]Action `json:"actions,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
	OpenAPI       string            `json:"openapi,omitempty"`
	Disks         []Disk            `json:"disks,omitempty"`
	CloudInit     *CloudInit        `json:"cloud_init,omitempty"`
	Devices       *Devices          `json:"devices,omitempty"`
}

// Artifact is what the manifest says of its artifact: where it is, and its checksum; ""
// for what it does not say.
func (m *Manifest) Artifact() (url, checksum string) {
	switch {
	case m.Rootfs != nil:
		return m.Rootfs.URL, m.Rootfs.Checksum
	case m.Initramfs != nil:
		return m.Initramfs.URL, m.Initramfs.Checksum
	}
	return "", ""
}

// Rootfs names a disk image. Volant attaches it as /dev/vda and mounts it as ext4.
type Rootfs struct {
	URL      string `json:"url"`                // http(s) URL or absolute path on the Volant host
	Checksum string `json:"checksum,omitempty"` // "sha256:" and 64 lower-case hex digits, of the bytes fetched
	Format   string `json:"format,omitempty"`   // "raw" or "qcow2"
}

// Initramfs names a cpio archive that the kernel unpacks into memory.
type Initramfs struct {
	URL      string `json:"url"`                // as Rootfs.URL
	Checksum string `json:"checksum,omitempty"` // as Rootfs.Checksum
}

// Resources are what the plugin asks for. Volant requires them and does not use
// them: a VM gets what the command that creates it says.
type Resources struct {
	CPUCores int `json:"cpu_cores" fallback:"2" min:"1" max:"1024" doc:"Virtual CPUs the plugin asks for. Volant checks the number and does not apply it: pass --cpu to 'volar vms create'."`
	MemoryMB int `json:"memory_mb" fallback:"1024" min:"1" max:"16777216" doc:"Memory the plugin asks for, in MB. Not applied either: pass --memory."`
}

// Workload is the program that the VM runs, as root.
type Workload struct {
	Type       string            `json:"type" fallback:"http" enum:"http" doc:"Kind of workload. Volant runs only http; a worker is an http workload without [health_check]."`
	Entrypoint []string          `json:"entrypoint" nonempty:"true" fallback:"the image's ENTRYPOINT and CMD" doc:"Program and arguments, replacing the image's. A first element without a slash is searched on the image's PATH, a relative one starts at its WORKDIR."`
	BaseURL    string            `json:"base_url" format:"http-url" fallback:"the image's lowest EXPOSEd TCP port, else http://127.0.0.1:80" doc:"Where the workload answers inside the VM."`
	Env        map[string]string `json:"env,omitempty" fallback:"the image's ENV" doc:"Environment, added to the image's ENV key by key. It travels on the kernel command line, readable by every process of the VM: no secrets."`
	Workdir    string            `json:"workdir,omitempty" format:"absolute" fallback:"the image's WORKDIR" doc:"Working directory of the program."`
}

// HealthCheck is what the agent asks before it calls the workload started.
type HealthCheck struct {
	Endpoint  string `json:"endpoint" required:"true" format:"absolute" doc:"Path below base_url that answers 2xx when the workload is ready."`
	TimeoutMS int    `json:"timeout_ms" required:"true" min:"1" max:"86400000" doc:"Time to wait for it, in milliseconds. The agent waits 2 minutes at least; after that it stops the VM."`
}

// Network says how the VM is attached. A nil *Network means bridged with an
// address that Volant manages.
type Network struct {
	Mode       string `json:"mode,omitempty" required:"true" enum:"vsock,bridged,dhcp" doc:"How the VM is attached. Without [network] Volant bridges it and manages its address."`
	Subnet     string `json:"subnet,omitempty" doc:"Subnet of a bridged VM in CIDR form. Needs gateway or auto_assign."`
	Gateway    string `json:"gateway,omitempty" doc:"Gateway address in the subnet."`
	AutoAssign bool   `json:"auto_assign,omitempty" fallback:"false" doc:"Let Volant choose the address in the subnet."`
}

// Action is one call that Volant offers on the plugin's behalf.
type Action struct {
	Description string `json:"description,omitempty" doc:"What the action does, for people."`
	Method      string `json:"method" required:"true" format:"http-method" doc:"HTTP method of the call."`
	Path        string `json:"path" required:"true" format:"absolute" doc:"Path below base_url."`
	TimeoutMS   int    `json:"timeout_ms,omitempty" min:"0" max:"86400000" doc:"Time the call may take, in milliseconds."`
}

// Disk is a further disk of the VM.
type Disk struct {
	Name     string `json:"name" required:"true" doc:"Name of the disk, unique in the plugin."`
	Source   string `json:"source" required:"true" format:"absolute" doc:"Path of the disk image on the Volant host. It is opened there, never downloaded."`
	Checksum string `json:"checksum,omitempty" format:"sha256" doc:"sha256 of the disk image. Volant stores it and does not verify it."`
	Format   string `json:"format,omitempty" enum:"raw,qcow2" doc:"Format of the disk image."`
	Readonly bool   `json:"readonly,omitempty" fallback:"false" doc:"Attach the disk read-only."`
	Target   string `json:"target,omitempty" doc:"Device name wished for in the VM."`
}

// CloudInit is the cloud-init seed, which Volant attaches as a further disk.
type CloudInit struct {
	Datasource    string    `json:"datasource,omitempty" fallback:"NoCloud" doc:"cloud-init datasource."`
	SeedMode      string    `json:"seed_mode,omitempty" fallback:"vfat" enum:"vfat" doc:"How the seed is handed over."`
	UserData      *Document `json:"user_data,omitempty" doc:"The user-data document."`
	MetaData      *Document `json:"meta_data,omitempty" doc:"The meta-data document."`
	NetworkConfig *Document `json:"network_config,omitempty" doc:"The network-config document."`
}

// Document is one cloud-init document: inline content, or the path of a file
// that volar reads when it installs the plugin.
type Document struct {
	Inline  bool   `json:"inline,omitempty" fallback:"false" doc:"True when content holds the document."`
	Content string `json:"content,omitempty" doc:"The document itself. It travels on the kernel command line."`
	Path    string `json:"path,omitempty" doc:"File that volar reads at install, written to the manifest as it stands."`
}

// Devices are host devices of the VM.
type Devices struct {
	PCIPassthrough []string `json:"pci_passthrough,omitempty" doc:"PCI addresses of host devices handed to the VM."`
	Allowlist      []string `json:"allowlist,omitempty" doc:"Devices that may be handed to the VM, as vendor:device."`
}
