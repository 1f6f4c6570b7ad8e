// SPDX-License-Identifier: Apache-2.0
/* The names that an image gets (upstream core/transfer/image, core/images/archive/reference.go). */
#include "base/error.h"
#include "base/failpoint.h"
#include "base/util.h"
#include "oci/labels.h"
#include "oci/reference.h"
#include "transfer/transfer-private.h"
#include <string.h>

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
	if (!FAILPOINT("transfer.images", error))
		return NULL;
	g_autoptr(GPtrArray) stored = g_ptr_array_new_with_free_func((GDestroyNotify)image_free);
	for (guint i = 0; i < wanted->len; i++) {
		Image *image = upsert(op, wanted->pdata[i], error);
		if (image == NULL)
			return NULL;
		g_ptr_array_add(stored, image);
	}
	return g_steal_pointer(&stored);
}

GPtrArray *lookup_images(Operation *op, const TransferImages *images, GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	if (!str_empty(images->name))
		g_ptr_array_add(names, (char *)images->name);
	for (guint i = 0; images->extra_references != NULL && i < images->extra_references->len; i++) {
		const TransferReference *r = images->extra_references->pdata[i];
		if (r->is_prefix) {
			error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED,
			                "prefix lookup on export not implemented");
			return NULL;
		}
		g_ptr_array_add(names, r->name);
	}
	g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func((GDestroyNotify)image_free);
	for (guint i = 0; i < names->len; i++) {
		Image *image = images_get(op->t->config.db, &op->ctx, names->pdata[i], error);
		if (image == NULL)
			return NULL;
		g_ptr_array_add(found, image);
	}
	return g_steal_pointer(&found);
}

char *oci_reference_name(const char *name)
{
	g_auto(RefSpec) spec = {0};
	if (ref_spec_parse(name, &spec, NULL) && *spec.object != '\0' && *spec.object != '@')
		return g_strdup(spec.object);
	return g_strdup(name);
}
