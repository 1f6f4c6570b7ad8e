// SPDX-License-Identifier: Apache-2.0
/* libcurl, with the thirty libraries that it needs, as remote/ and ctr call it. */
#include "base/error.h"
#include "lazy/bind.h"
#include <curl/curl.h>
#include <dlfcn.h>
#include <stdarg.h>

#define LIBRARY "libcurl.so.4"

bool lazy_curl_load(GError **error)
{
	if (dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL) == NULL)
		return error_set(error, CTRD_ERR_NOT_FOUND, "registries need libcurl: %s", dlerror());
	return true;
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
