// One HTTP request through libcurl, which is loaded when it is first needed: linked, its twenty libraries would
// cost every command some milliseconds at its start.
#ifndef CCURL_H
#define CCURL_H

#include <stddef.h>

struct tr_http_answer {
  /// The status of the last answer; 0 where none came.
  long status;
  /// The header Ping-Body-Limit of Healthchecks; -1 where it was not there.
  long body_limit;
  /// What went wrong; empty where nothing did.
  char error[512];
};

/// Why no request can be made; NULL where one can.
const char *tr_http_trouble(void);

/// Posts a body. Certificates and host names are always checked. Returns 0 where an answer came, whatever its status.
///
/// `headers` ends with NULL; `ca_file` replaces the system's certificates, unless it is NULL; `should_stop` is asked
/// several times a second, unless it is NULL; once it is not 0, the request ends with an error.
int tr_http_post(
    const char *url, const char *const *headers, const void *body, size_t count, const char *user_agent,
    const char *ca_file, long timeout_milliseconds, int (*should_stop)(void), struct tr_http_answer *answer);

#endif
