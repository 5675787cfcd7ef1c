package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/manifest"
)

// full is a manifest in which every value that a source may give says which source
// it is, by n.
func full(n int) *manifest.Manifest {
	s := fmt.Sprintf("s%d", n)
	doc := func(what string) *manifest.Document {
		return &manifest.Document{Inline: true, Content: what + s}
	}
	return &manifest.Manifest{
		Name: s, Version: s, Runtime: s, OpenAPI: "/" + s, Labels: map[string]string{"k": s},
		Resources: manifest.Resources{CPUCores: n, MemoryMB: n},
		Workload: manifest.Workload{
			Type: manifest.WorkloadHTTP, Entrypoint: []string{"/" + s}, BaseURL: "http://127.0.0.1:" + s[1:], Env: map[string]string{"k": s}, Workdir: "/" + s,
		},
		HealthCheck: &manifest.HealthCheck{Endpoint: "/" + s, TimeoutMS: n},
		Network:     &manifest.Network{Mode: "bridged", Subnet: fmt.Sprintf("10.0.%d.0/24", n), Gateway: fmt.Sprintf("10.0.%d.1", n), AutoAssign: true},
		Actions:     map[string]manifest.Action{"k": {Description: s, Method: "GET", Path: "/" + s, TimeoutMS: n}},
		Disks:       []manifest.Disk{{Name: s, Source: "/" + s, Checksum: checksum, Format: "raw", Readonly: true, Target: s}},
		CloudInit:   &manifest.CloudInit{Datasource: "NoCloud", SeedMode: "vfat", UserData: doc("u"), MetaData: doc("m"), NetworkConfig: doc("n")},
		Devices:     &manifest.Devices{PCIPassthrough: []string{fmt.Sprintf("0000:01:00.%d", n)}, Allowlist: []string{s}},
	}
}

// asConfig writes in fledge.toml what m says.
func asConfig(t *testing.T, m *manifest.Manifest) *Config {
	t.Helper()
	c := oci(t, "")
	c.Plugin = Plugin{Name: m.Name, Version: m.Version, Runtime: m.Runtime, OpenAPI: m.OpenAPI, Labels: m.Labels}
	c.Resources, c.Workload, c.HealthCheck, c.Network = m.Resources, m.Workload, m.HealthCheck, m.Network
	c.Actions, c.Disks, c.CloudInit, c.Devices = m.Actions, m.Disks, m.CloudInit, m.Devices
	return c
}

// keep clears everything in m but the top-level field i and, in a struct there, its
// field j.
func keep(m *manifest.Manifest, i, j int) *manifest.Manifest {
	out := &manifest.Manifest{}
	from, to := reflect.ValueOf(m).Elem().Field(i), reflect.ValueOf(out).Elem().Field(i)
	if to.Kind() == reflect.Struct {
		from, to = from.Field(j), to.Field(j)
	}
	to.Set(from)
	return out
}

// TestEveryKeyObeysThePrecedence gives each key alone to a higher source while the
// one below says everything, for each pair of neighbours: a flag over fledge.toml,
// fledge.toml over a template, a template over the image and the defaults.
func TestEveryKeyObeysThePrecedence(t *testing.T) {
	image := nginx()
	image.WorkingDir = "/image"
	pairs := map[string]func(above, below *manifest.Manifest) Inputs{
		"flags over fledge.toml": func(above, below *manifest.Manifest) Inputs {
			return Inputs{Flags: above, Config: asConfig(t, below), Image: image}
		},
		"fledge.toml over template": func(above, below *manifest.Manifest) Inputs {
			return Inputs{Config: asConfig(t, above), Template: &Template{Manifest: below}, Image: image}
		},
		"template over the image": func(above, _ *manifest.Manifest) Inputs {
			return Inputs{Config: oci(t, ""), Template: &Template{Manifest: above}, Image: image}
		},
	}
	for name, inputs := range pairs {
		seen := 0
		typ := reflect.TypeFor[manifest.Manifest]()
		for i := range typ.NumField() {
			subs := 1
			if typ.Field(i).Type.Kind() == reflect.Struct {
				subs = typ.Field(i).Type.NumField()
			}
			for j := range subs {
				above := keep(full(5), i, j)
				if reflect.DeepEqual(above, &manifest.Manifest{}) {
					continue // the build's own
				}
				seen++
				base, err := Merge(inputs(&manifest.Manifest{}, full(3)))
				if err != nil {
					t.Fatal(err)
				}
				got, err := Merge(inputs(above, full(3)))
				if err != nil {
					t.Fatal(err)
				}
				want := *base.Manifest
				from, to := reflect.ValueOf(above).Elem().Field(i), reflect.ValueOf(&want).Elem().Field(i)
				if to.Kind() == reflect.Struct {
					from, to = from.Field(j), to.Field(j)
				}
				if to.Kind() == reflect.Map { // merged key by key; the image has keys of its own
					merged := reflect.MakeMap(to.Type())
					for _, m := range []reflect.Value{to, from} {
						for it := m.MapRange(); it.Next(); {
							merged.SetMapIndex(it.Key(), it.Value())
						}
					}
					from = merged
				}
				to.Set(from)
				if above.Name != "" && base.runtimeIsName {
					want.Runtime = want.Name
				}
				if diff := cmp.Diff(&want, got.Manifest); diff != "" {
					t.Errorf("%s: %s: (-want +got):\n%s", name, strings.ToLower(typ.Field(i).Name), diff)
				}
			}
		}
		if seen < 18 {
			t.Errorf("%s: only %d keys", name, seen)
		}
	}
}
