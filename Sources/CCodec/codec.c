#include "CCodec.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <zstd.h>

struct tr_hasher {
  EVP_MD *algorithm;
  EVP_MD_CTX *context;
};

tr_hasher *tr_hasher_new(void) {
  tr_hasher *hasher = calloc(1, sizeof *hasher);
  if (!hasher) return NULL;
  // Fetched once: EVP_sha256() would repeat the lookup of the algorithm at every reset.
  hasher->algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
  hasher->context = EVP_MD_CTX_new();
  if (!hasher->algorithm || !hasher->context || !tr_hasher_reset(hasher)) {
    tr_hasher_free(hasher);
    return NULL;
  }
  return hasher;
}
void tr_hasher_free(tr_hasher *hasher) {
  if (!hasher) return;
  EVP_MD_CTX_free(hasher->context);
  EVP_MD_free(hasher->algorithm);
  free(hasher);
}
int tr_hasher_reset(tr_hasher *hasher) {
  return EVP_DigestInit_ex2(hasher->context, hasher->algorithm, NULL) == 1;
}
int tr_hasher_update(tr_hasher *hasher, const void *bytes, size_t count) {
  return EVP_DigestUpdate(hasher->context, bytes, count) == 1;
}
int tr_hasher_final(tr_hasher *hasher, uint8_t digest[32]) {
  return EVP_DigestFinal_ex(hasher->context, digest, NULL) == 1;
}

struct tr_compressor {
  ZSTD_CCtx *context;
  int level;
};

tr_compressor *tr_compressor_new(int level) {
  tr_compressor *compressor = calloc(1, sizeof *compressor);
  if (!compressor) return NULL;
  compressor->level = level;
  compressor->context = ZSTD_createCCtx();
  if (!compressor->context) {
    free(compressor);
    return NULL;
  }
  return compressor;
}
void tr_compressor_free(tr_compressor *compressor) {
  if (!compressor) return;
  ZSTD_freeCCtx(compressor->context);
  free(compressor);
}
size_t tr_compress_bound(size_t count) { return ZSTD_compressBound(count); }
size_t tr_compress(tr_compressor *compressor, void *to, size_t capacity, const void *from,
                   size_t count) {
  size_t size = ZSTD_compressCCtx(compressor->context, to, capacity, from, count,
                                  compressor->level);
  return ZSTD_isError(size) ? 0 : size;
}
size_t tr_decompress(void *to, size_t capacity, const void *from, size_t count) {
  size_t size = ZSTD_decompress(to, capacity, from, count);
  return ZSTD_isError(size) ? SIZE_MAX : size;
}
