// The engine's system calls, in a form that Swift can call.
//
// Every function returns a non-negative result, or the negated errno. The C function of the call captures the error,
// so nothing can run in between. _GNU_SOURCE must be defined before the first libc header, so it stays in shims.c.
#ifndef CPOSIX_H
#define CPOSIX_H

#include <stddef.h>
#include <stdint.h>

/// The part of struct statx that treering uses.
struct tr_status {
  uint64_t inode;
  uint64_t size;
  uint64_t blocks;  // of 512 bytes
  int64_t mtime_seconds;
  int64_t ctime_seconds;
  uint32_t mtime_nanoseconds;
  uint32_t ctime_nanoseconds;
  uint32_t mode;
  uint32_t links;
  uint32_t user;
  uint32_t group;
  uint64_t device;
  uint32_t device_major;  // of a device node
  uint32_t device_minor;
  int64_t birth_seconds;  // 0 together with birth_nanoseconds if there is no birth time
  uint32_t birth_nanoseconds;
  uint32_t no_dump;  // chattr +d
  uint64_t mount;    // STATX_MNT_ID, or 0
};

struct tr_file_system {
  uint64_t id;
  int64_t type;
  uint64_t block_size;
  uint64_t blocks;
  uint64_t blocks_free;
  uint64_t blocks_available;
  uint64_t files;
  uint64_t files_free;
  uint64_t name_length;
};

long tr_openat(int directory, const char *name, int flags, unsigned mode);
long tr_close(int fd);
long tr_read(int fd, void *buffer, size_t count);
long tr_pread(int fd, void *buffer, size_t count, int64_t offset);
long tr_write(int fd, const void *buffer, size_t count);
long tr_pwrite(int fd, const void *buffer, size_t count, int64_t offset);
/// 1 if pages of the file are in the page cache, 0 if none is, -1 if the kernel does not tell.
int tr_is_cached(int fd);
/// Advice and haste; their failure has no effect.
void tr_drop_cache(int fd, int64_t offset, int64_t count);
void tr_write_back(int fd, int64_t offset, int64_t count, int waits);
long tr_lseek(int fd, int64_t offset, int whence);
long tr_ftruncate(int fd, int64_t size);
long tr_statx(int directory, const char *name, int flags, struct tr_status *status);
/// `mount` is the number that the kernel never reuses, or 0 before Linux 6.8.
long tr_statx_unique(int directory, const char *name, int flags, struct tr_status *status);
long tr_fstatfs(int fd, struct tr_file_system *result);
long tr_getdents(int fd, void *buffer, size_t count);
long tr_linkat(int from, const char *name, int to, const char *newName);
long tr_unlinkat(int directory, const char *name, int flags);
long tr_mkdirat(int directory, const char *name, unsigned mode);
long tr_mknodat(int directory, const char *name, unsigned mode, unsigned major, unsigned minor);
long tr_symlinkat(const char *target, int directory, const char *name);
long tr_readlinkat(int directory, const char *name, void *buffer, size_t count);
long tr_renameat2(int from, const char *name, int to, const char *newName, unsigned flags);
long tr_fchmod(int fd, unsigned mode);
long tr_fchmod_handle(int fd, unsigned mode);
long tr_fchownat(int directory, const char *name, unsigned user, unsigned group, int flags);
struct tr_time {
  int64_t seconds;
  int64_t nanoseconds;
};
// If `access` is NULL, the access time stays.
long tr_utimensat(int directory, const char *name, const struct tr_time *access, struct tr_time modification,
                  int flags);
long tr_listxattr(int fd, const char *path, char *buffer, size_t count);
long tr_getxattr(int fd, const char *path, const char *name, void *buffer, size_t count);
long tr_setxattr(int fd, const char *path, const char *name, const void *value, size_t count);
long tr_removexattr(int fd, const char *path, const char *name);
/// Makes `target` share the present blocks of `source`.
long tr_clone(int target, int source);
/// Lets a write to a shared block of XFS take one block instead of the default 32.
long tr_small_copies(int fd);
/// Reserves space behind the end of the file, without moving the end.
long tr_reserve(int fd, int64_t offset, int64_t count);
long tr_punch_hole(int fd, int64_t offset, int64_t count);
/// The 16 bytes of an XFS file system's UUID.
long tr_xfs_uuid(int fd, unsigned char uuid[16]);
/// The UUID of btrfs, shared by all its subvolumes and snapshots.
long tr_file_system_uuid(int fd, unsigned char uuid[16]);
long tr_btrfs_uuid(int fd, unsigned char uuid[16]);
/// The most links that an inode of this file system may have.
long tr_link_limit(int fd);
long tr_fsync(int fd);
long tr_syncfs(int fd);
long tr_flock(int fd, int operation);
long tr_clock(int clock, int64_t *seconds, long *nanoseconds);
long tr_random(void *buffer, size_t count);
long tr_getcwd(char *buffer, size_t count);
long tr_realpath(const char *path, char *buffer, size_t count);
long tr_terminal_width(int fd);
/// Lets a terminal show what is typed, or not.
long tr_set_echo(int fd, int on);
/// Raises the soft limit of open descriptors to the hard one and returns it.
long tr_raise_descriptor_limit(void);
/// True if the administrator's /etc/xattr.conf allows the attribute to be copied.
int tr_may_copy_xattr(const char *name);
/// The lines of getfacl(1), for free(3): of the value of an ACL's attribute, or of a mode if there is none.
long tr_acl_text(const void *value, size_t count, unsigned mode, const char *prefix, char **text);
/// A file in memory, closed on exec.
long tr_memory_file(void);
/// Local broken-down time of an instant: year, month, day, hour, minute, second.
void tr_local_time(int64_t seconds, int fields[6]);
int64_t tr_time_of_local(const int fields[6]);

void tr_clear_umask(void);
enum { GIVEN_DESCRIPTORS = 2 };
/// A program for its own process group.
struct tr_program {
  const char *const *arguments;  // the first is its path
  const char *const *environment;
  int input;             // an open file for its input, or -1 for /dev/null
  int output;            // an open file for its output, or -1 for a new pipe
  int joins_errors;      // its errors go where its output goes, else into a pipe of their own
  int given[GIVEN_DESCRIPTORS];  // open files that become its descriptors from 3 on, or -1
  int starts_at_root;    // its working directory is the root, else that of this process
  int ends_with_parent;  // it gets SIGTERM when the thread that started it ends
  int is_other_account;  // it runs as the following account
  uint32_t user;
  uint32_t group;
  const uint32_t *groups;
  size_t group_count;
  // All file systems are read-only for it but this directory, with these entries of it again read-only; or NULL. It
  // follows no symbolic link in the directory.
  const char *writable;
  const char *const *protected_entries;  // the last is NULL
};
/// Starts a program. `ends` gets the read ends of the pipes of its output and of its errors,
/// or -1. Signals and limits are those with which this process was started. The umask denies other users access to
/// the program's new files. Returns the process, or the errno of execve.
long tr_spawn(const struct tr_program *program, int ends[2]);
/// Starts a program found by PATH, in this process group and with this environment. New pipes are its input, output
/// and errors; `ends` gets their other ends, which do not block. Signals, limits and umask are those with which this
/// process was started.
long tr_spawn_piped(const char *const *arguments, int ends[3]);
/// The process's number once it has ended, with the status of wait(2); 0 before.
long tr_wait_child(int process, int *status);
/// The process's number once it has ended, without taking its status; 0 before.
long tr_has_ended(int process);
long tr_kill(int process, int signal);
long tr_kill_group(int process, int signal);
/// 1 if an event of poll(2) has occurred, or an error or a hang-up, which the next call reports. 0 after the timeout,
/// and after a signal.
long tr_poll(int fd, int events, int milliseconds);
long tr_set_non_blocking(int fd, int on);
/// A second descriptor of the same open file, closed on exec.
long tr_duplicate(int fd);
/// Takes a read lease and releases it: 1 if the file is open for writing anywhere, else 0. `fd` must be read-only.
long tr_is_open_for_writing(int fd);
/// Sends a datagram to the socket of the service manager; see sd_notify(3).
long tr_notify(const char *socket, const char *text, size_t count);
/// The variables of the process's environment; the last is NULL.
char **tr_environment(void);
/// The path by which this process was started.
const char *tr_program_path(void);

/// Moves the calling thread into the network namespace of a process; setns(2).
long tr_enter_network(int process);

/// The kernel's version of Landlock, from 1; see landlock(7).
long tr_landlock_abi(void);
/// Denies the calling thread, and its later threads and programs, files and directories outside `directories`, and
/// TCP. Version `abi` limits the denial.
long tr_landlock_confine(const int *directories, size_t count, int abi);

/// Turns SIGPIPE and SIGXFSZ into errors of the system call.
void tr_ignore_file_signals(void);
/// Opens /dev/null for each closed standard stream; otherwise a file of treering could become one.
void tr_open_standard_streams(void);
/// Only remembers SIGINT, SIGTERM and SIGHUP from now on; an ignored signal stays ignored, see nohup(1).
void tr_remember_signals(void);
/// The first of those signals that arrived, or 0.
int tr_remembered_signal(void);
/// Writes some bytes. A remembered signal ends the wait for a reader: -EINTR.
long tr_write_unless_signaled(int fd, const void *buffer, size_t count);

// Names that Glibc's Swift module omits, because they are macros with casts or need _GNU_SOURCE.
extern const int tr_o_noatime, tr_o_path, tr_at_empty_path, tr_rename_noreplace, tr_rename_exchange, tr_seek_data,
    tr_seek_hole, tr_at_fdcwd, tr_at_statx_dont_sync, tr_clock_realtime_coarse;

#endif
