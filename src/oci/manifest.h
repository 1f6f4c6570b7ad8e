// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Manifests, indexes and image configurations (image-spec; Docker's schema 2 reads the same), as hostile as
 * registries may send them: every count and length is bounded, digests and sizes are checked, a document that
 * can be read as both manifest and index is refused. Plain data. Errors are INVALID_ARGUMENT unless said.
 */

#include "base/time.h"
#include "oci/descriptor.h"
#include "oci/platform.h"
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#define MANIFEST_MAX                                                                                         \
	((size_t)8 * 1024 * 1024) // bytes of a document; upstream takes 4 * 1048 * 1048 from a registry
#define MANIFEST_LAYERS_MAX 1024
#define INDEX_MANIFESTS_MAX 16384
#define IMAGE_HISTORY_MAX 4096

typedef struct {
	char *media_type;    // as the document says, NULL: it does not
	char *artifact_type; // NULL: none
	Descriptor config;
	GPtrArray *layers;       // of Descriptor*
	Descriptor *subject;     // NULL: none
	GHashTable *annotations; // strmap, NULL: none
} Manifest;
/* media_type is what the descriptor or the registry said. Texts of upstream's validateMediaType:
 * `media-type: schema 1 not supported`,
 * `media-type: expected manifest but found index (<media_type>)`. */
Manifest *manifest_parse(const void *data, size_t len, const char *media_type, GError **error);
JsonObject *manifest_to_json(const Manifest *m); // with schemaVersion 2
void manifest_free(Manifest *m);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Manifest, manifest_free)

typedef struct {
	char *media_type, *artifact_type; // NULL: not said
	GPtrArray *manifests;             // of Descriptor*
	Descriptor *subject;              // NULL: none
	GHashTable *annotations;          // strmap, NULL: none
} Index;
Index *index_parse(const void *data, size_t len, const char *media_type, GError **error);
JsonObject *index_to_json(const Index *index);
void index_free(Index *index);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Index, index_free)

/* Just the check of both, for a document that is kept as it is. */
bool manifest_validate_media_type(const void *data, size_t len, const char *media_type, GError **error);

/* The children of a document: of a manifest its config and layers, of an index its manifests, of anything
 * else none (empty array). GPtrArray of Descriptor*. Error prefix `children: invalid desc <digest>: ` as
 * upstream. */
GPtrArray *manifest_children(const Descriptor *desc, const void *data, size_t len, GError **error);

/* Keep what has no platform or one that matches; then, for the children of an index, put the best first and
 * keep at most `limit` (0: all). NULL matcher: nothing is done. Where nothing is left and limit > 0:
 * NOT_FOUND `no match for platform in manifest: not found`. */
void descriptors_filter_platform(GPtrArray *descriptors, const PlatformMatcher *matcher);
bool descriptors_limit_manifests(GPtrArray *descriptors, const PlatformMatcher *matcher, unsigned limit,
                                 GError **error);

typedef struct {
	TimeNs created; // 0: not said
	char *created_by, *author, *comment;
	bool empty_layer;
} ImageHistory;

/* The configuration of an image; strings are NULL and vectors empty (never NULL) where absent. */
typedef struct {
	TimeNs created; // 0: not said
	char *author;
	Platform platform;  // as written; platform_normalize() before matching
	char *rootfs_type;  // "layers"; NULL: not said
	char **diff_ids;    // valid digests
	GPtrArray *history; // of ImageHistory*
	// "config"
	char *user, *working_dir, *stop_signal;
	char **env, **entrypoint, **cmd;
	char **volumes, **exposed_ports; // keys, sorted
	GHashTable *labels;              // strmap
} ImageConfig;
ImageConfig *image_config_parse(const void *data, size_t len, GError **error);
void image_config_free(ImageConfig *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ImageConfig, image_config_free)

/* The chain id of a stack of layers (identity.ChainID): names the snapshot that the n diff ids make. NULL for
 * n = 0. Owned by the caller. */
char *chain_id(const char *const *diff_ids, size_t n);
/* The chain ids of all prefixes, NULL-terminated: [A, A|B, A|B|C]. */
char **chain_ids(const char *const *diff_ids);
