// SPDX-License-Identifier: Apache-2.0
#pragma once

/* OCI descriptors: type, digest and size of a blob (image-spec descriptor.md). Plain data. */

#include "base/json.h"
#include "oci/platform.h"
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define DESCRIPTOR_URLS_MAX 64
#define DESCRIPTOR_DATA_MAX (4 * 1024 * 1024)

/* Zeroed memory is an empty descriptor. */
typedef struct {
	char *media_type;
	char *digest;
	int64_t size;
	char **urls;             // NULL: none
	GHashTable *annotations; // strmap, NULL: none
	GBytes *data;            // the blob itself where it is embedded, NULL: it is not
	Platform *platform;      // NULL: not said
	char *artifact_type;     // NULL: none
} Descriptor;

Descriptor *descriptor_new(const char *media_type, const char *digest, int64_t size);
void descriptor_clear(Descriptor *d);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Descriptor, descriptor_clear)
void descriptor_copy(Descriptor *ret, const Descriptor *d);
Descriptor *descriptor_new_copy(const Descriptor *d);
void descriptor_free(Descriptor *d); // NULL is fine
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Descriptor, descriptor_free)
/* A list: GPtrArray of Descriptor* that owns them. */
GPtrArray *descriptors_new(void);
/* The annotation, or NULL. */
const char *descriptor_annotation(const Descriptor *d, const char *key);
void descriptor_annotate(Descriptor *d, const char *key, const char *value);

/* From JSON of outside: the digest must be valid (digest.h), the size not negative. A "data" member is taken
 * as it is: who uses it compares it with digest and size. INVALID_ARGUMENT with what is wrong. */
bool descriptor_from_json(JsonObject *o, Descriptor *ret, GError **error);
/* Members in the order of upstream's encoder, empty ones left out. */
JsonObject *descriptor_to_json(const Descriptor *d);
