#ifndef CTESTSUPPORT_H
#define CTESTSUPPORT_H

#include <stddef.h>
#include <sys/types.h>

/// Describes a tree in one walk, without a process for each tool: two strings for each entry, each with its NUL.
///
/// The first is the path below `root`. The second has all that must never change of a published entry: kind, mode,
/// owner, modification time, size, inode, blocks, device, link target, extended attributes, and a digest of the content.
/// Paths of any length are walked. `*text` is the caller's to free. Returns 0 or an error number.
int ts_describe_tree(const char *root, char **text, size_t *length);

/// Starts a program with the mask 022, default signals, and the three standard streams.
///
/// `directory` may be NULL. Returns the process or -1 with errno; a failure of the child itself is its status 127.
pid_t ts_spawn(char *const argv[], char *const envp[], const char *directory, int in, int out, int err);

/// Waits for the end of a child; returns its wait status, or -1 after `milliseconds`.
int ts_wait(pid_t child, long milliseconds);

#endif
