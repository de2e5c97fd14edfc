// One HTTP request through libcurl, which is loaded at its first use. If it were linked, its twenty libraries would
// cost every command some milliseconds at its start.
#ifndef CCURL_H
#define CCURL_H

#include <stddef.h>

struct tr_http_answer {
  /// The status of the last answer; 0 if none came.
  long status;
  /// The header Ping-Body-Limit of Healthchecks; -1 if it is missing.
  long body_limit;
  /// The error message; empty if there is no error.
  char error[512];
};

/// The reason why no request is possible; NULL if one is.
const char *tr_http_trouble(void);

/// Posts a body. Certificates and host names are always checked. Returns 0 if an answer came, with any status.
///
/// `headers` ends with NULL. `ca_file` replaces the system's certificates, unless it is NULL. `should_stop` is called
/// several times a second, unless it is NULL. A result other than 0 ends the request with an error.
int tr_http_post(
    const char *url, const char *const *headers, const void *body, size_t count, const char *user_agent,
    const char *ca_file, long timeout_milliseconds, int (*should_stop)(void), struct tr_http_answer *answer);

#endif
