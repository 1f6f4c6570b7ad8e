// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Images: a name for a descriptor (upstream core/metadata/images.go). Events are emitted by the store.
 * Thread-safe, block. */

#include "base/time.h"
#include "oci/descriptor.h"
#include "store/meta.h"

typedef struct {
	char *name;
	GHashTable *labels; // strmap
	Descriptor target;
	TimeNs created_at, updated_at;
} Image;
Image *image_new(void);
void image_free(Image *image);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Image, image_free)

Image *images_get(MetaDb *db, const Ctx *ctx, const char *name, GError **error);
GPtrArray *images_list(MetaDb *db, const Ctx *ctx, const char *const *filters, GError **error); // of Image*
/* source_date_epoch 0: now. Returns the stored image. */
Image *images_create(MetaDb *db, const Ctx *ctx, const Image *image, TimeNs source_date_epoch,
                     GError **error);
Image *images_update(MetaDb *db, const Ctx *ctx, const Image *image, const char *const *paths,
                     TimeNs source_date_epoch, GError **error);
/* target NULL: whatever it points to; else NOT_FOUND where it points elsewhere, as upstream's DeleteTarget.
 */
bool images_delete(MetaDb *db, const Ctx *ctx, const char *name, const Descriptor *target, GError **error);
