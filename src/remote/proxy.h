// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which proxy a request goes through, by the rules of Go's ProxyFromEnvironment
 * (golang.org/x/net/http/httpproxy): HTTP_PROXY and HTTPS_PROXY by the scheme of the URL, NO_PROXY; each also
 * in small letters. libcurl's own rules are others (ALL_PROXY counts, ports in NO_PROXY do not). No state.
 */

#include <glib.h>

typedef const char *(*ProxyEnv)(const char *name); // as getenv
/* The proxy's URL, or "" where there is none to use: never for localhost and loopback addresses. Owned by the
 * caller.
 */
char *proxy_for_url(const char *url, ProxyEnv env);
