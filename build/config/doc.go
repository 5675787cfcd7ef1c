// Package config reads fledge.toml, the file that says how a plugin is built, and
// merges what it says of the plugin's manifest with what other sources say.
//
// # Reading
//
// [Parse] finds every problem in one run. Each is an [*Error] with line and
// column: of the key if it is unknown, of the value if that is wrong, of the
// table's header if a key is missing. Unknown keys come with the key that was
// probably meant. Nothing is fetched, and no file but fledge.toml is read.
//
// The TOML decoder (github.com/BurntSushi/toml, TOML 1.0 with the inline tables
// and escapes of 1.1) gives values, and positions of syntax errors only. A scanner
// of this package finds the position of every key and value in the same text. The
// decoder stays the judge of what is TOML: tests and a fuzz target compare the two
// on its own test files.
//
// # One table of keys
//
// The struct tags of [Config] and of the types of package manifest are the one
// description of each key. Decoding, messages, suggestions, [Schema] for editors
// and [Reference] for docs/fledge-toml.md are made from them:
//
//	toml, json  name of the key            min, max    bounds of a number
//	doc         a sentence on its meaning  zero        0 is allowed too
//	default     value when absent          enum        the allowed values
//	fallback    where the value comes from format      the form of a string
//	            when absent, for people    required    the table must have it
//
// # Merging
//
// [Merge] makes the manifest. The precedence is: flag, fledge.toml, template
// (manifest.toml or a manifest in JSON), the image's configuration, default. It
// keeps where each value comes from, so that [Draft.Check] can say which key to
// change when Volant would refuse the result.
//
// health_check is never guessed. An image does not say which path answers, and an
// agent that gets no answer stops the VM.
//
// # Limits
//
// A file has at most [MaxSize] bytes, [MaxDepth] levels and [MaxItems] keys and
// array elements. They are checked before the decoder sees the text. A mapping's
// path has at most 4095 bytes and a name in it 255, as on Linux.
//
// # Determinism
//
// Clock, environment, working directory and map order reach no result. Paths in
// the file are kept as written; Config.Dir is what they are relative to.
//
// # Failure
//
// Load, Parse, LoadTemplate, FindTemplate, ParseTemplate and Merge return either
// a result or an error. The error is [Errors] whenever the text is at fault, and
// something else when the file could not be read.
//
// # Compatibility
//
// A fledge.toml with version = "1" keeps its meaning: keys are neither removed
// nor renamed, defaults and precedence stay, and what parses today parses with
// later releases. Keys may be added, since an unknown key is an error and so
// nobody can rely on one being ignored. Bounds may be widened, not narrowed.
// Messages, suggestions and warnings may change. A change that cannot keep this
// is version = "2".
package config

//go:generate go test -run "TestSchemaFileIsUpToDate|TestReferenceIsUpToDate" -update .
