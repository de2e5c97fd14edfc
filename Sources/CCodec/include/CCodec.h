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

/// What a step of a stream came to.
enum tr_stream_result {
  /// Everything that was asked for is done; of decompression: a frame has ended.
  TR_STREAM_DONE = 0,
  /// There is more to do, with more input or more room.
  TR_STREAM_MORE = 1,
  TR_STREAM_NO_MEMORY = -1,
  /// The input asks for a larger window than is allowed.
  TR_STREAM_WINDOW = -2,
  /// The input is damaged; of compression: a parameter is out of range.
  TR_STREAM_FAILED = -3,
};
/// The bytes of a step: what was used and what was made is added to `consumed` and `produced`.
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
/// Frames of a stream with a checksum of their content; NULL where there is no memory or a parameter is out of range.
tr_stream_compressor *tr_stream_compressor_new(int level, int window_log);
void tr_stream_compressor_free(tr_stream_compressor *compressor);
enum tr_stream_result tr_stream_compress(tr_stream_compressor *compressor, struct tr_stream_step *step,
                                         enum tr_stream_directive directive);

typedef struct tr_stream_decompressor tr_stream_decompressor;
/// NULL as above.
tr_stream_decompressor *tr_stream_decompressor_new(int maximum_window_log);
void tr_stream_decompressor_free(tr_stream_decompressor *decompressor);
/// Stops at the end of a frame. Must not be called again after a failure.
enum tr_stream_result tr_stream_decompress(tr_stream_decompressor *decompressor, struct tr_stream_step *step);

#endif
