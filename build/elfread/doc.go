// Package elfread reads from ELF files what says whether they can start, and how
// much of them is not needed for that: [Read] the headers and the dynamic section,
// [Sections] the table of sections.
//
// The format is that of the System V ABI,
// https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html, both classes and
// both byte orders. Only the parts that are asked for are read, wherever in the
// file they lie: a file of any size costs a few small reads.
//
// # Hostile files
//
// Files come from images. Every offset and size is checked against the file's size,
// nothing is allocated by a number that the file names beyond the limits below, and
// what does not fit is an error that says which part it is.
//
// # Limits
//
// The table of program headers has at most 64 KiB, as in the kernel. Of the dynamic
// section [MaxDynamic] entries count, of the needed libraries [MaxNeeded], of a name
// [MaxString] bytes, of a search path [MaxPath] bytes, of the table of sections
// [MaxSections]. The same numbers hold whatever the file's size is.
//
// # Determinism and failure
//
// Results are functions of the bytes. What is no ELF file is [ErrNoELF]; a file that
// breaks the format, or a limit, is a [*FormatError]; anything else is the error of
// the content that was read.
package elfread
