// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where a process' output goes: a fifo's path, or a log URI (file://, binary://, binary-v2://), as upstream's
 * createIO reads them with Go's net/url. Pure functions.
 */

#include <glib.h>
#include <stdbool.h>

typedef enum {
	LOG_URI_FIFO, // also a plain file's path, as upstream
	LOG_URI_FILE,
	LOG_URI_BINARY,
	LOG_URI_BINARY_V2, // the logger must write a byte when it is ready
} LogUriKind;

typedef struct {
	LogUriKind kind;
	char *path;
	GPtrArray *args; // of char*: key, value, key, value ... of the query, for the binary kinds
} LogUri;

void log_uri_clear(LogUri *uri);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LogUri, log_uri_clear)

/* Error texts: `unknown STDIO scheme x`, `unable to parse stdout uri: ...`. */
bool log_uri_parse(const char *text, LogUri *ret, GError **error);
