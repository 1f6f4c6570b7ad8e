// SPDX-License-Identifier: Apache-2.0
/* From a descriptor to what belongs to it (upstream core/images/handlers.go, core/transfer/image). */
#include "base/error.h"
#include "base/log.h"
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
	g_autoptr(GHashTable) labels = child_gc_labels(children, op->discard_layers);
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

/* What the registry knows to refer to the document, marked as such. Empty where nobody wants to know. */
static GPtrArray *referrers_of(Operation *op, const TransferImages *images, const Descriptor *desc,
                               GError **error)
{
	if (op->resolver == NULL || !(images->referrers || op->t->config.pull_referrers))
		return descriptors_new();
	GPtrArray *found = resolver_referrers(op->resolver, op->ctx.cancel, desc->digest, NULL, error);
	for (guint i = 0; found != NULL && i < found->len; i++)
		descriptor_annotate(found->pdata[i], ANNOTATION_MANIFEST_SUBJECT, desc->digest);
	return found;
}

static GPtrArray *select_children(Operation *op, const TransferImages *images, const PlatformMatcher *matcher,
                                  const Descriptor *desc, GPtrArray *referrers, GError **error)
{
	g_autofree char *data = NULL;
	size_t len = 0;
	if (!content_read_blob(op->t->config.content, &op->ctx, desc, MANIFEST_MAX, &data, &len, error))
		return NULL;
	g_autoptr(GPtrArray) children = manifest_children(desc, data, len, error);
	if (children == NULL)
		return NULL;
	guint own = children->len;
	for (guint i = 0; i < referrers->len; i++)
		g_ptr_array_add(children, descriptor_new_copy(referrers->pdata[i]));
	if (!label_children(op, desc, children, error))
		return NULL;
	g_ptr_array_set_size(children, (gint)own);
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

/* ---- The walk ---- */

enum {
	NESTING_MAX = 8, // indexes in indexes
};

/* An image to unpack. */
typedef struct {
	char *manifest; // its digest
	Descriptor config;
	GPtrArray *layers; // of Descriptor*
} Found;

static void found_free(void *data)
{
	Found *f = data;
	g_free(f->manifest);
	descriptor_clear(&f->config);
	g_ptr_array_unref(f->layers);
	g_free(f);
}

void walk_clear(Walk *w)
{
	g_clear_pointer(&w->matcher, platform_matcher_free);
	g_clear_pointer(&w->wanted, g_ptr_array_unref);
	g_clear_pointer(&w->found, g_ptr_array_unref);
	g_clear_pointer(&w->leaves, g_ptr_array_unref);
}

void walk_init(Walk *w, Operation *op, const TransferImages *images)
{
	w->op = op;
	w->images = images;
	op->snapshot_annotations = images->snapshot_annotations;
	op->discard_layers = images->discard_unpacked_layers;
	w->matcher = images_matcher(images);
	w->wanted = g_ptr_array_new();
	w->found = g_ptr_array_new_with_free_func(found_free);
	w->leaves = descriptors_new();
	for (guint i = 0; images->unpacks != NULL && i < images->unpacks->len; i++) {
		const TransferUnpack *u = images->unpacks->pdata[i];
		UnpackPlatform *p = unpack_platform_find(op->t, u);
		if (p != NULL) {
			g_ptr_array_add(w->wanted, p);
			continue;
		}
		g_autofree char *platform = platform_format_all(&u->platform);
		log_warn("unpack configuration not supported, skipping", "platform", platform, "snapshotter",
		         str_or(u->snapshotter, ""), NULL);
	}
}

/* Types that only the unpack configurations know. */
static bool is_layer(const Walk *w, const char *media_type)
{
	for (guint i = 0; i < w->wanted->len; i++) {
		const UnpackPlatform *p = w->wanted->pdata[i];
		if (p->layer_types != NULL && media_type != NULL &&
		    g_strv_contains((const char *const *)p->layer_types, media_type))
			return true;
	}
	return media_type_is_layer(media_type);
}

static bool is_config(const Walk *w, const char *media_type)
{
	for (guint i = 0; i < w->wanted->len; i++)
		if (g_strcmp0(((UnpackPlatform *)w->wanted->pdata[i])->config_type, media_type) == 0)
			return true;
	return media_type_is_config(media_type);
}

static void walk_manifest(Walk *w, const Descriptor *manifest, GPtrArray *children)
{
	g_autoptr(GPtrArray) layers = descriptors_new();
	const Descriptor *config = NULL;
	for (guint i = 0; i < children->len; i++) {
		const Descriptor *child = children->pdata[i];
		bool layer = is_layer(w, child->media_type);
		w->legacy_config =
		        w->legacy_config || g_strcmp0(child->media_type, MEDIA_TYPE_OCTET_STREAM) == 0;
		if (w->wanted->len > 0 && config == NULL && is_config(w, child->media_type))
			config = child;
		else
			g_ptr_array_add(layer ? layers : w->leaves, descriptor_new_copy(child));
	}
	if (config == NULL || layers->len == 0) {
		if (config != NULL)
			g_ptr_array_add(w->leaves, descriptor_new_copy(config));
		g_ptr_array_extend_and_steal(w->leaves, g_steal_pointer(&layers));
		return;
	}
	Found *f = g_new0(Found, 1);
	f->manifest = g_strdup(manifest->digest);
	descriptor_copy(&f->config, config);
	f->layers = g_steal_pointer(&layers);
	g_ptr_array_add(w->found, f);
}

static bool walk_from(Walk *w, const Descriptor *desc, unsigned depth, GError **error);

/* They are kept beside the image; none of them is unpacked. */
static bool walk_referrers(Walk *w, GPtrArray *referrers, unsigned depth, GError **error)
{
	GPtrArray *wanted = w->wanted;
	g_autoptr(GPtrArray) none = g_ptr_array_new();
	w->wanted = none;
	bool ok = true;
	for (guint i = 0; ok && i < referrers->len; i++)
		ok = walk_from(w, referrers->pdata[i], depth + 1, error);
	w->wanted = wanted;
	return ok;
}

static bool walk_from(Walk *w, const Descriptor *desc, unsigned depth, GError **error)
{
	Operation *op = w->op;
	bool index = media_type_is_index(desc->media_type);
	if (!index && !media_type_is_manifest(desc->media_type)) {
		g_ptr_array_add(w->leaves, descriptor_new_copy(desc));
		return true;
	}
	if (depth > NESTING_MAX)
		return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED,
		                 "%s: indexes are nested more than %d deep", desc->digest, NESTING_MAX);
	progress_add(op->progress, desc);
	g_auto(FetchResult) fetched = {0};
	if (!fetch_content(op, desc, NULL, NULL, &fetched, error))
		return false;
	g_autoptr(GPtrArray) referrers = referrers_of(op, w->images, desc, error);
	if (referrers == NULL)
		return error_prefix(error, "referrers of %s", desc->digest);
	g_autoptr(GPtrArray) children = select_children(op, w->images, w->matcher, desc, referrers, error);
	if (children == NULL || !walk_referrers(w, referrers, depth, error))
		return false;
	progress_children(op->progress, desc, children);
	w->n_children += children->len;
	if (!index) {
		walk_manifest(w, desc, children);
		return true;
	}
	for (guint i = 0; i < children->len; i++)
		if (!walk_from(w, children->pdata[i], depth + 1, error))
			return false;
	return true;
}

bool walk(Walk *w, const Descriptor *desc, GError **error)
{
	return walk_from(w, desc, 0, error);
}

bool walk_unpack(Walk *w, GError **error)
{
	for (guint i = 0; i < w->found->len; i++) {
		Found *f = w->found->pdata[i];
		progress_add(w->op->progress, &f->config);
		g_auto(FetchResult) fetched = {0};
		if (!fetch_content(w->op, &f->config, NULL, NULL, &fetched, error) ||
		    !unpack_image(w->op, f->manifest, &f->config, f->layers, w->wanted, error))
			return false;
	}
	return true;
}
