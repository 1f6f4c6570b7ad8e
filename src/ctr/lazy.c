// SPDX-License-Identifier: Apache-2.0
/*
 * Libraries that most commands of ctr never call, bound at the first use instead of at the start, where the
 * dynamic linker would spend three quarters of the time of a short command on them: libcurl with the thirty
 * that it needs, and OpenSSL, zstd, ISA-L and zlib, as far as base/, diff/ and remote/ call them. The linker
 * finds the functions here and leaves the libraries out (--as-needed).
 */
#include "ctr/remote.h"
#include <curl/curl.h>
#include <dlfcn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>
#if __has_include(<isa-l/igzip_lib.h>)
#include <isa-l/igzip_lib.h>
#endif

#define LIBCURL "libcurl.so.4"

static void *symbol(const char *library, const char *name)
{
	// counted by the linker: a library that is there is not opened twice
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	void *s = handle != NULL ? dlsym(handle, name) : NULL;
	if (s == NULL)
		g_error("%s", dlerror());
	return s;
}

bool ctr_curl_load(GError **error)
{
	if (dlopen(LIBCURL, RTLD_NOW | RTLD_LOCAL) == NULL)
		return error_set(error, CTRD_ERR_NOT_FOUND, "registries need libcurl: %s", dlerror());
	return true;
}

#define LIBRARY LIBCURL // of what follows

/* The function of that name in LIBRARY, looked for once; two threads may both look, and find the same. */
#define BIND(type, name, parameters)                                                                         \
	static type(*_Atomic bound) parameters;                                                              \
	type(*f) parameters = bound;                                                                         \
	if (f == NULL) {                                                                                     \
		bound = f = (type(*) parameters)symbol(LIBRARY, #name);                                      \
	}

#define FORWARD(type, name, parameters, arguments)                                                           \
	type(name) parameters                                                                                \
	{                                                                                                    \
		BIND(type, name, parameters);                                                                \
		return f arguments;                                                                          \
	}

FORWARD(CURLcode, curl_global_init, (long flags), (flags))
FORWARD(CURL *, curl_easy_init, (void), ())
FORWARD(void, curl_easy_cleanup, (CURL * c), (c))
FORWARD(void, curl_easy_reset, (CURL * c), (c))
FORWARD(CURLcode, curl_easy_perform, (CURL * c), (c))
FORWARD(CURLcode, curl_easy_pause, (CURL * c, int bits), (c, bits))
FORWARD(const char *, curl_easy_strerror, (CURLcode code), (code))
FORWARD(CURLM *, curl_multi_init, (void), ())
FORWARD(CURLMcode, curl_multi_add_handle, (CURLM * m, CURL *c), (m, c))
FORWARD(CURLMcode, curl_multi_remove_handle, (CURLM * m, CURL *c), (m, c))
FORWARD(CURLMcode, curl_multi_cleanup, (CURLM * m), (m))
FORWARD(CURLMcode, curl_multi_perform, (CURLM * m, int *running), (m, running))
FORWARD(CURLMcode, curl_multi_poll, (CURLM * m, struct curl_waitfd *fds, unsigned int n, int ms, int *ret),
        (m, fds, n, ms, ret))
FORWARD(CURLMcode, curl_multi_wakeup, (CURLM * m), (m))
FORWARD(CURLMsg *, curl_multi_info_read, (CURLM * m, int *left), (m, left))
FORWARD(const char *, curl_multi_strerror, (CURLMcode code), (code))
FORWARD(CURLSH *, curl_share_init, (void), ())
FORWARD(CURLSHcode, curl_share_cleanup, (CURLSH * s), (s))
FORWARD(struct curl_slist *, curl_slist_append, (struct curl_slist * list, const char *text), (list, text))
FORWARD(void, curl_slist_free_all, (struct curl_slist * list), (list))

/* One argument follows: a pointer, a long or a curl_off_t, which go the same way on 64-bit machines. */
_Static_assert(sizeof(long) == sizeof(void *) && sizeof(curl_off_t) == sizeof(void *), "LP64");
#define FORWARD_OPTION(result, name, handle, option)                                                         \
	result(name)(handle h, option o, ...)                                                                \
	{                                                                                                    \
		BIND(result, name, (handle, option, ...));                                                   \
		va_list args;                                                                                \
		va_start(args, o);                                                                           \
		void *value = va_arg(args, void *);                                                          \
		va_end(args);                                                                                \
		return f(h, o, value);                                                                       \
	}

FORWARD_OPTION(CURLcode, curl_easy_setopt, CURL *, CURLoption)
FORWARD_OPTION(CURLcode, curl_easy_getinfo, CURL *, CURLINFO)
FORWARD_OPTION(CURLMcode, curl_multi_setopt, CURLM *, CURLMoption)
FORWARD_OPTION(CURLSHcode, curl_share_setopt, CURLSH *, CURLSHoption)

/* Client certificates, in the sessions that libcurl opens (remote/tls.c). */
#undef LIBRARY
#define LIBRARY "libssl.so.3"
FORWARD(void, SSL_CTX_set_cert_cb, (SSL_CTX * ctx, int (*fn)(SSL *ssl, void *data), void *data),
        (ctx, fn, data))
FORWARD(int, SSL_use_cert_and_key,
        (SSL * ssl, X509 *cert, EVP_PKEY *key, STACK_OF(X509) * chain, int override),
        (ssl, cert, key, chain, override))
FORWARD(const STACK_OF(X509_NAME) *, SSL_get0_peer_CA_list, (const SSL *ssl), (ssl))

/* Digests (base/digester.c) and certificates (remote/tls.c). */
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

/* Compression (diff/compression.c): also the half that ctr never calls, lest the linker think otherwise. */
#undef LIBRARY
#define LIBRARY "libzstd.so.1"
FORWARD(size_t, ZSTD_DCtx_setParameter, (ZSTD_DCtx * d, ZSTD_dParameter p, int value), (d, p, value))
FORWARD(ZSTD_DStream *, ZSTD_createDStream, (void), ())
FORWARD(size_t, ZSTD_decompressStream, (ZSTD_DStream * d, ZSTD_outBuffer *out, ZSTD_inBuffer *in),
        (d, out, in))
FORWARD(size_t, ZSTD_freeDStream, (ZSTD_DStream * d), (d))
FORWARD(ZSTD_CStream *, ZSTD_createCStream, (void), ())
FORWARD(size_t, ZSTD_CCtx_setParameter, (ZSTD_CCtx * c, ZSTD_cParameter p, int value), (c, p, value))
FORWARD(size_t, ZSTD_compressStream2,
        (ZSTD_CCtx * c, ZSTD_outBuffer *out, ZSTD_inBuffer *in, ZSTD_EndDirective end), (c, out, in, end))
FORWARD(size_t, ZSTD_freeCStream, (ZSTD_CStream * c), (c))
FORWARD(ZSTD_ErrorCode, ZSTD_getErrorCode, (size_t result), (result))
FORWARD(const char *, ZSTD_getErrorName, (size_t result), (result))
FORWARD(unsigned, ZSTD_isError, (size_t result), (result))
#if __has_include(<isa-l/igzip_lib.h>)
#undef LIBRARY
#define LIBRARY "libisal.so.2"
FORWARD(void, isal_deflate_init, (struct isal_zstream * stream), (stream))
FORWARD(int, isal_deflate, (struct isal_zstream * stream), (stream))
FORWARD(int, isal_inflate, (struct inflate_state * state), (state))
FORWARD(void, isal_inflate_init, (struct inflate_state * state), (state))
FORWARD(void, isal_inflate_reset, (struct inflate_state * state), (state))
#endif
#undef LIBRARY
#define LIBRARY "libz.so.1"
FORWARD(uLong, crc32, (uLong crc, const Bytef *data, uInt len), (crc, data, len))
