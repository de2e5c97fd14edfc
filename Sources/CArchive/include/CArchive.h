// A pax archive through libarchive, which is loaded at its first use. If it were linked, its libraries would cost every
// command some milliseconds at its start.
#ifndef CARCHIVE_H
#define CARCHIVE_H

#include <stddef.h>
#include <stdint.h>

struct tr_archive;

/// The metadata of one entry. Strings end with a null byte.
struct tr_archive_entry {
  const char *path;
  /// The kind and permissions, as in `st_mode` of stat(2).
  uint32_t mode;
  uint32_t user, group;
  int64_t modified_seconds;
  uint32_t modified_nanoseconds;
  uint64_t size;
  uint32_t device_major, device_minor;
  /// The target of a symbolic link; else NULL.
  const char *target;
  /// The path of an earlier entry that shares the inode; else NULL.
  const char *hard_link;
};

/// The reason why no archive can be written; NULL if one can.
const char *tr_archive_trouble(void);

/// Writes all bytes of the archive. Returns their number, or a negated errno.
typedef long tr_archive_sink(const void *bytes, size_t count);

/// Opens an archive; NULL without memory.
struct tr_archive *tr_archive_open(tr_archive_sink *sink);

// The calls below return 0, or another number after an error that tr_archive_error describes.

/// Begins an entry. Attributes, ACLs and data ranges follow, then tr_archive_write_header.
int tr_archive_begin(struct tr_archive *archive, const struct tr_archive_entry *entry);
void tr_archive_add_attribute(struct tr_archive *archive, const char *name, const void *value, size_t count);
/// Adds an entry of an ACL in the kernel's numbers; `is_default` is 1 for the ACL of new entries. See acl(5).
int tr_archive_add_acl(struct tr_archive *archive, int is_default, uint16_t tag, uint16_t permissions, uint32_t id);
/// Adds a range of a sparse file that is no hole.
void tr_archive_add_data(struct tr_archive *archive, uint64_t offset, uint64_t count);
int tr_archive_write_header(struct tr_archive *archive);
/// Writes content of the entry. Holes are written as zeros, and left out of the archive.
int tr_archive_write(struct tr_archive *archive, const void *bytes, size_t count);
int tr_archive_close(struct tr_archive *archive);
/// An archive that was not closed gets no end.
void tr_archive_free(struct tr_archive *archive);

/// The error number of the last error, or 0, and its text.
int tr_archive_errno(struct tr_archive *archive);
const char *tr_archive_error(struct tr_archive *archive);

#endif
