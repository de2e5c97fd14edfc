#include "CCodec.h"

#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

struct tr_stream_compressor {
  ZSTD_CCtx *context;
};
struct tr_stream_decompressor {
  ZSTD_DCtx *context;
};

static enum tr_stream_result result_of(size_t code) {
  if (!ZSTD_isError(code)) return code == 0 ? TR_STREAM_DONE : TR_STREAM_MORE;
  switch (ZSTD_getErrorCode(code)) {
    case ZSTD_error_memory_allocation: return TR_STREAM_NO_MEMORY;
    case ZSTD_error_frameParameter_windowTooLarge: return TR_STREAM_WINDOW;
    default: return TR_STREAM_FAILED;
  }
}

tr_stream_compressor *tr_stream_compressor_new(int level, int window_log) {
  tr_stream_compressor *compressor = calloc(1, sizeof *compressor);
  if (!compressor) return NULL;
  compressor->context = ZSTD_createCCtx();
  if (!compressor->context ||
      ZSTD_isError(ZSTD_CCtx_setParameter(compressor->context, ZSTD_c_compressionLevel, level)) ||
      ZSTD_isError(ZSTD_CCtx_setParameter(compressor->context, ZSTD_c_windowLog, window_log)) ||
      ZSTD_isError(ZSTD_CCtx_setParameter(compressor->context, ZSTD_c_checksumFlag, 1))) {
    tr_stream_compressor_free(compressor);
    return NULL;
  }
  return compressor;
}
void tr_stream_compressor_free(tr_stream_compressor *compressor) {
  if (!compressor) return;
  ZSTD_freeCCtx(compressor->context);
  free(compressor);
}
enum tr_stream_result tr_stream_compress(tr_stream_compressor *compressor, struct tr_stream_step *step,
                                         enum tr_stream_directive directive) {
  static const ZSTD_EndDirective directives[] = {ZSTD_e_continue, ZSTD_e_flush, ZSTD_e_end};
  ZSTD_inBuffer in = {step->from, step->count, step->consumed};
  ZSTD_outBuffer out = {step->to, step->capacity, step->produced};
  size_t code = ZSTD_compressStream2(compressor->context, &out, &in, directives[directive]);
  step->consumed = in.pos;
  step->produced = out.pos;
  // ZSTD_e_continue returns an estimate of the buffered bytes, which are to stay buffered.
  if (directive == TR_STREAM_CONTINUE && !ZSTD_isError(code)) code = in.size - in.pos;
  return result_of(code);
}

tr_stream_decompressor *tr_stream_decompressor_new(int maximum_window_log) {
  tr_stream_decompressor *decompressor = calloc(1, sizeof *decompressor);
  if (!decompressor) return NULL;
  decompressor->context = ZSTD_createDCtx();
  if (!decompressor->context ||
      ZSTD_isError(ZSTD_DCtx_setParameter(decompressor->context, ZSTD_d_windowLogMax, maximum_window_log))) {
    tr_stream_decompressor_free(decompressor);
    return NULL;
  }
  return decompressor;
}
void tr_stream_decompressor_free(tr_stream_decompressor *decompressor) {
  if (!decompressor) return;
  ZSTD_freeDCtx(decompressor->context);
  free(decompressor);
}
enum tr_stream_result tr_stream_decompress(tr_stream_decompressor *decompressor, struct tr_stream_step *step) {
  ZSTD_inBuffer in = {step->from, step->count, step->consumed};
  ZSTD_outBuffer out = {step->to, step->capacity, step->produced};
  size_t code = ZSTD_decompressStream(decompressor->context, &out, &in);
  step->consumed = in.pos;
  step->produced = out.pos;
  return result_of(code);
}
