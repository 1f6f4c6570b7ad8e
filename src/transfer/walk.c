// SPDX-License-Identifier: Apache-2.0
/* From a descriptor to what belongs to it, and to the names it gets (upstream core/transfer/image). */
#include "base/error.h"
#include "base/util.h"
#include "oci/child-labels.h"
#include "oci/labels.h"
#include "oci/manifest.h"
#include "oci/media-types.h"
#include "transfer/transfer-private.h"
#include <string.h>

PlatformMatcher *images_matcher(const TransferImages *images)
{
	if (images->platforms == NULL || images->platforms->len == 0)
		return platform_matcher_all();
	return platform_matcher_ordered(images->platforms);
}

/* The labels that keep the children. What a fetch has just committed has them. */
static bool label_children(Operation *op, const Descriptor *desc, GPtrArray *children, GError **error)
{
	if (children->len == 0)
		return true;
	g_autoptr(ContentInfo) info = content_info(op->t->config.content, &op->ctx, desc->digest, error);
	if (info == NULL)
		return false;
	g_autoptr(GHashTable) labels = child_gc_labels(children, false);
	g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
	GHashTableIter it;
	void *key, *value;
	g_hash_table_iter_init(&it, labels);
	while (g_hash_table_iter_next(&it, &key, &value))
		if (g_strcmp0(strmap_get(info->labels, key), value) != 0)
			g_ptr_array_add(paths, g_strconcat("labels.", key, NULL));
	if (paths->len == 0)
		return true;
	g_ptr_array_add(paths, NULL);
	ContentInfo update = {.digest = desc->digest, .labels = labels};
	g_autoptr(ContentInfo) updated = content_update(op->t->config.content, &op->ctx, &update,
	                                                (const char *const *)paths->pdata, error);
	return updated != NULL;
}

/* Of a platform that is not wanted only the configuration. */
static void keep_configs(GPtrArray *children)
{
	for (guint i = children->len; i > 0; i--)
		if (!media_type_is_config(((Descriptor *)children->pdata[i - 1])->media_type))
			g_ptr_array_remove_index(children, i - 1);
}

GPtrArray *select_children(Operation *op, const TransferImages *images, const PlatformMatcher *matcher,
                           const Descriptor *desc, GError **error)
{
	g_autofree char *data = NULL;
	size_t len = 0;
	if (!content_read_blob(op->t->config.content, &op->ctx, desc, MANIFEST_MAX, &data, &len, error))
		return NULL;
	g_autoptr(GPtrArray) children = manifest_children(desc, data, len, error);
	if (children == NULL || !label_children(op, desc, children, error))
		return NULL;
	if (!images->all_metadata)
		descriptors_filter_platform(children, matcher);
	else if (media_type_is_manifest(desc->media_type) && desc->platform != NULL &&
	         !platform_matches(matcher, desc->platform))
		keep_configs(children);
	if (images->manifest_limit > 0 && media_type_is_index(desc->media_type) &&
	    !descriptors_limit_manifests(children, matcher, images->manifest_limit, error))
		return NULL;
	return g_steal_pointer(&children);
}

/* ---- Names ---- */

static bool is_prefix_of(const char *ref, const char *prefix)
{
	size_t len = strlen(prefix);
	return strncmp(ref, prefix, len) == 0 && (ref[len] == '\0' || strchr("/:@", ref[len]) != NULL);
}

/* A tag becomes prefix:tag; a full name stays, or is dropped where it must have the prefix and has not. */
static char *translate(const char *ref, const TransferReference *r)
{
	if (str_empty(r->name))
		return g_strdup("");
	if (strpbrk(ref, "/:@") != NULL)
		return g_strdup(r->allow_overwrite || is_prefix_of(ref, r->name) ? ref : "");
	return g_strconcat(r->name, ":", ref, NULL);
}

/* The name that the annotations of an archive's entry give, "" for none. */
static char *annotated_name(const Descriptor *desc, const TransferReference *r)
{
	const char *full = descriptor_annotation(desc, ANNOTATION_IMAGE_NAME);
	if (!str_empty(full)) {
		g_autofree char *name = translate(full, r);
		return g_strdup(g_str_equal(name, full) ? full : "");
	}
	const char *tag = descriptor_annotation(desc, ANNOTATION_OCI_REF_NAME);
	return str_empty(tag) ? g_strdup("") : translate(tag, r);
}

static void add_image(GPtrArray *out, const TransferImages *images, const char *name, const Descriptor *desc,
                      bool extra)
{
	Image *image = image_new();
	g_free(image->name);
	image->name = g_strdup(name);
	descriptor_clear(&image->target);
	descriptor_copy(&image->target, desc);
	if (image->labels != NULL)
		g_hash_table_unref(image->labels);
	image->labels = strmap_copy(images->labels);
	if (extra && !str_empty(images->name)) {
		/* goes when the main name goes, and can go at once then */
		g_autofree char *now = time_format_rfc3339(time_now() / NS_PER_SEC * NS_PER_SEC);
		strmap_set(image->labels, LABEL_GC_BREF_IMAGE, images->name);
		strmap_set(image->labels, LABEL_GC_EXPIRE, now);
	}
	g_ptr_array_add(out, image);
}

static void add_with_digest(GPtrArray *out, const TransferImages *images, const TransferReference *r,
                            const Descriptor *desc)
{
	g_autofree char *name = g_strdup_printf("%s@%s", r->name, desc->digest);
	add_image(out, images, name, desc, true);
}

static void annotated_images(GPtrArray *out, const TransferImages *images, const Descriptor *desc)
{
	for (guint i = 0; images->extra_references != NULL && i < images->extra_references->len; i++) {
		const TransferReference *r = images->extra_references->pdata[i];
		if (!r->is_prefix)
			continue;
		g_autofree char *name = annotated_name(desc, r);
		if (*name != '\0')
			add_image(out, images, name, desc, true);
		if (r->add_digest && (*name == '\0' || !r->skip_named_digest))
			add_with_digest(out, images, r, desc);
	}
}

static void plain_images(GPtrArray *out, const TransferImages *images, const Descriptor *desc)
{
	if (!str_empty(images->name))
		add_image(out, images, images->name, desc, false);
	for (guint i = 0; images->extra_references != NULL && i < images->extra_references->len; i++) {
		const TransferReference *r = images->extra_references->pdata[i];
		if (r->add_digest)
			add_with_digest(out, images, r, desc);
		else if (!r->is_prefix)
			add_image(out, images, r->name, desc, true);
	}
}

static Image *upsert(Operation *op, const Image *image, GError **error)
{
	for (;;) {
		g_autoptr(GError) e = NULL;
		Image *stored = images_create(op->t->config.db, &op->ctx, image, 0, &e);
		if (stored != NULL)
			return stored;
		if (!error_is(e, CTRD_ERR_ALREADY_EXISTS)) {
			g_propagate_error(error, g_steal_pointer(&e));
			return NULL;
		}
		g_clear_error(&e);
		stored = images_update(op->t->config.db, &op->ctx, image, NULL, 0, &e);
		if (stored != NULL)
			return stored;
		/* somebody removed it in between */
		if (!error_is(e, CTRD_ERR_NOT_FOUND) || !cancel_check(op->ctx.cancel, NULL)) {
			g_propagate_error(error, g_steal_pointer(&e));
			return NULL;
		}
	}
}

GPtrArray *store_images(Operation *op, const TransferImages *images, const Descriptor *desc, GError **error)
{
	g_autoptr(GPtrArray) wanted = g_ptr_array_new_with_free_func((GDestroyNotify)image_free);
	g_auto(Descriptor) target = {0};
	descriptor_copy(&target, desc);
	const char *source = descriptor_annotation(desc, ANNOTATION_IMPORT_REF_SOURCE);
	if (source == NULL) {
		plain_images(wanted, images, &target);
	} else {
		if (!g_str_equal(source, IMPORT_SOURCE_ANNOTATION)) {
			error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "ref source not supported");
			return NULL;
		}
		g_hash_table_remove(target.annotations, ANNOTATION_IMPORT_REF_SOURCE);
		annotated_images(wanted, images, &target);
	}
	if (wanted->len == 0) {
		error_set_class(error, CTRD_ERR_NOT_FOUND, "no image name found");
		return NULL;
	}
	g_autoptr(GPtrArray) stored = g_ptr_array_new_with_free_func((GDestroyNotify)image_free);
	for (guint i = 0; i < wanted->len; i++) {
		Image *image = upsert(op, wanted->pdata[i], error);
		if (image == NULL)
			return NULL;
		g_ptr_array_add(stored, image);
	}
	return g_steal_pointer(&stored);
}
