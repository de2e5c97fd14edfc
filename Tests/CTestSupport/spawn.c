#define _GNU_SOURCE
#include "CTestSupport.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

pid_t ts_spawn(char *const argv[], char *const envp[], const char *directory, int in, int out, int err) {
  // After vfork(2) the parent waits until the child executes or ends, so the child may use this memory.
  pid_t child = vfork();
  if (child != 0) return child;
  for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  umask(022);
  if ((directory && chdir(directory) < 0) || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0) _exit(127);
  execve(argv[0], argv, envp);
  _exit(127);
}

int ts_wait(pid_t child, long milliseconds) {
  int status;
  struct pollfd ended = {.fd = (int)syscall(SYS_pidfd_open, child, 0), .events = POLLIN};
  if (ended.fd < 0) return -1;
  int ready;
  do ready = poll(&ended, 1, (int)milliseconds);
  while (ready < 0 && errno == EINTR);
  close(ended.fd);
  if (ready <= 0) return -1;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return -1;
  return status;
}
