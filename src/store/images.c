// SPDX-License-Identifier: Apache-2.0

#include "store/images.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/identifiers.h"
#include "oci/labels.h"
#include "store/filter-text.h"
#include "store/leases.h"
#include <string.h>

#define COLUMNS "id, name, digest, media_type, size, created, updated"

Image *image_new(void)
{
	Image *image = g_new0(Image, 1);
	image->labels = strmap_new();
	return image;
}

void image_free(Image *image)
{
	if (image == NULL)
		return;
	g_free(image->name);
	g_clear_pointer(&image->labels, g_hash_table_unref);
	descriptor_clear(&image->target);
	g_free(image);
}

/* Of a target only what is stored counts: type, digest, size, annotations. */
static void copy_target(Image *image, const Descriptor *target)
{
	descriptor_clear(&image->target);
	image->target.media_type = g_strdup(target->media_type);
	image->target.digest = g_strdup(target->digest);
	image->target.size = target->size;
	image->target.annotations = strmap_copy(target->annotations);
}

static Image *image_copy(const Image *from)
{
	Image *image = image_new();
	image->name = g_strdup(from->name);
	g_hash_table_unref(image->labels);
	image->labels = strmap_copy(from->labels);
	copy_target(image, &from->target);
	image->created_at = from->created_at;
	image->updated_at = from->updated_at;
	return image;
}

typedef struct {
	const Ctx *ctx;
	const char *name;
	const Image *input;
	const char *const *paths;
	const Descriptor *target;
	TimeNs now;
	Filter *filter;
	Image *image; // the result
	GPtrArray *list;
} Args;

static void emit(MetaDb *db, const Ctx *ctx, StoreEventKind kind, const char *name, GHashTable *labels)
{
	meta_emit(db, &(StoreEvent){.kind = kind, .ns = ctx->ns, .name = name, .labels = labels});
}

/* ---- checks ---- */

static bool target_check(const Descriptor *target, GError **error)
{
	g_autoptr(GError) cause = NULL;
	const char *digest = str_or(target->digest, "");
	if (!digest_validate(digest, &cause))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "target.Digest %s invalid: %s",
		                       Q(digest), cause->message);
	if (target->size <= 0)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "target.Size must be greater than zero");
	if (str_empty(target->media_type))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "target.MediaType must be set");
	return true;
}

static bool image_check(const Image *image, GError **error)
{
	if (str_empty(image->name))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "image name must not be empty");
	if (!labels_validate(image->labels, error))
		return error_prefix(error, "image.Labels");
	return target_check(&image->target, error);
}

/* ---- rows ---- */

static Image *read_image(MetaTx *tx, sqlite3_stmt *stmt, GError **error)
{
	g_autoptr(Image) image = image_new();
	int64_t id = sqlite3_column_int64(stmt, 0);
	image->name = meta_column_dup(stmt, 1);
	image->target.digest = meta_column_dup(stmt, 2);
	image->target.media_type = meta_column_dup(stmt, 3);
	image->target.size = sqlite3_column_int64(stmt, 4);
	image->created_at = sqlite3_column_int64(stmt, 5);
	image->updated_at = sqlite3_column_int64(stmt, 6);
	g_clear_pointer(&image->labels, g_hash_table_unref);
	image->labels = meta_labels_read(tx, META_IMAGE, id, error);
	if (image->labels == NULL)
		return NULL;
	image->target.annotations = meta_labels_read(tx, META_IMAGE_ANNOTATIONS, id, error);
	return image->target.annotations != NULL ? g_steal_pointer(&image) : NULL;
}

/* NULL with no error: there is none. */
static bool find(MetaTx *tx, const Args *a, const char *name, int64_t *ret_id, Image **ret, GError **error)
{
	sqlite3_stmt *stmt = meta_query(tx, error, "SELECT " COLUMNS " FROM image WHERE ns = ? AND name = ?",
	                                "ss", a->ctx->ns, name);
	bool row;
	if (stmt == NULL || !meta_step(tx, stmt, &row, error))
		return false;
	if (!row)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "image %s", Q(name));
	if (ret_id != NULL)
		*ret_id = sqlite3_column_int64(stmt, 0);
	*ret = read_image(tx, stmt, error);
	sqlite3_reset(stmt);
	return *ret != NULL;
}

static bool write_maps(MetaTx *tx, int64_t id, Image *image, GError **error)
{
	return meta_labels_write(tx, META_IMAGE, id, image->labels, error) &&
	       meta_labels_write(tx, META_IMAGE_ANNOTATIONS, id, image->target.annotations, error);
}

/* An image is a root unless it can expire; only then a lease has something to hold. */
static bool lease_image(MetaTx *tx, const Args *a, const Image *image, GError **error)
{
	return strmap_get(image->labels, LABEL_GC_EXPIRE) == NULL ||
	       lease_add_in_tx(tx, a->ctx, "images", image->name, error);
}

/* ---- the store ---- */

static bool get_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	return find(tx, a, a->name, NULL, &a->image, error);
}

Image *images_get(MetaDb *db, const Ctx *ctx, const char *name, GError **error)
{
	Args a = {.ctx = ctx, .name = str_or(name, "")};
	if (meta_namespace(ctx, error) == NULL)
		return NULL;
	return meta_view(db, get_tx, &a, error) ? a.image : NULL;
}

static const char *field(const char *const *path, size_t n, bool *present, void *data)
{
	const Image *image = data;
	if (filter_is(path, n, "name"))
		return filter_text(image->name, present);
	if (filter_is(path, n, "target") && filter_is(path + 1, n - 1, "digest"))
		return filter_text(image->target.digest, present);
	if (filter_is(path, n, "target") && filter_is(path + 1, n - 1, "mediatype"))
		return filter_text(image->target.media_type, present);
	if (filter_is(path, n, "labels"))
		return filter_map_field(image->labels, path + 1, n - 1, present);
	if (filter_is(path, n, "annotations"))
		return filter_map_field(image->target.annotations, path + 1, n - 1, present);
	*present = false;
	return NULL;
}

static bool list_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	sqlite3_stmt *stmt = meta_query(tx, error, "SELECT " COLUMNS " FROM image WHERE ns = ? ORDER BY name",
	                                "s", a->ctx->ns);
	bool row;
	while (stmt != NULL && meta_step(tx, stmt, &row, error)) {
		if (!row)
			return true;
		g_autoptr(Image) image = read_image(tx, stmt, error);
		if (image == NULL)
			return false;
		if (filter_match(a->filter, field, image))
			g_ptr_array_add(a->list, g_steal_pointer(&image));
	}
	return false;
}

GPtrArray *images_list(MetaDb *db, const Ctx *ctx, const char *const *filters, GError **error)
{
	if (meta_namespace(ctx, error) == NULL)
		return NULL;
	g_autoptr(Filter) filter = filter_parse_list(filters, error);
	if (filter == NULL)
		return NULL;
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)image_free);
	if (!meta_view(db, list_tx, &(Args){.ctx = ctx, .filter = filter, .list = list}, error))
		return NULL;
	return g_steal_pointer(&list);
}

static bool create_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	Image *image = a->image;
	if (!lease_image(tx, a, image, error) ||
	    !meta_run(tx, error,
	              "INSERT INTO image(ns, name, digest, media_type, size, created, updated)"
	              " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
	              "ssssiii", a->ctx->ns, image->name, image->target.digest, image->target.media_type,
	              image->target.size, image->created_at, image->updated_at))
		return false;
	if (meta_tx_changes(tx) == 0)
		return error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "image %s", Q(image->name));
	return write_maps(tx, meta_tx_last_id(tx), image, error);
}

Image *images_create(MetaDb *db, const Ctx *ctx, const Image *input, TimeNs source_date_epoch, GError **error)
{
	if (meta_namespace(ctx, error) == NULL || !image_check(input, error))
		return NULL;
	g_autoptr(Image) image = image_copy(input);
	image->created_at = source_date_epoch != 0 ? source_date_epoch : time_now();
	image->updated_at = image->created_at;
	if (!meta_update_for(db, ctx, create_tx, &(Args){.ctx = ctx, .image = image}, error))
		return NULL;
	emit(db, ctx, STORE_EVENT_IMAGE_CREATE, image->name, image->labels);
	return g_steal_pointer(&image);
}

/* One path of a field mask. */
static bool apply_path(Image *image, const Image *input, const char *path, GError **error)
{
	if (fieldpath_apply(path, "labels.", image->labels, input->labels) ||
	    fieldpath_apply(path, "annotations.", image->target.annotations, input->target.annotations))
		return true;
	if (strcmp(path, "labels") == 0) {
		g_hash_table_unref(image->labels);
		image->labels = strmap_copy(input->labels);
	} else if (strcmp(path, "target") == 0) {
		copy_target(image, &input->target);
	} else if (strcmp(path, "annotations") == 0) {
		g_hash_table_unref(image->target.annotations);
		image->target.annotations = strmap_copy(input->target.annotations);
	} else {
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "cannot update %s field on image %s",
		                       Q(path), Q(image->name));
	}
	return true;
}

static bool update_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	int64_t id;
	g_autoptr(Image) image = NULL;
	if (!find(tx, a, a->input->name, &id, &image, error))
		return false;
	if (fieldpaths_empty(a->paths)) {
		TimeNs created_at = image->created_at;
		image_free(image);
		image = image_copy(a->input);
		image->created_at = created_at;
	}
	for (const char *const *path = a->paths; path != NULL && *path != NULL; path++) {
		if (!apply_path(image, a->input, *path, error))
			return false;
	}
	if (!image_check(image, error) || !lease_image(tx, a, image, error))
		return false;
	image->updated_at = a->now;
	if (!meta_run(tx, error,
	              "UPDATE image SET digest = ?, media_type = ?, size = ?, updated = ? WHERE id = ?",
	              "ssiii", image->target.digest, image->target.media_type, image->target.size,
	              image->updated_at, id) ||
	    !write_maps(tx, id, image, error))
		return false;
	a->image = g_steal_pointer(&image);
	return true;
}

Image *images_update(MetaDb *db, const Ctx *ctx, const Image *input, const char *const *paths,
                     TimeNs source_date_epoch, GError **error)
{
	if (meta_namespace(ctx, error) == NULL)
		return NULL;
	if (str_empty(input->name)) {
		error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "image name is required for update");
		return NULL;
	}
	Args a = {.ctx = ctx,
	          .input = input,
	          .paths = paths,
	          .now = source_date_epoch != 0 ? source_date_epoch : time_now()};
	bool ok = meta_update_for(db, a.ctx, update_tx, &a, error);
	g_autoptr(Image) image = a.image;
	if (!ok)
		return NULL;
	emit(db, ctx, STORE_EVENT_IMAGE_UPDATE, image->name, image->labels);
	return g_steal_pointer(&image);
}

static bool delete_tx(MetaTx *tx, void *data, GError **error)
{
	Args *a = data;
	if (!lease_remove_in_tx(tx, a->ctx, "images", a->name, error))
		return false;
	if (a->target != NULL && !str_empty(a->target->digest)) {
		g_autoptr(Image) image = NULL;
		if (!find(tx, a, a->name, NULL, &image, error))
			return false;
		if (strcmp(image->target.digest, a->target->digest) != 0)
			return error_set_class(error, CTRD_ERR_NOT_FOUND, "image %s has target %s, not %s",
			                       Q(a->name), image->target.digest, a->target->digest);
	}
	if (!meta_run(tx, error, "DELETE FROM image WHERE ns = ? AND name = ?", "ss", a->ctx->ns, a->name))
		return false;
	if (meta_tx_changes(tx) == 0)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "image %s", Q(a->name));
	meta_tx_dirty(tx, NULL);
	return true;
}

bool images_delete(MetaDb *db, const Ctx *ctx, const char *name, const Descriptor *target, GError **error)
{
	Args a = {.ctx = ctx, .name = str_or(name, ""), .target = target};
	if (meta_namespace(ctx, error) == NULL || !meta_update(db, delete_tx, &a, error))
		return false;
	emit(db, ctx, STORE_EVENT_IMAGE_DELETE, a.name, NULL);
	return true;
}
