package summary

// Markdown is the page: at most MaxSize bytes, ending in a newline.
func (p Page) Markdown() string { return "" }
