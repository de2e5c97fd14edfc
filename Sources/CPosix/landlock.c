// Landlock, see landlock(7). glibc has no wrappers, and linux/landlock.h may be older than the kernel.
#define _GNU_SOURCE
#include "CPosix.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// The system call numbers are the same on every architecture that treering supports.
enum { CREATE_RULESET = 444, ADD_RULE = 445, RESTRICT_SELF = 446 };
enum { CREATE_RULESET_VERSION = 1, RULE_PATH_BENEATH = 1 };

struct ruleset {
  uint64_t file_rights;
  uint64_t network_rights;  // a kernel before version 4 accepts only 0
};
struct path_beneath {
  uint64_t rights;
  int32_t directory;
} __attribute__((packed));

// The rights from LANDLOCK_ACCESS_FS_EXECUTE, bit 0, on; each version of the kernel's interface appends its own.
static uint64_t file_rights(int abi) {
  uint64_t rights = (1ULL << 13) - 1;  // up to MAKE_SYM
  if (abi >= 2) rights |= 1ULL << 13;  // REFER: link and rename into another directory
  if (abi >= 3) rights |= 1ULL << 14;  // TRUNCATE
  if (abi >= 5) rights |= 1ULL << 15;  // IOCTL_DEV: only of device files, so FICLONE is unaffected
  return rights;
}

long tr_landlock_abi(void) {
  long result = syscall(CREATE_RULESET, NULL, (size_t)0, CREATE_RULESET_VERSION);
  return result < 0 ? -(long)errno : result;
}

long tr_landlock_confine(const int *directories, size_t count, int abi) {
  // The kernel requires this, so that no set-user-ID program runs in unexpected surroundings.
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -(long)errno;
  struct ruleset handled = {.file_rights = file_rights(abi),
                            .network_rights = abi >= 4 ? 3 : 0};  // BIND_TCP and CONNECT_TCP
  int ruleset = (int)syscall(CREATE_RULESET, &handled, sizeof handled, 0);
  if (ruleset < 0) return -(long)errno;
  long result = 0;
  for (size_t index = 0; index < count && result == 0; index++) {
    struct path_beneath rule = {.rights = handled.file_rights, .directory = directories[index]};
    if (syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, &rule, 0) < 0) result = -(long)errno;
  }
  if (result == 0 && syscall(RESTRICT_SELF, ruleset, 0) < 0) result = -(long)errno;
  close(ruleset);
  return result;
}
