package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestABuilderIsReplacedUnderTheRulesOfTheFile is every type with every builder.
func TestABuilderIsReplacedUnderTheRulesOfTheFile(t *testing.T) {
	good := map[string][]string{
		"ext4": {"", "auto", "userspace"}, "squashfs": {"", "auto", "userspace"},
		"xfs": {"", "auto", "loop"}, "btrfs": {"", "auto", "loop"},
	}
	for kind, builders := range good {
		for _, builder := range []string{"", "auto", "userspace", "loop", "kernel"} {
			c := Config{Strategy: OCIRootfs, Filesystem: Filesystem{Type: kind}}
			err := c.SetBuilder(builder)
			if (err == nil) != slices.Contains(builders, builder) {
				t.Errorf("%s by %q: %v", kind, builder, err)
			}
			if err == nil && c.Filesystem.Builder != builder {
				t.Errorf("%s by %q has builder %q", kind, builder, c.Filesystem.Builder)
			}
		}
	}
	c := Config{Strategy: Initramfs}
	if err := c.SetBuilder("loop"); err != nil || c.Filesystem.Builder != "" {
		t.Errorf("of an initramfs: %v, %q", err, c.Filesystem.Builder)
	}
	if err := c.SetBuilder("x"); err == nil || !strings.Contains(err.Error(), "want auto, userspace, loop") {
		t.Error(err)
	}
	field, _ := reflect.TypeFor[Filesystem]().FieldByName("Builder")
	if enum := field.Tag.Get("enum"); enum != strings.Join(builders, ",") {
		t.Errorf("the field takes %q, SetBuilder %q", enum, builders)
	}
}
