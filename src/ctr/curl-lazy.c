// SPDX-License-Identifier: Apache-2.0
/*
 * libcurl's functions as far as remote/ calls them, bound at the first use instead of at the start: the
 * library and the thirty that it needs would triple the time of every `ctr`, and three commands use it.
 */
#include "ctr/remote.h"
#include <curl/curl.h>
#include <dlfcn.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdlib.h>

#define LIBRARY "libcurl.so.4"
static void *library;

bool ctr_curl_load(GError **error)
{
	if (library == NULL)
		library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (library == NULL)
		return error_set(error, CTRD_ERR_NOT_FOUND, "registries need libcurl: %s", dlerror());
	return true;
}

static void *symbol(const char *name)
{
	g_assert(library != NULL);
	void *s = dlsym(library, name);
	if (s == NULL)
		g_error("%s has no %s", LIBRARY, name);
	return s;
}

/* Fetched each time: nothing here is called often enough to matter. */
#define FORWARD(type, name, parameters, arguments)                                                           \
	type name parameters                                                                                 \
	{                                                                                                    \
		type(*f) parameters = (type(*) parameters)symbol(#name);                                     \
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
		result (*f)(handle, option, ...) = (result(*)(handle, option, ...))symbol(#name);            \
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

/* Of OpenSSL, which libcurl brings along: what client certificates need (remote/tls.c). */
FORWARD(void, SSL_CTX_set_cert_cb, (SSL_CTX * ctx, int (*fn)(SSL *ssl, void *data), void *data),
        (ctx, fn, data))
FORWARD(int, SSL_use_cert_and_key,
        (SSL * ssl, X509 *cert, EVP_PKEY *key, STACK_OF(X509) * chain, int override),
        (ssl, cert, key, chain, override))
FORWARD(const STACK_OF(X509_NAME) *, SSL_get0_peer_CA_list, (const SSL *ssl), (ssl))
