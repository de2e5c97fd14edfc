#include "CCurl.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static struct {
  CURLcode (*global_init)(long);
  CURL *(*easy_init)(void);
  CURLcode (*easy_setopt)(CURL *, CURLoption, ...);
  CURLcode (*easy_perform)(CURL *);
  CURLcode (*easy_getinfo)(CURL *, CURLINFO, ...);
  void (*easy_cleanup)(CURL *);
  void (*easy_reset)(CURL *);
  const char *(*easy_strerror)(CURLcode);
  struct curl_slist *(*slist_append)(struct curl_slist *, const char *);
  void (*slist_free_all)(struct curl_slist *);
} curl;
static const char *load_error;

static void load(void) {
  void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    load_error = "libcurl.so.4 cannot be loaded; install it with: apt-get install libcurl4";
    return;
  }
#define FIND(name) \
  if ((*(void **)&curl.name = dlsym(library, "curl_" #name)) == NULL) load_error = "libcurl lacks curl_" #name
  FIND(global_init);
  FIND(easy_init);
  FIND(easy_setopt);
  FIND(easy_perform);
  FIND(easy_getinfo);
  FIND(easy_cleanup);
  FIND(easy_reset);
  FIND(easy_strerror);
  FIND(slist_append);
  FIND(slist_free_all);
  if (load_error == NULL && curl.global_init(CURL_GLOBAL_DEFAULT) != 0) load_error = "libcurl cannot be started";
}

// Only the status of the server's answer matters; a longer body is refused.
static const size_t longest_answer = 65536;
static size_t count_body(char *bytes, size_t size, size_t count, void *total) {
  (void)bytes;
  *(size_t *)total += size * count;
  return *(size_t *)total > longest_answer ? 0 : size * count;
}
static size_t read_header(char *bytes, size_t size, size_t count, void *answer) {
  static const char name[] = "Ping-Body-Limit:";
  size_t length = size * count;
  if (length >= sizeof name && length < 100 && strncasecmp(bytes, name, sizeof name - 1) == 0) {
    char value[100] = {0};
    memcpy(value, bytes + sizeof name - 1, length - (sizeof name - 1));
    long limit = strtol(value, NULL, 10);
    if (limit >= 0) ((struct tr_http_answer *)answer)->body_limit = limit;
  }
  return length;
}
static int progress(void *should_stop, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
  (void)a, (void)b, (void)c, (void)d;
  return (*(int (**)(void))should_stop)();
}

const char *tr_http_trouble(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, load);
  return load_error;
}

static void set_common(CURL *handle, const char *user_agent, const char *ca_file) {
  curl.easy_setopt(handle, CURLOPT_USERAGENT, user_agent);
  curl.easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 1L);
  curl.easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 2L);
  if (ca_file != NULL) curl.easy_setopt(handle, CURLOPT_CAINFO, ca_file);
  curl.easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl.easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  curl.easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  // After the timeout, nothing waits for a name server that does not answer.
  curl.easy_setopt(handle, CURLOPT_QUICK_EXIT, 1L);
}
// The pointer must live as long as the request.
static void set_stop(CURL *handle, int (*const *should_stop)(void)) {
  if (*should_stop == NULL) return;
  curl.easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
  curl.easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, progress);
  curl.easy_setopt(handle, CURLOPT_XFERINFODATA, should_stop);
}

int tr_http_post(
    const char *url, const char *const *headers, const void *body, size_t count, const char *user_agent,
    const char *ca_file, long timeout_milliseconds, int (*should_stop)(void), struct tr_http_answer *answer) {
  memset(answer, 0, sizeof *answer);
  answer->body_limit = -1;
  const char *trouble = tr_http_trouble();
  CURL *handle = trouble == NULL ? curl.easy_init() : NULL;
  if (handle == NULL) {
    snprintf(answer->error, sizeof answer->error, "%s", trouble ? trouble : "out of memory");
    return -1;
  }
  char buffer[CURL_ERROR_SIZE] = {0};
  size_t received = 0;
  struct curl_slist *list = NULL;
  // Sends no "Expect: 100-continue": a server that does not know it would cost a second.
  list = curl.slist_append(list, "Expect:");
  for (; *headers != NULL; headers++) list = curl.slist_append(list, *headers);
  curl.easy_setopt(handle, CURLOPT_ERRORBUFFER, buffer);
  curl.easy_setopt(handle, CURLOPT_URL, url);
  curl.easy_setopt(handle, CURLOPT_HTTPHEADER, list);
  curl.easy_setopt(handle, CURLOPT_POST, 1L);
  curl.easy_setopt(handle, CURLOPT_POSTFIELDS, body);
  curl.easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)count);
  set_common(handle, user_agent, ca_file);
  curl.easy_setopt(handle, CURLOPT_TIMEOUT_MS, timeout_milliseconds);
  curl.easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, timeout_milliseconds);
  curl.easy_setopt(handle, CURLOPT_WRITEFUNCTION, count_body);
  curl.easy_setopt(handle, CURLOPT_WRITEDATA, &received);
  curl.easy_setopt(handle, CURLOPT_HEADERFUNCTION, read_header);
  curl.easy_setopt(handle, CURLOPT_HEADERDATA, answer);
  set_stop(handle, &should_stop);
  CURLcode result = curl.easy_perform(handle);
  curl.easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &answer->status);
  answer->is_refused = result == CURLE_PEER_FAILED_VERIFICATION || result == CURLE_SSL_CACERT_BADFILE;
  if (received > longest_answer)
    snprintf(answer->error, sizeof answer->error, "the server's answer is too long");
  else if (result != CURLE_OK)
    snprintf(answer->error, sizeof answer->error, "%s", buffer[0] ? buffer : curl.easy_strerror(result));
  curl.slist_free_all(list);
  curl.easy_cleanup(handle);
  return result == CURLE_OK ? 0 : -1;
}

struct bytes {
  char *start;
  size_t count, capacity, limit;
};
struct tr_http_session {
  CURL *handle;
  struct bytes body, headers;
};

static size_t append(char *from, size_t size, size_t number, void *to) {
  struct bytes *bytes = to;
  size_t count = size * number;
  if (count > bytes->limit - bytes->count) return 0;
  if (count > bytes->capacity - bytes->count) {
    size_t capacity = (bytes->count + count) * 2;
    char *start = realloc(bytes->start, capacity);
    if (start == NULL) return 0;
    bytes->start = start;
    bytes->capacity = capacity;
  }
  memcpy(bytes->start + bytes->count, from, count);
  bytes->count += count;
  return count;
}
static size_t append_header(char *from, size_t size, size_t number, void *to) {
  // A status line begins the headers of another answer, such as the one after "100 Continue".
  if (size * number > 5 && memcmp(from, "HTTP/", 5) == 0) ((struct bytes *)to)->count = 0;
  return append(from, size, number, to);
}

tr_http_session *tr_http_session_new(void) {
  if (tr_http_trouble() != NULL) return NULL;
  tr_http_session *session = calloc(1, sizeof *session);
  if (session != NULL && (session->handle = curl.easy_init()) == NULL) {
    free(session);
    return NULL;
  }
  return session;
}

void tr_http_session_free(tr_http_session *session) {
  curl.easy_cleanup(session->handle);
  free(session->body.start);
  free(session->headers.start);
  free(session);
}

void tr_http_session_trim(tr_http_session *session, size_t capacity) {
  if (session->body.capacity <= capacity) return;
  free(session->body.start);
  memset(&session->body, 0, sizeof session->body);
}

static enum tr_http_end end_of(CURLcode result) {
  switch (result) {
    case CURLE_OK: return TR_HTTP_ANSWERED;
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT: return TR_HTTP_UNREACHED;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_WRITE_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR: return TR_HTTP_REFUSED;
    default: return TR_HTTP_BROKEN;
  }
}

void tr_http_send(tr_http_session *session, const struct tr_http_request *request, struct tr_http_reply *reply) {
  memset(reply, 0, sizeof *reply);
  CURL *handle = session->handle;
  // The connection stays open.
  curl.easy_reset(handle);
  char buffer[CURL_ERROR_SIZE] = {0};
  struct curl_slist *list = curl.slist_append(NULL, "Expect:");
  for (const char *const *header = request->headers; *header != NULL; header++)
    list = curl.slist_append(list, *header);
  session->body.count = session->headers.count = 0;
  session->body.limit = request->longest_answer;
  session->headers.limit = 1 << 16;
  set_common(handle, request->user_agent, request->ca_file);
  set_stop(handle, &request->should_stop);
  curl.easy_setopt(handle, CURLOPT_ERRORBUFFER, buffer);
  curl.easy_setopt(handle, CURLOPT_URL, request->url);
  curl.easy_setopt(handle, CURLOPT_HTTPHEADER, list);
  curl.easy_setopt(handle, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  if (strcmp(request->method, "HEAD") == 0) {
    curl.easy_setopt(handle, CURLOPT_NOBODY, 1L);
  } else if (strcmp(request->method, "PUT") == 0 || strcmp(request->method, "POST") == 0) {
    curl.easy_setopt(handle, CURLOPT_POST, 1L);
    curl.easy_setopt(handle, CURLOPT_POSTFIELDS, request->count > 0 ? request->body : "");
    curl.easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->count);
    curl.easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request->method);
  } else {
    curl.easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request->method);
  }
  curl.easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, request->connect_milliseconds);
  curl.easy_setopt(handle, CURLOPT_TIMEOUT_MS, request->timeout_milliseconds);
  curl.easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl.easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, request->stall_seconds);
  curl.easy_setopt(handle, CURLOPT_WRITEFUNCTION, append);
  curl.easy_setopt(handle, CURLOPT_WRITEDATA, &session->body);
  curl.easy_setopt(handle, CURLOPT_HEADERFUNCTION, append_header);
  curl.easy_setopt(handle, CURLOPT_HEADERDATA, &session->headers);
  CURLcode result = curl.easy_perform(handle);
  curl.easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &reply->status);
  reply->end = end_of(result);
  if (result == CURLE_WRITE_ERROR)
    snprintf(reply->error, sizeof reply->error, "the server's answer is too long");
  else if (result != CURLE_OK)
    snprintf(reply->error, sizeof reply->error, "%s", buffer[0] ? buffer : curl.easy_strerror(result));
  reply->body = session->body.start;
  reply->body_count = session->body.count;
  reply->headers = session->headers.start;
  reply->headers_count = session->headers.count;
  curl.slist_free_all(list);
}
