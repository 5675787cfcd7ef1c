package build

import (
	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/image"
)

// Names are what a build calls the plugin, and the file it writes when no output is
// named. Only the configuration and its template, which may be nil, are asked: what an
// image is called stands in its reference. The error has the place of what is wrong.
func Names(c *config.Config, t *config.Template) (plugin, artifact string, err error) {
	b := &builder{Request: Request{Config: c, Template: t}}
	if ref := c.Source.Image; ref != "" {
		r, err := image.Parse(ref)
		if err != nil {
			return "", "", c.Errorf("source.image", "%v", err)
		}
		// That the image has a program is seen when it is read.
		b.image = &image.Image{Name: r.Name, Config: image.Config{Entrypoint: []string{"/"}}}
	}
	d, err := b.draft(nil)
	if err != nil {
		return "", "", err
	}
	return d.Manifest.Name, d.Manifest.Name + b.extension(), nil
}
