// Package rpmdb reads which packages an rpm database holds.
//
// rpm has kept its headers in three kinds of files, told apart by their first bytes:
// an SQLite database (rpmdb.sqlite, since rpm 4.16), rpm's own ndb (Packages.db, SUSE),
// and a Berkeley DB hash (Packages, before). [Read] walks the pages that hold headers
// and nothing else: no index, no query, no write.
//
//   - https://www.sqlite.org/fileformat2.html, table b-trees of one table
//   - Berkeley DB 5.3, dbinc/db_page.h: hash pages and overflow pages, both byte orders
//   - ndb: slots of 16 bytes in the first pages, blobs in blocks of 16 bytes
//   - https://rpm-software-management.github.io/rpm/manual/hregions.html: the header
//
// # Why not a library
//
// The readers that exist want a path of the host and bring a whole SQL engine for
// the one table. What is needed of it is less than two hundred lines.
//
// # Hostile databases
//
// A page is visited once, so that neither time nor memory grows beyond the file's size.
// What is allocated is bounded by [MaxHeader] and [MaxPackages], never by a number in
// the file.
//
// # Determinism and failure
//
// Packages come in the order of the file. A damaged database gives what could be read
// before the damage, and an error that says what is wrong.
package rpmdb
