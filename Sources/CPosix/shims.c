#define _GNU_SOURCE
#include "CPosix.h"

#include <attr/error_context.h>
#include <attr/libattr.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <stddef.h>
#include <sys/auxv.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <time.h>
#include <termios.h>
#include <unistd.h>

const int tr_o_noatime = O_NOATIME, tr_o_path = O_PATH, tr_at_empty_path = AT_EMPTY_PATH,
          tr_rename_noreplace = RENAME_NOREPLACE, tr_rename_exchange = RENAME_EXCHANGE, tr_seek_data = SEEK_DATA,
          tr_seek_hole = SEEK_HOLE, tr_at_fdcwd = AT_FDCWD,
          tr_at_statx_dont_sync = AT_STATX_DONT_SYNC,
          tr_clock_realtime_coarse = CLOCK_REALTIME_COARSE;

static long checked(long result) { return result < 0 ? -(long)errno : result; }

long tr_openat(int directory, const char *name, int flags, unsigned mode) {
  return checked(openat(directory, name, flags | O_CLOEXEC, mode));
}
long tr_close(int fd) { return checked(close(fd)); }
long tr_read(int fd, void *buffer, size_t count) { return checked(read(fd, buffer, count)); }
long tr_pread(int fd, void *buffer, size_t count, int64_t offset) {
  return checked(pread(fd, buffer, count, offset));
}
long tr_write(int fd, const void *buffer, size_t count) {
  return checked(write(fd, buffer, count));
}
long tr_pwrite(int fd, const void *buffer, size_t count, int64_t offset) {
  return checked(pwrite(fd, buffer, count, offset));
}
// cachestat(2), since Linux 6.5; Debian's headers are older.
int tr_is_cached(int fd) {
  struct {
    uint64_t offset, length;
  } whole = {0, 0};
  struct {
    uint64_t cached, dirty, writing, evicted, evicted_lately;
  } pages;
  if (syscall(451, fd, &whole, &pages, 0) < 0) return -1;
  return pages.cached > 0;
}
void tr_drop_cache(int fd, int64_t offset, int64_t count) { posix_fadvise(fd, offset, count, POSIX_FADV_DONTNEED); }
void tr_write_back(int fd, int64_t offset, int64_t count, int waits) {
  unsigned wait = waits ? SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER : 0;
  sync_file_range(fd, offset, count, SYNC_FILE_RANGE_WRITE | wait);
}
long tr_lseek(int fd, int64_t offset, int whence) { return checked(lseek(fd, offset, whence)); }
long tr_ftruncate(int fd, int64_t size) { return checked(ftruncate(fd, size)); }

long tr_statx(int directory, const char *name, int flags, struct tr_status *status) {
  struct statx s;
  unsigned mask = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID;
  if (statx(directory, name, flags, mask, &s) < 0) return -(long)errno;
  *status = (struct tr_status){
      .inode = s.stx_ino,
      .size = s.stx_size,
      .blocks = s.stx_blocks,
      .mtime_seconds = s.stx_mtime.tv_sec,
      .ctime_seconds = s.stx_ctime.tv_sec,
      .mtime_nanoseconds = s.stx_mtime.tv_nsec,
      .ctime_nanoseconds = s.stx_ctime.tv_nsec,
      .mode = s.stx_mode,
      .links = s.stx_nlink,
      .user = s.stx_uid,
      .group = s.stx_gid,
      .device = ((uint64_t)s.stx_dev_major << 32) | s.stx_dev_minor,
      .device_major = s.stx_rdev_major,
      .device_minor = s.stx_rdev_minor,
      .no_dump = (s.stx_attributes & STATX_ATTR_NODUMP) != 0,
      .mount = s.stx_mask & STATX_MNT_ID ? s.stx_mnt_id : 0,
  };
  if (s.stx_mask & STATX_BTIME) {
    status->birth_seconds = s.stx_btime.tv_sec;
    status->birth_nanoseconds = s.stx_btime.tv_nsec;
  }
  return 0;
}

#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000U
#endif
long tr_statx_unique(int directory, const char *name, int flags, struct tr_status *status) {
  struct statx s;
  if (statx(directory, name, flags, STATX_TYPE | STATX_MNT_ID_UNIQUE, &s) < 0) return -(long)errno;
  *status = (struct tr_status){
      .inode = s.stx_ino,
      .mode = s.stx_mode,
      .device = ((uint64_t)s.stx_dev_major << 32) | s.stx_dev_minor,
      .mount = s.stx_mask & STATX_MNT_ID_UNIQUE ? s.stx_mnt_id : 0,
  };
  return 0;
}

long tr_fstatfs(int fd, struct tr_file_system *result) {
  struct statfs s;
  if (fstatfs(fd, &s) < 0) return -(long)errno;
  uint64_t id = 0;
  memcpy(&id, &s.f_fsid, sizeof(s.f_fsid) < sizeof(id) ? sizeof(s.f_fsid) : sizeof(id));
  *result = (struct tr_file_system){
      .id = id,
      .type = s.f_type,
      .block_size = s.f_bsize,
      .blocks = s.f_blocks,
      .blocks_free = s.f_bfree,
      .blocks_available = s.f_bavail,
      .files = s.f_files,
      .files_free = s.f_ffree,
      .name_length = s.f_namelen,
  };
  return 0;
}

// glibc's readdir would copy each name once more and hide the order in which entries arrive.
long tr_getdents(int fd, void *buffer, size_t count) {
  return checked(syscall(SYS_getdents64, fd, buffer, count));
}
long tr_linkat(int from, const char *name, int to, const char *newName) {
  return checked(linkat(from, name, to, newName, 0));
}
long tr_unlinkat(int directory, const char *name, int flags) {
  return checked(unlinkat(directory, name, flags));
}
long tr_mkdirat(int directory, const char *name, unsigned mode) {
  return checked(mkdirat(directory, name, mode));
}
long tr_mknodat(int directory, const char *name, unsigned mode, unsigned major, unsigned minor) {
  return checked(mknodat(directory, name, mode, makedev(major, minor)));
}
long tr_symlinkat(const char *target, int directory, const char *name) {
  return checked(symlinkat(target, directory, name));
}
long tr_readlinkat(int directory, const char *name, void *buffer, size_t count) {
  return checked(readlinkat(directory, name, buffer, count));
}
long tr_renameat2(int from, const char *name, int to, const char *newName, unsigned flags) {
  return checked(renameat2(from, name, to, newName, flags));
}
long tr_fchmod(int fd, unsigned mode) { return checked(fchmod(fd, mode)); }
// Changes the mode of an inode opened with O_PATH, by fchmodat2(2) since Linux 6.6, otherwise by proc(5).
long tr_fchmod_handle(int fd, unsigned mode) {
  const long fchmodat2 = 452;
  long result = checked(syscall(fchmodat2, fd, "", mode, AT_EMPTY_PATH));
  if (result != -ENOSYS && result != -EPERM) return result;
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  long by_path = checked(chmod(path, mode));
  return by_path == -ENOENT ? result : by_path;
}
long tr_fchownat(int directory, const char *name, unsigned user, unsigned group, int flags) {
  return checked(fchownat(directory, name, user, group, flags));
}
long tr_utimensat(int directory, const char *name, const struct tr_time *access, struct tr_time modification,
                  int flags) {
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                              {.tv_sec = modification.seconds, .tv_nsec = modification.nanoseconds}};
  if (access) times[0] = (struct timespec){.tv_sec = access->seconds, .tv_nsec = access->nanoseconds};
  return checked(utimensat(directory, name, times, flags));
}

// With a path, the call acts on the path's final target; for /proc/self/fd/N, that is the open object itself. A
// descriptor has no other way to the attributes of a symbolic link or device node. The calls of Linux 6.13
// (getxattrat(2) and so on) refuse a descriptor opened with O_PATH.
long tr_listxattr(int fd, const char *path, char *buffer, size_t count) {
  return checked(path ? listxattr(path, buffer, count) : flistxattr(fd, buffer, count));
}
long tr_getxattr(int fd, const char *path, const char *name, void *buffer, size_t count) {
  return checked(path ? getxattr(path, name, buffer, count) : fgetxattr(fd, name, buffer, count));
}
long tr_setxattr(int fd, const char *path, const char *name, const void *value, size_t count) {
  return checked(path ? setxattr(path, name, value, count, 0)
                      : fsetxattr(fd, name, value, count, 0));
}
long tr_removexattr(int fd, const char *path, const char *name) {
  return checked(path ? removexattr(path, name) : fremovexattr(fd, name));
}
long tr_clone(int target, int source) { return checked(ioctl(target, FICLONE, source)); }
long tr_small_copies(int fd) {
  struct fsxattr attributes;
  if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0) return -(long)errno;
  attributes.fsx_xflags |= FS_XFLAG_COWEXTSIZE;
  attributes.fsx_cowextsize = 4096;
  return checked(ioctl(fd, FS_IOC_FSSETXATTR, &attributes));
}
long tr_reserve(int fd, int64_t offset, int64_t count) {
  return checked(fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, count));
}
long tr_punch_hole(int fd, int64_t offset, int64_t count) {
  return checked(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, count));
}

// XFS_IOC_FSGEOMETRY_V1 of xfs_fs.h, unchanged since 2001. xfslibs-dev would be a whole package for one number.
struct xfs_geometry {
  uint32_t numbers[7];
  uint32_t more_numbers;
  uint64_t blocks[4];
  unsigned char uuid[16];
  uint32_t rest[7];
};
_Static_assert(sizeof(struct xfs_geometry) == 112, "the kernel writes so many bytes");
long tr_xfs_uuid(int fd, unsigned char uuid[16]) {
  struct xfs_geometry geometry;
  memset(&geometry, 0, sizeof geometry);
  long result = checked(ioctl(fd, _IOR('X', 100, struct xfs_geometry), &geometry));
  memcpy(uuid, geometry.uuid, 16);
  return result;
}
long tr_btrfs_uuid(int fd, unsigned char uuid[16]) {
  struct btrfs_ioctl_fs_info_args arguments;
  memset(&arguments, 0, sizeof arguments);
  long result = checked(ioctl(fd, BTRFS_IOC_FS_INFO, &arguments));
  memcpy(uuid, arguments.fsid, 16);
  return result;
}
// FS_IOC_GETFSUUID of linux/fs.h, since Linux 6.9: a length, followed by that many bytes.
struct file_system_uuid {
  uint8_t length;
  uint8_t uuid[16];
};
long tr_file_system_uuid(int fd, unsigned char uuid[16]) {
  struct file_system_uuid result;
  memset(&result, 0, sizeof result);
  if (ioctl(fd, _IOR(0x15, 0, struct file_system_uuid), &result) < 0) return -(long)errno;
  if (result.length != 16) return -EOPNOTSUPP;
  memcpy(uuid, result.uuid, 16);
  return 0;
}
long tr_link_limit(int fd) { return checked(fpathconf(fd, _PC_LINK_MAX)); }
long tr_fsync(int fd) { return checked(fsync(fd)); }
long tr_syncfs(int fd) { return checked(syncfs(fd)); }
long tr_flock(int fd, int operation) { return checked(flock(fd, operation)); }

long tr_clock(int clock, int64_t *seconds, long *nanoseconds) {
  struct timespec t;
  if (clock_gettime(clock, &t) < 0) return -(long)errno;
  *seconds = t.tv_sec;
  *nanoseconds = t.tv_nsec;
  return 0;
}
long tr_random(void *buffer, size_t count) { return checked(getrandom(buffer, count, 0)); }
long tr_getcwd(char *buffer, size_t count) {
  return getcwd(buffer, count) ? (long)strlen(buffer) : -(long)errno;
}
long tr_realpath(const char *path, char *buffer, size_t count) {
  char *resolved = realpath(path, NULL);
  if (!resolved) return -(long)errno;
  size_t length = strlen(resolved);
  long result = -(long)ENAMETOOLONG;
  if (length < count) {
    memcpy(buffer, resolved, length + 1);
    result = (long)length;
  }
  free(resolved);
  return result;
}

long tr_terminal_width(int fd) {
  if (!isatty(fd)) return 0;
  struct winsize size;
  if (ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

long tr_set_echo(int fd, int on) {
  struct termios settings;
  if (tcgetattr(fd, &settings) < 0) return -(long)errno;
  if (on)
    settings.c_lflag |= ECHO;
  else
    settings.c_lflag &= ~(tcflag_t)ECHO;
  return checked(tcsetattr(fd, TCSAFLUSH, &settings));
}

static void quiet(struct error_context *context, const char *format, ...) {
  (void)context;
  (void)format;
}
long tr_memory_file(void) { return checked(memfd_create("treering", MFD_CLOEXEC)); }

// libattr reads its configuration at the first call, without a lock.
static pthread_once_t attr_once = PTHREAD_ONCE_INIT;
static void read_attr_configuration(void) {
  struct error_context context = {.error = quiet};
  attr_copy_action("user.none", &context);
}
int tr_may_copy_xattr(const char *name) {
  pthread_once(&attr_once, read_attr_configuration);
  struct error_context context = {.error = quiet};
  return attr_copy_action(name, &context) != ATTR_ACTION_SKIP;
}

void tr_local_time(int64_t seconds, int fields[6]) {
  time_t t = seconds;
  struct tm local;
  memset(&local, 0, sizeof local);
  localtime_r(&t, &local);
  fields[0] = local.tm_year + 1900;
  fields[1] = local.tm_mon + 1;
  fields[2] = local.tm_mday;
  fields[3] = local.tm_hour;
  fields[4] = local.tm_min;
  fields[5] = local.tm_sec;
}

int64_t tr_time_of_local(const int fields[6]) {
  struct tm local;
  memset(&local, 0, sizeof local);
  local.tm_year = fields[0] - 1900;
  local.tm_mon = fields[1] - 1;
  local.tm_mday = fields[2];
  local.tm_hour = fields[3];
  local.tm_min = fields[4];
  local.tm_sec = fields[5];
  local.tm_isdst = -1;
  return mktime(&local);
}

static volatile sig_atomic_t remembered = 0;
// Readable from the first remembered signal on; -1 if signals are not remembered, or no descriptor is left.
static volatile sig_atomic_t signal_event = -1;
static void remember(int signal) {
  int error = errno;
  if (remembered == 0) remembered = signal;
  uint64_t one = 1;
  if (signal_event >= 0 && write(signal_event, &one, sizeof one) < 0) errno = error;
  errno = error;
}
void tr_remember_signals(void) {
  if (signal_event < 0) signal_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = remember;
  const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
  for (size_t index = 0; index < sizeof numbers / sizeof *numbers; index++) {
    struct sigaction before;
    if (sigaction(numbers[index], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
      sigaction(numbers[index], &action, NULL);
  }
}
void tr_open_standard_streams(void) {
  int opened;
  do opened = open("/dev/null", O_RDWR);
  while (opened >= 0 && opened < 3);
  if (opened >= 3) close(opened);
}
int tr_remembered_signal(void) { return remembered; }

// A signal may arrive between the caller's last check and a write that blocks, or in another thread. So this waits for
// the reader and for the signal at once, and then writes only as much as a pipe takes without blocking, see pipe(7).
long tr_write_unless_signaled(int fd, const void *buffer, size_t count) {
  struct stat status;
  int event = signal_event;
  if (event >= 0 && !(fstat(fd, &status) == 0 && S_ISREG(status.st_mode))) {
    struct pollfd pollers[] = {{.fd = fd, .events = POLLOUT}, {.fd = event, .events = POLLIN}};
    if (poll(pollers, 2, -1) < 0) return -(long)errno;
    if (pollers[0].revents == 0) return -(long)EINTR;
    if (count > PIPE_BUF) count = PIPE_BUF;
  }
  return checked(write(fd, buffer, count));
}

// A signal ends the wait like a timeout; the caller then checks for signals. poll(2) is never restarted.
long tr_poll(int fd, int events, int milliseconds) {
  struct pollfd poller = {.fd = fd, .events = (short)events};
  long result = poll(&poller, 1, milliseconds);
  if (result < 0) return errno == EINTR ? 0 : -(long)errno;
  return result;
}
long tr_set_non_blocking(int fd, int on) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return -(long)errno;
  return checked(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}
// At least 3: a copy must not take the place of a closed standard stream.
long tr_duplicate(int fd) { return checked(fcntl(fd, F_DUPFD_CLOEXEC, 3)); }

long tr_is_open_for_writing(int fd) {
  // Another process's open breaks the lease, with a signal that would end this process: SIGURG is ignored.
  if (fcntl(fd, F_SETSIG, SIGURG) < 0) return -errno;
  if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0) return errno == EAGAIN ? 1 : -errno;
  return checked(fcntl(fd, F_SETLEASE, F_UNLCK));
}

long tr_notify(const char *path, const char *text, size_t count) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = strlen(path);
  if (length == 0 || length >= sizeof address.sun_path) return -EINVAL;
  memcpy(address.sun_path, path, length);
  // An abstract name begins with NUL.
  if (path[0] == '@') address.sun_path[0] = 0;
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  socklen_t size = offsetof(struct sockaddr_un, sun_path) + length;
  long sent = sendto(fd, text, count, MSG_NOSIGNAL, (struct sockaddr *)&address, size);
  long result = sent < 0 ? -errno : sent;
  close(fd);
  return result;
}
char **tr_environment(void) { return environ; }
const char *tr_program_path(void) { return (const char *)getauxval(AT_EXECFN); }
