// SPDX-License-Identifier: Apache-2.0
/* OpenSSL's two libraries, as base/, remote/ and rpc/ call them. */
#include "lazy/bind.h"
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

/* Client certificates, in the sessions that libcurl opens (remote/tls.c). */
#define LIBRARY "libssl.so.3"
FORWARD(void, SSL_CTX_set_cert_cb, (SSL_CTX * ctx, int (*fn)(SSL *ssl, void *data), void *data),
        (ctx, fn, data))
FORWARD(int, SSL_use_cert_and_key,
        (SSL * ssl, X509 *cert, EVP_PKEY *key, STACK_OF(X509) * chain, int override),
        (ssl, cert, key, chain, override))
FORWARD(const STACK_OF(X509_NAME) *, SSL_get0_peer_CA_list, (const SSL *ssl), (ssl))

/* The server's side (rpc/tls.c). */
FORWARD(int, SSL_CTX_add_client_CA, (SSL_CTX * ctx, X509 *cert), (ctx, cert))
FORWARD(int, SSL_CTX_check_private_key, (const SSL_CTX *ctx), (ctx))
FORWARD(long, SSL_CTX_ctrl, (SSL_CTX * ctx, int cmd, long number, void *data), (ctx, cmd, number, data))
FORWARD(void, SSL_CTX_free, (SSL_CTX * ctx), (ctx))
FORWARD(X509_STORE *, SSL_CTX_get_cert_store, (const SSL_CTX *ctx), (ctx))
FORWARD(SSL_CTX *, SSL_CTX_new, (const SSL_METHOD *method), (method))
FORWARD(void, SSL_CTX_set_alpn_select_cb, (SSL_CTX * ctx, SSL_CTX_alpn_select_cb_func fn, void *data),
        (ctx, fn, data))
FORWARD(int, SSL_CTX_set_cipher_list, (SSL_CTX * ctx, const char *list), (ctx, list))
FORWARD(int, SSL_CTX_set_num_tickets, (SSL_CTX * ctx, size_t n), (ctx, n))
FORWARD(uint64_t, SSL_CTX_set_options, (SSL_CTX * ctx, uint64_t options), (ctx, options))
FORWARD(void, SSL_CTX_set_verify, (SSL_CTX * ctx, int mode, SSL_verify_cb fn), (ctx, mode, fn))
FORWARD(int, SSL_CTX_use_PrivateKey, (SSL_CTX * ctx, EVP_PKEY *key), (ctx, key))
FORWARD(int, SSL_CTX_use_certificate, (SSL_CTX * ctx, X509 *cert), (ctx, cert))
FORWARD(void, SSL_free, (SSL * ssl), (ssl))
FORWARD(void, SSL_get0_alpn_selected, (const SSL *ssl, const unsigned char **name, unsigned int *len),
        (ssl, name, len))
FORWARD(int, SSL_get_error, (const SSL *ssl, int result), (ssl, result))
FORWARD(BIO *, SSL_get_rbio, (const SSL *ssl), (ssl))
FORWARD(BIO *, SSL_get_wbio, (const SSL *ssl), (ssl))
FORWARD(int, SSL_is_init_finished, (const SSL *ssl), (ssl))
FORWARD(SSL *, SSL_new, (SSL_CTX * ctx), (ctx))
FORWARD(int, SSL_read, (SSL * ssl, void *data, int len), (ssl, data, len))
FORWARD(void, SSL_set_accept_state, (SSL * ssl), (ssl))
FORWARD(void, SSL_set_bio, (SSL * ssl, BIO *in, BIO *out), (ssl, in, out))
FORWARD(int, SSL_write, (SSL * ssl, const void *data, int len), (ssl, data, len))
FORWARD(const SSL_METHOD *, TLS_server_method, (void), ())

/* Digests (base/digester.c) and certificates (remote/tls.c, rpc/tls.c). */
#undef LIBRARY
#define LIBRARY "libcrypto.so.3"
FORWARD(EVP_MD *, EVP_MD_fetch, (OSSL_LIB_CTX * ctx, const char *name, const char *properties),
        (ctx, name, properties))
FORWARD(EVP_MD_CTX *, EVP_MD_CTX_new, (void), ())
FORWARD(void, EVP_MD_CTX_free, (EVP_MD_CTX * ctx), (ctx))
FORWARD(int, EVP_MD_CTX_copy_ex, (EVP_MD_CTX * out, const EVP_MD_CTX *in), (out, in))
FORWARD(int, EVP_DigestInit_ex, (EVP_MD_CTX * ctx, const EVP_MD *type, ENGINE *impl), (ctx, type, impl))
FORWARD(int, EVP_DigestUpdate, (EVP_MD_CTX * ctx, const void *data, size_t len), (ctx, data, len))
FORWARD(int, EVP_DigestFinal_ex, (EVP_MD_CTX * ctx, unsigned char *sum, unsigned *len), (ctx, sum, len))
FORWARD(void, EVP_PKEY_free, (EVP_PKEY * key), (key))
FORWARD(BIO *, BIO_new_mem_buf, (const void *data, int len), (data, len))
FORWARD(int, BIO_free, (BIO * bio), (bio))
FORWARD(void, ERR_clear_error, (void), ())
FORWARD(EVP_PKEY *, PEM_read_bio_PrivateKey, (BIO * bio, EVP_PKEY **key, pem_password_cb *ask, void *data),
        (bio, key, ask, data))
FORWARD(X509 *, PEM_read_bio_X509, (BIO * bio, X509 **cert, pem_password_cb *ask, void *data),
        (bio, cert, ask, data))
FORWARD(X509 *, PEM_read_bio_X509_AUX, (BIO * bio, X509 **cert, pem_password_cb *ask, void *data),
        (bio, cert, ask, data))
FORWARD(int, X509_NAME_cmp, (const X509_NAME *a, const X509_NAME *b), (a, b))
FORWARD(int, X509_check_private_key, (const X509 *cert, const EVP_PKEY *key), (cert, key))
FORWARD(void, X509_free, (X509 * cert), (cert))
FORWARD(X509_NAME *, X509_get_issuer_name, (const X509 *cert), (cert))
FORWARD(OPENSSL_STACK *, OPENSSL_sk_new_null, (void), ())
FORWARD(int, OPENSSL_sk_num, (const OPENSSL_STACK *stack), (stack))
FORWARD(void, OPENSSL_sk_pop_free, (OPENSSL_STACK * stack, void (*fn)(void *)), (stack, fn))
FORWARD(int, OPENSSL_sk_push, (OPENSSL_STACK * stack, const void *data), (stack, data))
FORWARD(void *, OPENSSL_sk_value, (const OPENSSL_STACK *stack, int i), (stack, i))
FORWARD(long, BIO_ctrl, (BIO * bio, int cmd, long number, void *data), (bio, cmd, number, data))
FORWARD(BIO *, BIO_new, (const BIO_METHOD *method), (method))
FORWARD(int, BIO_read, (BIO * bio, void *data, int len), (bio, data, len))
FORWARD(const BIO_METHOD *, BIO_s_mem, (void), ())
FORWARD(int, BIO_write, (BIO * bio, const void *data, int len), (bio, data, len))
FORWARD(unsigned long, ERR_peek_error, (void), ())
FORWARD(const char *, ERR_reason_error_string, (unsigned long code), (code))
FORWARD(int, X509_STORE_add_cert, (X509_STORE * store, X509 *cert), (store, cert))
