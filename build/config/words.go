package config

import (
	"strings"

	"github.com/volant/fledge-action/manifest"
)

// manifest is what the file says of the manifest, and nothing else: zero values
// are for other sources to fill. It shares maps and lists with c.
func (c *Config) manifest() *manifest.Manifest {
	return &manifest.Manifest{
		Name:        c.Plugin.Name,
		Version:     c.Plugin.Version,
		Runtime:     c.Plugin.Runtime,
		Labels:      c.Plugin.Labels,
		OpenAPI:     c.Plugin.OpenAPI,
		Resources:   c.Resources,
		Workload:    c.Workload,
		HealthCheck: c.HealthCheck,
		Network:     c.Network,
		Actions:     c.Actions,
		Disks:       c.Disks,
		CloudInit:   c.CloudInit,
		Devices:     c.Devices,
	}
}

// In fledge.toml these keys of the manifest stand in [plugin].
var inPlugin = []string{"name", "version", "runtime", "labels", "openapi"}

// configKey is the key of fledge.toml that decides a key of the manifest, both
// as manifest.JoinKey writes them.
func configKey(key string) string {
	switch key {
	case "rootfs", "initramfs":
		return "strategy"
	case "rootfs.url", "initramfs.url":
		return "plugin.url"
	}
	for _, k := range inPlugin {
		if key == k || strings.HasPrefix(key, k+".") {
			return "plugin." + key
		}
	}
	return key
}
