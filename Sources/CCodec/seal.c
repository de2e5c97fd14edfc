#include "CCodec.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

enum { NONCE = 16, CODE = 16 };

struct tr_sealer {
  EVP_CIPHER_CTX *cipher;
  /// AES-128 with `k`, one block at a time: it turns a nonce into the second half of Poly1305's key.
  EVP_CIPHER_CTX *nonce_cipher;
  EVP_MAC_CTX *mac;
  uint8_t key[32];
  uint8_t r[16];
};

tr_sealer *tr_sealer_new(const uint8_t key[TR_SEAL_KEY_BYTES]) {
  tr_sealer *sealer = calloc(1, sizeof *sealer);
  if (!sealer) return NULL;
  memcpy(sealer->key, key, 32);
  memcpy(sealer->r, key + 48, 16);
  EVP_MAC *poly1305 = EVP_MAC_fetch(NULL, "POLY1305", NULL);
  if (poly1305) sealer->mac = EVP_MAC_CTX_new(poly1305);
  EVP_MAC_free(poly1305);
  sealer->cipher = EVP_CIPHER_CTX_new();
  sealer->nonce_cipher = EVP_CIPHER_CTX_new();
  if (!sealer->mac || !sealer->cipher || !sealer->nonce_cipher ||
      EVP_EncryptInit_ex2(sealer->cipher, EVP_aes_256_ctr(), sealer->key, NULL, NULL) != 1 ||
      EVP_EncryptInit_ex2(sealer->nonce_cipher, EVP_aes_128_ecb(), key + 32, NULL, NULL) != 1 ||
      EVP_CIPHER_CTX_set_padding(sealer->nonce_cipher, 0) != 1) {
    tr_sealer_free(sealer);
    return NULL;
  }
  return sealer;
}
void tr_sealer_free(tr_sealer *sealer) {
  if (!sealer) return;
  EVP_CIPHER_CTX_free(sealer->cipher);
  EVP_CIPHER_CTX_free(sealer->nonce_cipher);
  EVP_MAC_CTX_free(sealer->mac);
  OPENSSL_cleanse(sealer, sizeof *sealer);
  free(sealer);
}

/// EVP's lengths are ints, so a long text takes several calls.
static int encrypt(tr_sealer *sealer, const uint8_t nonce[NONCE], uint8_t *to, const uint8_t *from, size_t count) {
  if (EVP_EncryptInit_ex2(sealer->cipher, NULL, NULL, nonce, NULL) != 1) return 0;
  while (count > 0) {
    int part = count < (1 << 30) ? (int)count : 1 << 30, done = 0;
    if (EVP_EncryptUpdate(sealer->cipher, to, &done, from, part) != 1 || done != part) return 0;
    to += part;
    from += part;
    count -= (size_t)part;
  }
  return 1;
}

static int authenticate(tr_sealer *sealer, const uint8_t nonce[NONCE], const uint8_t *text, size_t count,
                        uint8_t code[CODE]) {
  uint8_t key[32];
  int done = 0;
  size_t size = 0;
  memcpy(key, sealer->r, 16);
  int right = EVP_EncryptUpdate(sealer->nonce_cipher, key + 16, &done, nonce, NONCE) == 1 && done == 16 &&
              EVP_MAC_init(sealer->mac, key, sizeof key, NULL) == 1 &&
              EVP_MAC_update(sealer->mac, text, count) == 1 &&
              EVP_MAC_final(sealer->mac, code, &size, CODE) == 1 && size == CODE;
  OPENSSL_cleanse(key, sizeof key);
  return right;
}

int tr_seal(tr_sealer *sealer, uint8_t *to, const void *from, size_t count) {
  return RAND_bytes(to, NONCE) == 1 && encrypt(sealer, to, to + NONCE, from, count) &&
         authenticate(sealer, to, to + NONCE, count, to + NONCE + count);
}

int tr_unseal(tr_sealer *sealer, uint8_t *to, const void *from, size_t count) {
  if (count < TR_SEAL_OVERHEAD) return 0;
  const uint8_t *sealed = from;
  size_t plain = count - TR_SEAL_OVERHEAD;
  uint8_t code[CODE];
  if (!authenticate(sealer, sealed, sealed + NONCE, plain, code)) return 0;
  if (CRYPTO_memcmp(code, sealed + NONCE + plain, CODE) != 0) return 0;
  return encrypt(sealer, sealed, to, sealed + NONCE, plain);
}

int tr_scrypt(uint8_t key[TR_SEAL_KEY_BYTES], const void *password, size_t password_count, const void *salt,
              size_t salt_count, uint64_t n, uint64_t r, uint64_t p, uint64_t memory) {
  return EVP_PBE_scrypt(password, password_count, salt, salt_count, n, r, p, memory, key, TR_SEAL_KEY_BYTES) == 1;
}

int tr_random_key(uint8_t *to, size_t count) {
  while (count > 0) {
    int part = count < (1 << 30) ? (int)count : 1 << 30;
    if (RAND_priv_bytes(to, part) != 1) return 0;
    to += part;
    count -= (size_t)part;
  }
  return 1;
}

void tr_forget(void *secret, size_t count) { OPENSSL_cleanse(secret, count); }

int tr_hmac_sha256(uint8_t code[32], const void *key, size_t key_count, const void *bytes, size_t count) {
  size_t written = 0;
  return EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key_count > 0 ? key : "", key_count, bytes, count, code, 32,
                   &written) != NULL &&
         written == 32;
}

int tr_md5(uint8_t digest[16], const void *bytes, size_t count) {
  size_t written = 0;
  return EVP_Q_digest(NULL, "MD5", NULL, bytes, count, digest, &written) == 1 && written == 16;
}
