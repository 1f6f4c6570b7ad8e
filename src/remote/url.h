// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The little that registries need of URLs. Pure functions; results are owned by the caller. */

#include <glib.h>
#include <stdbool.h>

/* Starts with http:// or https://, has a host, no white space and no control characters. */
bool url_is_http(const char *url);
char *url_origin(const char *url); // "https://host:port", as it is written
char *url_host(const char *url);   // "host:port", without user
char *url_scheme(const char *url);
/* Go's url.QueryEscape: what is not unreserved becomes %XX, a blank becomes "+". */
char *url_query_escape(const char *s);
/* Appends "k=v&..." with the right separator; an empty query gives a copy. */
char *url_add_query(const char *url, const char *query);
/* What may stand in a path as it is; the rest becomes %XX. */
char *url_path_escape(const char *path);
/* The target of a Location header, or of a realm, seen from base. NULL where it is no http(s) URL. */
char *url_resolve(const char *base, const char *location);
/* For texts: values of the query but `ns` become REDACTED, a password xxxxx. */
char *url_redact(const char *url);
