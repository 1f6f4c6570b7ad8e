// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Names: pkg/identifiers and pkg/labels of upstream. Class INVALID_ARGUMENT. Thread-safe. */

#include <glib.h>
#include <stdbool.h>

#define IDENTIFIER_MAX 76
#define LABEL_MAX 4096

/* ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$, at most 76 bytes. Texts as upstream:
 * `identifier must not be empty: invalid argument`,
 * `identifier "x" greater than maximum length (76 characters): invalid argument`,
 * `identifier "x" must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$: invalid argument` */
bool identifier_validate(const char *s, GError **error);

/* Key + value at most 4096 bytes:
 * `label key and value length (N bytes) greater than maximum size (4096 bytes), key: KEY: invalid argument`
 */
bool label_validate(const char *key, const char *value, GError **error);
bool labels_validate(GHashTable *labels, GError **error);
