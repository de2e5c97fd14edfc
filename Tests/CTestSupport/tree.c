#define _GNU_SOURCE
#include "CTestSupport.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { BLOCK = 4096, WINDOW = 64 * BLOCK };

struct walk {
  FILE *text;
  unsigned char *window;
  char *path;
  size_t length, capacity;
};

static uint64_t mix(uint64_t hash, const unsigned char *bytes, size_t count) {
  // FNV-1a (Fowler, Noll, Vo) over words: changes by accident are found, not forgeries.
  for (size_t at = 0; at < count; at += 8) {
    uint64_t word = 0;
    memcpy(&word, bytes + at, count - at < 8 ? count - at : 8);
    hash = (hash ^ word) * 0x100000001b3u;
    hash ^= hash >> 29;
  }
  return hash;
}

/// Blocks of zeros do not count, whether they are holes or stored.
static int digest(struct walk *walk, int directory, const char *name, off_t size, uint64_t *hash) {
  static const unsigned char zeros[BLOCK];
  int file = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME);
  if (file < 0 && errno == EPERM) file = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (file < 0) return -1;
  *hash = 0xcbf29ce484222325u;
  off_t at = 0;
  while (at < size) {
    off_t data = lseek(file, at, SEEK_DATA);
    if (data < 0) {
      if (errno == ENXIO) break;
      data = at;
    }
    at = data / BLOCK * BLOCK;
    ssize_t count = pread(file, walk->window, WINDOW, at);
    if (count <= 0) {
      close(file);
      return count < 0 ? -1 : 0;
    }
    for (ssize_t begin = 0; begin < count; begin += BLOCK) {
      size_t part = count - begin < BLOCK ? (size_t)(count - begin) : BLOCK;
      if (memcmp(walk->window + begin, zeros, part) == 0) continue;
      uint64_t offset = (uint64_t)(at + begin);
      *hash = mix(*hash, (const unsigned char *)&offset, sizeof offset);
      *hash = mix(*hash, walk->window + begin, part);
    }
    at += count;
  }
  close(file);
  return 0;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/// The attributes in the order of their names, because a file system may list them in any order.
static int attributes(struct walk *walk, const char *entry) {
  char names[65536], value[65536];
  ssize_t length = llistxattr(entry, names, sizeof names);
  if (length < 0) return errno == ENOTSUP ? 0 : -1;
  char *sorted[4096];
  size_t count = 0;
  for (char *name = names; name < names + length && count < 4096; name += strlen(name) + 1) sorted[count++] = name;
  qsort(sorted, count, sizeof *sorted, by_name);
  for (size_t i = 0; i < count; i++) {
    ssize_t size = lgetxattr(entry, sorted[i], value, sizeof value);
    if (size < 0) return -1;
    fprintf(walk->text, " %s=", sorted[i]);
    for (ssize_t at = 0; at < size; at++) fprintf(walk->text, "%02x", (unsigned char)value[at]);
  }
  return 0;
}

static int describe(struct walk *walk, int directory, const char *name, const struct stat *status) {
  fwrite(walk->path, 1, walk->length, walk->text);
  fputc(0, walk->text);
  int isDirectory = S_ISDIR(status->st_mode);
  fprintf(
      walk->text, "mode %o owner %u:%u modified %" PRId64 ".%09ld size %" PRId64 " inode %" PRIu64 " blocks %" PRId64,
      status->st_mode, status->st_uid, status->st_gid, (int64_t)status->st_mtim.tv_sec, status->st_mtim.tv_nsec,
      isDirectory ? 0 : (int64_t)status->st_size, (uint64_t)status->st_ino, (int64_t)status->st_blocks);
  if (S_ISCHR(status->st_mode) || S_ISBLK(status->st_mode))
    fprintf(walk->text, " device %x:%x", major(status->st_rdev), minor(status->st_rdev));
  if (S_ISLNK(status->st_mode)) {
    char target[4097];
    ssize_t length = readlinkat(directory, name, target, sizeof target);
    if (length < 0) return -1;
    fputs(" target ", walk->text);
    fwrite(target, 1, (size_t)length, walk->text);
  }
  if (S_ISREG(status->st_mode)) {
    uint64_t hash;
    if (digest(walk, directory, name, status->st_size, &hash) < 0) return -1;
    fprintf(walk->text, " content %016" PRIx64, hash);
  }
  // A path through a descriptor is short, and it names the entry itself.
  char entry[512];
  snprintf(entry, sizeof entry, "/proc/self/fd/%d/%s", directory, name);
  if (attributes(walk, entry) < 0) return -1;
  fputc(0, walk->text);
  return 0;
}

static int visit(struct walk *walk, int parent, const char *name) {
  struct stat status;
  if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) < 0 || describe(walk, parent, name, &status) < 0) return -1;
  if (!S_ISDIR(status.st_mode)) return 0;
  int descriptor = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *directory = descriptor < 0 ? NULL : fdopendir(descriptor);
  if (!directory) return -1;
  int result = 0;
  struct dirent *entry;
  while (result == 0 && (entry = readdir(directory))) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    size_t before = walk->length, needed = before + strlen(entry->d_name) + 2;
    if (needed > walk->capacity) walk->path = realloc(walk->path, walk->capacity = needed * 2);
    if (before) walk->path[walk->length++] = '/';
    strcpy(walk->path + walk->length, entry->d_name);
    walk->length += strlen(entry->d_name);
    result = visit(walk, descriptor, entry->d_name);
    walk->length = before;
  }
  closedir(directory);
  return result;
}

int ts_describe_tree(const char *root, char **text, size_t *length) {
  struct walk walk = {.capacity = 4096};
  walk.text = open_memstream(text, length);
  walk.path = malloc(walk.capacity);
  walk.window = malloc(WINDOW);
  int parent = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int result = parent < 0 ? -1 : visit(&walk, parent, ".");
  int error = result < 0 ? errno : 0;
  if (parent >= 0) close(parent);
  free(walk.path);
  free(walk.window);
  fclose(walk.text);
  return error;
}
