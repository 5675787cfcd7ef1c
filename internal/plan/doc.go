// Package plan finds the plugins of a repository and tells which of them a run is about.
//
// [Find] looks for fledge.toml files by name or pattern and reads them. [Changed] and
// [Tagged] select among what it found, [Matrix] writes a job matrix for GitHub Actions and
// [CacheKey] a name for what the plugins' builds download.
//
// # Patterns
//
// Those of doublestar: "*" and "?" within a folder's name, "**" for any folders, "{a,b}" and
// "[a-z]". Separators are slashes. A pattern finds files; a name without wildcards may be a
// folder with a fledge.toml. Symbolic links are not followed. Folders whose name begins
// with a dot, and node_modules, are passed over unless the pattern spells their name.
//
// # Determinism
//
// Plugins are sorted by the path of their fledge.toml, byte by byte, whatever the order of
// patterns and folders. Nothing is fetched and nothing outside of the root is read.
//
// # Limits
//
// [MaxPatterns], [MaxEntries], [MaxDepth], [MaxPlugins] and [MaxName]; each fledge.toml has those of package
// config. A matrix has at most [MaxJobs] jobs and [MaxMatrix] bytes, which are GitHub's.
//
// # Failure
//
// What is wrong with fledge.toml files, and names that two of them share, is one
// config.Errors about all of them. Errors leave nothing behind, since nothing is written.
package plan
