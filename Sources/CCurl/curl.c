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
  curl.easy_setopt(handle, CURLOPT_USERAGENT, user_agent);
  curl.easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 1L);
  curl.easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 2L);
  if (ca_file != NULL) curl.easy_setopt(handle, CURLOPT_CAINFO, ca_file);
  curl.easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl.easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  curl.easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  // After the timeout, nothing waits for a name server that does not answer.
  curl.easy_setopt(handle, CURLOPT_QUICK_EXIT, 1L);
  curl.easy_setopt(handle, CURLOPT_TIMEOUT_MS, timeout_milliseconds);
  curl.easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, timeout_milliseconds);
  curl.easy_setopt(handle, CURLOPT_WRITEFUNCTION, count_body);
  curl.easy_setopt(handle, CURLOPT_WRITEDATA, &received);
  curl.easy_setopt(handle, CURLOPT_HEADERFUNCTION, read_header);
  curl.easy_setopt(handle, CURLOPT_HEADERDATA, answer);
  if (should_stop != NULL) {
    curl.easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
    curl.easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, progress);
    curl.easy_setopt(handle, CURLOPT_XFERINFODATA, &should_stop);
  }
  CURLcode result = curl.easy_perform(handle);
  curl.easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &answer->status);
  if (received > longest_answer)
    snprintf(answer->error, sizeof answer->error, "the server's answer is too long");
  else if (result != CURLE_OK)
    snprintf(answer->error, sizeof answer->error, "%s", buffer[0] ? buffer : curl.easy_strerror(result));
  curl.slist_free_all(list);
  curl.easy_cleanup(handle);
  return result == CURLE_OK ? 0 : -1;
}
