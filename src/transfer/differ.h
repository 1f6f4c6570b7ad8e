// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Differs: layers onto mounts, and what differs between mounts into layers (upstream core/diff; the local one
 * is core/diff/apply and plugins/diff/walking). Thread-safe, block. A differ that does not know a media type
 * says NOT_IMPLEMENTED, and the next one is asked.
 */

#include "diff/layer.h"
#include "loop/ctx.h"
#include "mount/mount.h"
#include "oci/descriptor.h"
#include "store/content.h"

#include <glib.h>
#include <stdbool.h>

typedef struct {
	bool sync_fs;                                // syncfs(2) before it is done
	void (*progress)(void *data, int64_t taken); // compressed bytes read so far; may be NULL
	void *progress_data;
} DifferApplyOptions;

typedef struct {
	const char *media_type; // NULL: OCI layer, gzip
	const char *ref;        // of the ingest; NULL: made up
	GHashTable *labels;     // of the new blob; may be NULL
	bool has_source_date_epoch;
	TimeNs source_date_epoch;
} DifferCompareOptions;

typedef struct Differ Differ;
typedef struct {
	/* ret: descriptor of the uncompressed layer. */
	bool (*apply)(Differ *self, const Ctx *ctx, const Descriptor *desc, GPtrArray *mounts,
	              const DifferApplyOptions *options, Descriptor *ret, GError **error);
	bool (*compare)(Differ *self, const Ctx *ctx, GPtrArray *lower, GPtrArray *upper,
	                const DifferCompareOptions *options, Descriptor *ret, GError **error);
	void (*free)(Differ *self);
} DifferOps;
struct Differ {
	const DifferOps *ops;
};
bool differ_apply(Differ *d, const Ctx *ctx, const Descriptor *desc, GPtrArray *mounts,
                  const DifferApplyOptions *options, Descriptor *ret, GError **error);
bool differ_compare(Differ *d, const Ctx *ctx, GPtrArray *lower, GPtrArray *upper,
                    const DifferCompareOptions *options, Descriptor *ret, GError **error);
void differ_free(Differ *d);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Differ, differ_free)

/* The local one, "walking". content is borrowed. processors: of StreamProcessor
 * (transfer/stream-processor.h), refed; NULL: none. */
Differ *differ_walking_new(ContentStore *content, GPtrArray *processors);
bool differ_is_walking(const Differ *d);
/* Whether it is, and layers of this type go through no stream processor: then whoever has their bytes can
 * extract them himself. */
bool differ_is_plain(const Differ *d, const char *media_type);

/* Where a layer's files go for these mounts: the upper directory of an overlay and the source of a bind mount
 * directly; all else is mounted for the duration of fn. */
typedef struct {
	const char *root;
	LayerWhiteout whiteout;
	const char *const *parents; // lower directories, NULL: not known
} DifferTarget;
typedef bool (*DifferTargetFn)(const DifferTarget *target, void *data, GError **error);
bool differ_with_target(GPtrArray *mounts, DifferTargetFn fn, void *data, GError **error);
/* Only for mounts that need no mounting: false otherwise, with nothing set. Strings are owned by the caller.
 */
bool differ_direct_target(GPtrArray *mounts, char **ret_root, LayerWhiteout *ret_whiteout,
                          char ***ret_parents);
/* What a layer's media type says of its compression: NONE, or UNKNOWN for "look at the bytes". Text: `failed
 * to get stream processor for x: no processor for media-type`. */
bool differ_compression(const char *media_type, Compression *ret, GError **error);
bool differ_sync_fs(const char *path, GError **error);
