// SPDX-License-Identifier: Apache-2.0
#pragma once

/* One GET over a unix socket: what the daemon's debug socket takes. Blocks, ten seconds at most. */

#include <glib.h>

/* The body of a 200 answer, NUL-terminated, owned by the caller. Texts: `dial unix PATH: connect: ...`,
 * `unexpected status from server: 404 page not found`. */
char *http_get(const char *socket_path, const char *path, GError **error);
