// The text of a stored ACL, by libacl.
#include <acl/libacl.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/acl.h>

#include "CPosix.h"

// The value of system.posix_acl_access: linux/posix_acl_xattr.h. Numbers are little-endian.
enum { version = 2, header_bytes = 4, entry_bytes = 8 };

static int add_entry(acl_t *acl, unsigned tag, unsigned permissions, unsigned id) {
  acl_entry_t entry;
  acl_permset_t set;
  if (permissions > 7) return errno = EINVAL, -1;
  if (acl_create_entry(acl, &entry) || acl_set_tag_type(entry, (acl_tag_t)tag) || acl_get_permset(entry, &set) ||
      acl_clear_perms(set))
    return -1;
  if (permissions & 4 && acl_add_perm(set, ACL_READ)) return -1;
  if (permissions & 2 && acl_add_perm(set, ACL_WRITE)) return -1;
  if (permissions & 1 && acl_add_perm(set, ACL_EXECUTE)) return -1;
  if (acl_set_permset(entry, set)) return -1;
  return tag == ACL_USER || tag == ACL_GROUP ? acl_set_qualifier(entry, &id) : 0;
}

static uint32_t number(const unsigned char *bytes) {
  uint32_t value;
  memcpy(&value, bytes, sizeof value);
  return le32toh(value);
}

static acl_t decode(const unsigned char *value, size_t count) {
  if (count < header_bytes || (count - header_bytes) % entry_bytes || number(value) != version)
    return errno = EINVAL, (acl_t)NULL;
  acl_t acl = acl_init((int)((count - header_bytes) / entry_bytes));
  for (const unsigned char *at = value + header_bytes; acl && at < value + count; at += entry_bytes) {
    if (add_entry(&acl, at[0] | at[1] << 8, at[2] | at[3] << 8, number(at + 4))) {
      int error = errno;
      acl_free(acl);
      return errno = error, (acl_t)NULL;
    }
  }
  return acl;
}

long tr_acl_text(const void *value, size_t count, unsigned mode, const char *prefix, char **text) {
  acl_t acl = value ? decode(value, count) : acl_from_mode((mode_t)mode);
  if (!acl) return -(long)errno;
  char *made = acl_to_any_text(acl, prefix, '\n', TEXT_SOME_EFFECTIVE);
  int error = errno;
  acl_free(acl);
  if (!made) return -(long)error;
  // libacl's memory must be freed by libacl.
  *text = strdup(made);
  acl_free(made);
  return *text ? 0 : -(long)ENOMEM;
}
