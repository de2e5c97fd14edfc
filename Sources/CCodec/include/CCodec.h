// SHA-256 and encryption (libcrypto) and zstd (libzstd) as pure functions of bytes: no descriptor, no clock.
//
// The headers of libcrypto and libzstd include stdio. This header needs only the integer types, so the value layer
// stays free of the C library.
#ifndef CCODEC_H
#define CCODEC_H

#include <stddef.h>
#include <stdint.h>

typedef struct tr_hasher tr_hasher;
tr_hasher *tr_hasher_new(void);
void tr_hasher_free(tr_hasher *hasher);
/// Starts over. Every function of a hasher returns 0 if libcrypto fails.
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
/// Returns the decompressed size, or SIZE_MAX unless the input is exactly one zstd frame that fits.
size_t tr_decompress(void *to, size_t capacity, const void *from, size_t count);

/// The result of one step of a stream.
enum tr_stream_result {
  /// The requested work is done; for decompression, a frame has ended.
  TR_STREAM_DONE = 0,
  /// The step needs more input or more output space.
  TR_STREAM_MORE = 1,
  TR_STREAM_NO_MEMORY = -1,
  /// The input needs a larger window than the limit.
  TR_STREAM_WINDOW = -2,
  /// The input is damaged; for compression, a parameter is out of range.
  TR_STREAM_FAILED = -3,
};
/// The bytes of a step. It adds the number of read bytes to `consumed`, and of written bytes to `produced`.
struct tr_stream_step {
  const void *from;
  size_t count;
  size_t consumed;
  void *to;
  size_t capacity;
  size_t produced;
};
enum tr_stream_directive { TR_STREAM_CONTINUE, TR_STREAM_FLUSH, TR_STREAM_END };

typedef struct tr_stream_compressor tr_stream_compressor;
/// Makes frames with a checksum of their content; NULL if memory is lacking or a parameter is out of range.
tr_stream_compressor *tr_stream_compressor_new(int level, int window_log);
void tr_stream_compressor_free(tr_stream_compressor *compressor);
enum tr_stream_result tr_stream_compress(tr_stream_compressor *compressor, struct tr_stream_step *step,
                                         enum tr_stream_directive directive);

typedef struct tr_stream_decompressor tr_stream_decompressor;
/// NULL if memory is lacking or the parameter is out of range.
tr_stream_decompressor *tr_stream_decompressor_new(int maximum_window_log);
void tr_stream_decompressor_free(tr_stream_decompressor *decompressor);
/// Stops at the end of a frame. Must not be called again after a failure.
enum tr_stream_result tr_stream_decompress(tr_stream_decompressor *decompressor, struct tr_stream_step *step);

/// Encryption as in restic's repositories: AES-256 in counter mode, authenticated by Poly1305-AES.
///
/// A sealed text is a random nonce of 16 bytes, the ciphertext, and a code of 16 bytes. One thread at a time.
typedef struct tr_sealer tr_sealer;
enum { TR_SEAL_OVERHEAD = 32, TR_SEAL_KEY_BYTES = 64 };
/// The key is 32 bytes for AES-256, then 16 bytes `k` and 16 bytes `r` for Poly1305-AES. NULL if libcrypto fails.
tr_sealer *tr_sealer_new(const uint8_t key[TR_SEAL_KEY_BYTES]);
void tr_sealer_free(tr_sealer *sealer);
/// Seals `count` bytes into `count + TR_SEAL_OVERHEAD` bytes at `to`. Returns 0 if libcrypto fails.
int tr_seal(tr_sealer *sealer, uint8_t *to, const void *from, size_t count);
/// Opens a sealed text of `count` bytes into `count - TR_SEAL_OVERHEAD` bytes at `to`. Returns 0, and writes nothing,
/// if the code is wrong.
int tr_unseal(tr_sealer *sealer, uint8_t *to, const void *from, size_t count);
/// scrypt (RFC 7914) into a key. Returns 0 if a parameter is out of range, or more than `memory` bytes are needed.
int tr_scrypt(uint8_t key[TR_SEAL_KEY_BYTES], const void *password, size_t password_count, const void *salt,
              size_t salt_count, uint64_t n, uint64_t r, uint64_t p, uint64_t memory);
/// HMAC-SHA-256 (RFC 2104), for signatures of requests. Returns 0 if libcrypto fails.
int tr_hmac_sha256(uint8_t code[32], const void *key, size_t key_count, const void *bytes, size_t count);
/// MD5, which a server compares with what arrived; it protects nothing. Returns 0 if libcrypto fails.
int tr_md5(uint8_t digest[16], const void *bytes, size_t count);
/// Random bytes for keys. Returns 0 if libcrypto has none.
int tr_random_key(uint8_t *to, size_t count);
/// Overwrites a secret. The compiler cannot leave it out.
void tr_forget(void *secret, size_t count);

#endif
