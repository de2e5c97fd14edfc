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
  /// 1 if the server's certificate was refused: another attempt would end in the same way.
  int is_refused;
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

/// A libcurl handle, whose connection is kept for the next request. One thread at a time.
typedef struct tr_http_session tr_http_session;
/// NULL if no request is possible.
tr_http_session *tr_http_session_new(void);
void tr_http_session_free(tr_http_session *session);

struct tr_http_request {
  const char *method;
  const char *url;
  /// Ends with NULL.
  const char *const *headers;
  const void *body;
  size_t count;
  const char *user_agent;
  /// Replaces the system's certificates, unless it is NULL.
  const char *ca_file;
  long connect_milliseconds;
  /// The longest time without a byte.
  long stall_seconds;
  /// The longest time of all; 0 for no limit.
  long timeout_milliseconds;
  size_t longest_answer;
  /// A result other than 0 ends the request; not called if it is NULL.
  int (*should_stop)(void);
};

enum tr_http_end {
  /// An answer came, with any status.
  TR_HTTP_ANSWERED,
  /// The server was not reached, and has seen nothing of the request.
  TR_HTTP_UNREACHED,
  /// The connection broke; the server may have done what was asked.
  TR_HTTP_BROKEN,
  /// Another attempt has the same end, as with a wrong certificate.
  TR_HTTP_REFUSED,
};

struct tr_http_reply {
  enum tr_http_end end;
  long status;
  /// The body and the header lines; they belong to the session, until its next request.
  const char *body;
  size_t body_count;
  const char *headers;
  size_t headers_count;
  char error[512];
};

/// Sends a request and waits for the answer. Certificates and host names are always checked. No redirection is followed.
void tr_http_send(tr_http_session *session, const struct tr_http_request *request, struct tr_http_reply *reply);
/// Frees the memory of the last answer's body if it is larger than `capacity`.
void tr_http_session_trim(tr_http_session *session, size_t capacity);

#endif
