// Package size says where the bytes of an artifact are.
//
// Volant fetches the whole artifact at each start of a VM, so its size is paid for
// again and again. [Measure] finds the largest folders and files of a tree, and the
// ELF files that carry symbols and debugging information, which no process needs, with
// what strip(1) would save.
//
// # What is counted
//
// Bytes of regular files as they are read, holes included, each inode once under its
// first name. The filesystem's own blocks are not counted. A folder's bytes are those
// of everything below it; the folders of a [Report] do not overlap.
//
// # Determinism and cost
//
// A report is a function of the tree's names and contents. Of each file at most the
// first 4 KiB are read, of ELF files the table of sections too, with the limits of
// package elfread.
//
// # Failure
//
// A broken ELF file is counted and otherwise left alone. Only a content that cannot be
// read and a cancelled context are errors.
package size
