// Starts programs. Swift's runtime takes locks, so the code between fork and execve must be C.
#define _GNU_SOURCE
#include "CPosix.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// The process state that treering changes, and that its children get back unchanged.
static mode_t umask_before = 022;
void tr_clear_umask(void) { umask_before = umask(0); }

// Children get the old limit: programs that use select(2) expect at most 1024 descriptors.
static struct rlimit descriptors_before;
long tr_raise_descriptor_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -(long)errno;
  struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
  if (setrlimit(RLIMIT_NOFILE, &raised) < 0) return -(long)errno;
  descriptors_before = limit;
  return raised.rlim_cur > LONG_MAX ? LONG_MAX : (long)raised.rlim_cur;
}

static void (*file_limit_before)(int) = SIG_DFL;
void tr_ignore_file_signals(void) {
  signal(SIGPIPE, SIG_IGN);
  file_limit_before = signal(SIGXFSZ, SIG_IGN);
}

static void reset_signals(void) {
  for (int number = 1; number < NSIG; number++) {
    struct sigaction action;
    // A signal ignored at the start of this process stays ignored, except SIGPIPE, which no program wants ignored.
    int may_stay = number != SIGPIPE && number != SIGXFSZ;
    if (may_stay && sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN) continue;
    signal(number, SIG_DFL);
  }
  if (file_limit_before == SIG_IGN) signal(SIGXFSZ, SIG_IGN);
}

enum { FIRST_GIVEN = 3 };

struct program {
  const char *const *arguments;
  const char *const *environment;
  int (*execute)(const char *, char *const[], char *const[]);
  const struct tr_program *setting;  // its own process group, with these settings; NULL for the group of this process
  int streams[3];                    // its input, output and errors
};

// If descriptor 0, 1 or 2 was closed, pipe(2) may have returned that number, which the stream needs.
static int place_streams(const struct program *program, int *failure) {
  int lifted[FIRST_GIVEN + GIVEN_DESCRIPTORS];
  int count = program->setting ? FIRST_GIVEN + GIVEN_DESCRIPTORS : FIRST_GIVEN;
  int lifted_failure = fcntl(*failure, F_DUPFD_CLOEXEC, count);
  if (lifted_failure < 0) return -1;
  *failure = lifted_failure;
  for (int stream = 0; stream < count; stream++) {
    int wanted = stream < FIRST_GIVEN ? program->streams[stream] : program->setting->given[stream - FIRST_GIVEN];
    lifted[stream] = wanted < 0 ? -1 : fcntl(wanted, F_DUPFD_CLOEXEC, count);
    if (wanted >= 0 && lifted[stream] < 0) return -1;
  }
  for (int stream = 0; stream < count; stream++)
    if (lifted[stream] >= 0 && dup2(lifted[stream], stream) < 0) return -1;
  return 0;
}

// The plain system calls: glibc's functions tell all threads, and setgroups(2) is not async-signal-safe there.
static int become_account(const struct tr_program *program) {
  if (program->starts_at_root && chdir("/") < 0) return -1;
  if (!program->is_other_account) return 0;
  if (syscall(SYS_setgroups, program->group_count, program->groups) < 0) return -1;
  if (syscall(SYS_setresgid, program->group, program->group, program->group) < 0) return -1;
  return (int)syscall(SYS_setresuid, program->user, program->user, program->user);
}

// mount_setattr(2); the header with its structure conflicts with that of mount(2).
enum { READ_ONLY = 0x1, FOLLOWS_NO_LINKS = 0x200000 };
static int change_mount(const char *path, uint64_t set, uint64_t clear, unsigned flags) {
  struct { uint64_t set, clear, propagation, userns; } change = {set, clear, 0, 0};
  return (int)syscall(SYS_mount_setattr, AT_FDCWD, path, flags, &change, sizeof change);
}

static int write_text(const char *path, const char *text) {
  int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return -1;
  ssize_t count = write(file, text, strlen(text));
  int error = errno;
  close(file);
  errno = error;
  return count < 0 ? -1 : 0;
}

// An ordinary user may make a mount namespace only in a user namespace, which here has that user alone.
static int enter_mount_namespace(void) {
  uid_t user = geteuid();
  gid_t group = getegid();
  if (user == 0) return unshare(CLONE_NEWNS);
  char users[40], groups[40];
  snprintf(users, sizeof users, "%u %u 1", user, user);
  snprintf(groups, sizeof groups, "%u %u 1", group, group);
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 || write_text("/proc/self/setgroups", "deny") < 0) return -1;
  return write_text("/proc/self/uid_map", users) < 0 ? -1 : write_text("/proc/self/gid_map", groups);
}

// A symbolic link of the writable directory leads nowhere: an older snapshot may hold links that another host chose.
static int protect_files(const struct tr_program *program) {
  if (program->writable == NULL) return 0;
  if (enter_mount_namespace() < 0) return -1;
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) return -1;
  if (mount(program->writable, program->writable, NULL, MS_BIND, NULL) < 0) return -1;
  if (change_mount("/", READ_ONLY, 0, AT_RECURSIVE) < 0) return -1;
  if (change_mount(program->writable, FOLLOWS_NO_LINKS, READ_ONLY, 0) < 0) return -1;
  for (const char *const *entry = program->protected_entries; *entry; entry++) {
    int is_there = mount(*entry, *entry, NULL, MS_BIND, NULL) == 0;
    // Others may remove an entry in the meantime.
    if (!is_there && errno == ENOENT) continue;
    if (!is_there || change_mount(*entry, READ_ONLY, 0, 0) < 0) return -1;
  }
  return 0;
}

// posix_spawn cannot set the umask. Only async-signal-safe calls are made between fork and execve. In glibc,
// execvpe(3) is one of them: it builds the paths on the stack.
static long start(const struct program *program) {
  int failure[2];
  if (pipe2(failure, O_CLOEXEC) < 0) return -(long)errno;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t child = fork();
  if (child == 0) {
    if (program->setting) setpgid(0, 0);
    reset_signals();
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(umask_before | (program->setting ? 077 : 0));
    if (descriptors_before.rlim_max > 0) setrlimit(RLIMIT_NOFILE, &descriptors_before);
    int is_ready = place_streams(program, &failure[1]) == 0;
    if (is_ready && program->setting) {
      is_ready = protect_files(program->setting) == 0 && become_account(program->setting) == 0;
      // A change of the user clears this signal, so it comes last.
      if (program->setting->ends_with_parent) prctl(PR_SET_PDEATHSIG, SIGTERM);
    }
    if (is_ready)
      program->execute(program->arguments[0], (char *const *)program->arguments,
                       (char *const *)program->environment);
    int error = errno;
    if (write(failure[1], &error, sizeof error) < 0) _exit(126);
    _exit(127);
  }
  int error = child < 0 ? errno : 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  close(failure[1]);
  if (error == 0) {
    if (program->setting) setpgid(child, child);
    ssize_t count;
    do count = read(failure[0], &error, sizeof error);
    while (count < 0 && errno == EINTR);
    if (count != sizeof error) error = 0;
    if (error != 0) waitpid(child, NULL, 0);
  }
  close(failure[0]);
  return error != 0 ? -(long)error : child;
}

long tr_spawn(const struct tr_program *program, int ends[2]) {
  int pipes[2][2] = {{-1, -1}, {-1, -1}};
  int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  long result = nothing < 0 ? -(long)errno : 0;
  for (int index = 0; index < 2 && result >= 0; index++) {
    int is_needed = index == 0 ? program->output < 0 : !program->joins_errors;
    if (is_needed && pipe2(pipes[index], O_CLOEXEC) < 0) result = -(long)errno;
  }
  if (result >= 0) {
    int output = program->output < 0 ? pipes[0][1] : program->output;
    int errors = program->joins_errors ? output : pipes[1][1];
    result = start(&(struct program){.arguments = program->arguments,
                                     .environment = program->environment,
                                     .execute = execve,
                                     .setting = program,
                                     .streams = {program->input < 0 ? nothing : program->input, output, errors}});
  }
  if (nothing >= 0) close(nothing);
  for (int index = 0; index < 2; index++) {
    if (pipes[index][1] >= 0) close(pipes[index][1]);
    if (result < 0 && pipes[index][0] >= 0) close(pipes[index][0]);
    ends[index] = result < 0 ? -1 : pipes[index][0];
  }
  return result;
}

// `ours` and `theirs` are two open files: only ours does not block, because programs expect blocking streams.
static long make_pipe(int *ours, int *theirs, int we_write) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return -(long)errno;
  *ours = ends[we_write];
  *theirs = ends[!we_write];
  long result = tr_set_non_blocking(*ours, 1);
  if (result < 0) {
    close(ends[0]);
    close(ends[1]);
  }
  return result;
}

long tr_spawn_piped(const char *const *arguments, int ends[3]) {
  struct program program = {.arguments = arguments,
                            .environment = (const char *const *)environ,
                            .execute = execvpe};
  int made = 0;
  long result = 0;
  while (made < 3 && result >= 0) {
    result = make_pipe(&ends[made], &program.streams[made], made == 0);
    if (result >= 0) made++;
  }
  if (result >= 0) result = start(&program);
  for (int stream = 0; stream < made; stream++) {
    close(program.streams[stream]);
    if (result < 0) close(ends[stream]);
  }
  return result;
}

long tr_wait_child(int process, int *status) {
  long result = waitpid(process, status, WNOHANG);
  return result < 0 ? -(long)errno : result;
}
long tr_has_ended(int process) {
  siginfo_t info = {.si_pid = 0};
  if (waitid(P_PID, (id_t)process, &info, WEXITED | WNOHANG | WNOWAIT) < 0) return -(long)errno;
  return info.si_pid;
}
long tr_kill(int process, int signal) { return kill(process, signal) < 0 ? -(long)errno : 0; }
long tr_kill_group(int process, int signal) { return tr_kill(-process, signal); }

long tr_enter_network(int process) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/ns/net", process);
  int namespace = open(path, O_RDONLY | O_CLOEXEC);
  if (namespace < 0) return -(long)errno;
  long result = setns(namespace, CLONE_NEWNET) < 0 ? -(long)errno : 0;
  close(namespace);
  return result;
}
