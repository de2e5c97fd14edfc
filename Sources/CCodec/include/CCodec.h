// SHA-256 (libcrypto) and zstd (libzstd) as pure functions of bytes: no descriptor, no clock.
//
// libcrypto's and libzstd's own headers pull in stdio; this one needs only the integer types, so that
// the value layer stays free of the C library.
#ifndef CCODEC_H
#define CCODEC_H

#include <stddef.h>
#include <stdint.h>

typedef struct tr_hasher tr_hasher;
tr_hasher *tr_hasher_new(void);
void tr_hasher_free(tr_hasher *hasher);
/// Starts over. Every function of a hasher returns 0 where libcrypto fails.
int tr_hasher_reset(tr_hasher *hasher);
int tr_hasher_update(tr_hasher *hasher, const void *bytes, size_t count);
int tr_hasher_final(tr_hasher *hasher, uint8_t digest[32]);

typedef struct tr_compressor tr_compressor;
tr_compressor *tr_compressor_new(int level);
void tr_compressor_free(tr_compressor *compressor);
size_t tr_compress_bound(size_t count);
/// Returns the compressed size, or 0 on failure.
size_t tr_compress(tr_compressor *compressor, void *to, size_t capacity, const void *from,
                   size_t count);
/// Returns the decompressed size, or SIZE_MAX when the input is not one whole zstd frame that fits.
size_t tr_decompress(void *to, size_t capacity, const void *from, size_t count);

#endif
