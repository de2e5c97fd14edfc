#include "CArchive.h"

#include <archive.h>
#include <archive_entry.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <linux/posix_acl.h>
#include <locale.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static struct {
  struct archive *(*write_new)(void);
  int (*write_set_format_pax)(struct archive *);
  int (*write_set_options)(struct archive *, const char *);
  int (*write_set_bytes_in_last_block)(struct archive *, int);
  int (*write_open)(struct archive *, void *, archive_open_callback *, archive_write_callback *, archive_close_callback *);
  int (*write_fail)(struct archive *);
  void (*set_error)(struct archive *, int, const char *, ...);
  int (*write_header)(struct archive *, struct archive_entry *);
  la_ssize_t (*write_data)(struct archive *, const void *, size_t);
  int (*write_close)(struct archive *);
  int (*write_free)(struct archive *);
  int (*errno_)(struct archive *);
  const char *(*error_string)(struct archive *);
  struct archive_entry *(*entry_new)(void);
  struct archive_entry *(*entry_clear)(struct archive_entry *);
  void (*entry_free)(struct archive_entry *);
  void (*entry_set_pathname)(struct archive_entry *, const char *);
  void (*entry_set_mode)(struct archive_entry *, __LA_MODE_T);
  void (*entry_set_uid)(struct archive_entry *, la_int64_t);
  void (*entry_set_gid)(struct archive_entry *, la_int64_t);
  void (*entry_set_mtime)(struct archive_entry *, time_t, long);
  void (*entry_set_size)(struct archive_entry *, la_int64_t);
  void (*entry_set_rdev)(struct archive_entry *, dev_t);
  void (*entry_set_symlink)(struct archive_entry *, const char *);
  void (*entry_set_hardlink)(struct archive_entry *, const char *);
  void (*entry_xattr_add_entry)(struct archive_entry *, const char *, const void *, size_t);
  int (*entry_acl_add_entry)(struct archive_entry *, int, int, int, int, const char *);
  void (*entry_sparse_add_entry)(struct archive_entry *, la_int64_t, la_int64_t);
} lib;
static const char *load_error;

static void load(void) {
  // libarchive finds out by the locale which names are UTF-8.
  setlocale(LC_CTYPE, "C.UTF-8");
  void *library = dlopen("libarchive.so.13", RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    load_error = "libarchive.so.13 cannot be loaded; install it with: apt-get install libarchive13";
    return;
  }
#define FIND_AS(name, symbol) \
  if ((*(void **)&lib.name = dlsym(library, "archive_" symbol)) == NULL) load_error = "libarchive lacks archive_" symbol
#define FIND(name) FIND_AS(name, #name)
  FIND(write_new);
  FIND(write_set_format_pax);
  FIND(write_set_options);
  FIND(write_set_bytes_in_last_block);
  FIND(write_open);
  FIND(write_fail);
  FIND(set_error);
  FIND(write_header);
  FIND(write_data);
  FIND(write_close);
  FIND(write_free);
  FIND_AS(errno_, "errno");
  FIND(error_string);
  FIND(entry_new);
  FIND(entry_clear);
  FIND(entry_free);
  FIND(entry_set_pathname);
  FIND(entry_set_mode);
  FIND(entry_set_uid);
  FIND(entry_set_gid);
  FIND(entry_set_mtime);
  FIND(entry_set_size);
  FIND(entry_set_rdev);
  FIND(entry_set_symlink);
  FIND(entry_set_hardlink);
  FIND(entry_xattr_add_entry);
  FIND(entry_acl_add_entry);
  FIND(entry_sparse_add_entry);
}

const char *tr_archive_trouble(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, load);
  return load_error;
}

struct tr_archive {
  tr_archive_sink *sink;
  int is_closed;
  struct archive *archive;
  struct archive_entry *entry;
};

static la_ssize_t write_out(struct archive *archive, void *data, const void *bytes, size_t count) {
  struct tr_archive *made = data;
  long written = made->sink(bytes, count);
  if (written >= 0) return written;
  lib.set_error(archive, (int)-written, "%s", strerror((int)-written));
  return -1;
}

struct tr_archive *tr_archive_open(tr_archive_sink *sink) {
  struct tr_archive *made = calloc(1, sizeof *made);
  if (made == NULL) return NULL;
  made->sink = sink;
  made->archive = lib.write_new();
  made->entry = lib.entry_new();
  // GNU tar and bsdtar both read the attributes of star.
  if (made->archive == NULL || made->entry == NULL || lib.write_set_format_pax(made->archive) != ARCHIVE_OK ||
      lib.write_set_options(made->archive, "xattrheader=SCHILY") != ARCHIVE_OK ||
      lib.write_set_bytes_in_last_block(made->archive, 1) != ARCHIVE_OK ||
      lib.write_open(made->archive, made, NULL, write_out, NULL) != ARCHIVE_OK) {
    tr_archive_free(made);
    return NULL;
  }
  return made;
}

int tr_archive_begin(struct tr_archive *archive, const struct tr_archive_entry *from) {
  struct archive_entry *entry = lib.entry_clear(archive->entry);
  lib.entry_set_pathname(entry, from->path);
  lib.entry_set_mode(entry, from->mode);
  lib.entry_set_uid(entry, from->user);
  lib.entry_set_gid(entry, from->group);
  lib.entry_set_mtime(entry, from->modified_seconds, from->modified_nanoseconds);
  lib.entry_set_rdev(entry, makedev(from->device_major, from->device_minor));
  if (from->target != NULL) lib.entry_set_symlink(entry, from->target);
  if (from->hard_link != NULL) {
    lib.entry_set_hardlink(entry, from->hard_link);
  } else {
    lib.entry_set_size(entry, (la_int64_t)from->size);
  }
  return 0;
}

void tr_archive_add_attribute(struct tr_archive *archive, const char *name, const void *value, size_t count) {
  lib.entry_xattr_add_entry(archive->entry, name, value, count);
}

int tr_archive_add_acl(struct tr_archive *archive, int is_default, uint16_t tag, uint16_t permissions, uint32_t id) {
  int kind;
  switch (tag) {
  case ACL_USER_OBJ: kind = ARCHIVE_ENTRY_ACL_USER_OBJ; break;
  case ACL_USER: kind = ARCHIVE_ENTRY_ACL_USER; break;
  case ACL_GROUP_OBJ: kind = ARCHIVE_ENTRY_ACL_GROUP_OBJ; break;
  case ACL_GROUP: kind = ARCHIVE_ENTRY_ACL_GROUP; break;
  case ACL_MASK: kind = ARCHIVE_ENTRY_ACL_MASK; break;
  case ACL_OTHER: kind = ARCHIVE_ENTRY_ACL_OTHER; break;
  default: return 1;
  }
  int type = is_default ? ARCHIVE_ENTRY_ACL_TYPE_DEFAULT : ARCHIVE_ENTRY_ACL_TYPE_ACCESS;
  // An id that is no int stands as the name, which a reader takes for a number.
  char name[16] = "";
  int qualifier = -1;
  if (tag == ACL_USER || tag == ACL_GROUP) {
    if (id <= INT_MAX)
      qualifier = (int)id;
    else
      snprintf(name, sizeof name, "%u", id);
  }
  // The bits of read, write and execute are those of chmod(2).
  int result = lib.entry_acl_add_entry(
      archive->entry, type, permissions & 7, kind, qualifier, name[0] == 0 ? NULL : name);
  return result == ARCHIVE_OK ? 0 : 1;
}

void tr_archive_add_data(struct tr_archive *archive, uint64_t offset, uint64_t count) {
  lib.entry_sparse_add_entry(archive->entry, (la_int64_t)offset, (la_int64_t)count);
}

int tr_archive_write_header(struct tr_archive *archive) {
  // A name that is no UTF-8 is written as its bytes, with a warning. Any other warning is of a value that the archive
  // does not take, and an error here.
  int result = lib.write_header(archive->archive, archive->entry);
  static const char name_warning[] = "Can't translate";
  return result == ARCHIVE_OK ||
          (result == ARCHIVE_WARN &&
              strncmp(tr_archive_error(archive), name_warning, sizeof name_warning - 1) == 0)
      ? 0
      : 1;
}

int tr_archive_write(struct tr_archive *archive, const void *bytes, size_t count) {
  return lib.write_data(archive->archive, bytes, count) == (la_ssize_t)count ? 0 : 1;
}

int tr_archive_close(struct tr_archive *archive) {
  archive->is_closed = 1;
  return lib.write_close(archive->archive) == ARCHIVE_OK ? 0 : 1;
}

void tr_archive_free(struct tr_archive *archive) {
  if (archive == NULL) return;
  if (archive->archive != NULL) {
    // An archive that was given up gets no end, so that readers call it damaged.
    if (!archive->is_closed) lib.write_fail(archive->archive);
    lib.write_free(archive->archive);
  }
  if (archive->entry != NULL) lib.entry_free(archive->entry);
  free(archive);
}

int tr_archive_errno(struct tr_archive *archive) { return lib.errno_(archive->archive); }

const char *tr_archive_error(struct tr_archive *archive) {
  const char *text = lib.error_string(archive->archive);
  return text == NULL ? "unknown error" : text;
}
