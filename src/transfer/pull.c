// SPDX-License-Identifier: Apache-2.0
/*
 * A pull: documents from the reference down to the configurations, one after the other (each is needed to
 * know the next), then the layers of the images that are unpacked, fetched and extracted at once, then what
 * else there is, side by side; at the end the image's record.
 */
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "oci/labels.h"
#include "oci/manifest.h"
#include "oci/media-types.h"
#include "oci/reference.h"
#include "transfer/transfer-private.h"
#include <string.h>

enum {
	NESTING_MAX = 8, // indexes in indexes
};

/* An image to unpack. */
typedef struct {
	Descriptor config;
	GPtrArray *layers; // of Descriptor*
} Found;

static void found_free(void *data)
{
	Found *f = data;
	descriptor_clear(&f->config);
	g_ptr_array_unref(f->layers);
	g_free(f);
}

typedef struct {
	Operation *op;
	const TransferImages *images;
	PlatformMatcher *matcher;
	GPtrArray *wanted; // of UnpackPlatform*, borrowed; empty: nothing is unpacked
	GPtrArray *found;  // of Found*
	GPtrArray *leaves; // of Descriptor*: to fetch and no more
} Walk;

static void walk_clear(Walk *w)
{
	platform_matcher_free(w->matcher);
	g_clear_pointer(&w->wanted, g_ptr_array_unref);
	g_clear_pointer(&w->found, g_ptr_array_unref);
	g_clear_pointer(&w->leaves, g_ptr_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Walk, walk_clear)

static void walk_init(Walk *w, Operation *op, const TransferImages *images)
{
	w->op = op;
	w->images = images;
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

static void walk_manifest(Walk *w, GPtrArray *children)
{
	g_autoptr(GPtrArray) layers = descriptors_new();
	const Descriptor *config = NULL;
	for (guint i = 0; i < children->len; i++) {
		const Descriptor *child = children->pdata[i];
		bool layer = media_type_is_layer(child->media_type);
		if (w->wanted->len > 0 && config == NULL && media_type_is_config(child->media_type))
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
	descriptor_copy(&f->config, config);
	f->layers = g_steal_pointer(&layers);
	g_ptr_array_add(w->found, f);
}

static bool walk(Walk *w, const Descriptor *desc, unsigned depth, GError **error)
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
	g_autoptr(GPtrArray) children = select_children(op, w->images, w->matcher, desc, error);
	if (children == NULL)
		return false;
	progress_children(op->progress, desc, children);
	if (!index) {
		walk_manifest(w, children);
		return true;
	}
	for (guint i = 0; i < children->len; i++)
		if (!walk(w, children->pdata[i], depth + 1, error))
			return false;
	return true;
}

static bool unpack_found(Walk *w, GError **error)
{
	for (guint i = 0; i < w->found->len; i++) {
		Found *f = w->found->pdata[i];
		progress_add(w->op->progress, &f->config);
		g_auto(FetchResult) fetched = {0};
		if (!fetch_content(w->op, &f->config, NULL, NULL, &fetched, error) ||
		    !unpack_image(w->op, &f->config, f->layers, w->wanted, error))
			return false;
	}
	return true;
}

/* "registry.example" of "registry.example:5000/a/b:c", and "a/b": where the content can be mounted from. */
static bool set_source(Operation *op, const char *name, GError **error)
{
	g_auto(RefSpec) spec = {0};
	if (!ref_spec_parse(name, &spec, error))
		return false;
	g_autofree char *host = ref_spec_hostname(&spec);
	char *colon = strrchr(host, ':');
	if (colon != NULL && strchr(colon, ']') == NULL)
		*colon = '\0';
	op->source_label = g_strconcat(LABEL_DISTRIBUTION_SOURCE, ".", host, NULL);
	op->source_repo = g_strdup(ref_spec_path(&spec));
	return true;
}

static bool resolve(Operation *op, const TransferRegistry *from, HttpClient *http, Descriptor *ret,
                    GError **error)
{
	RegistryOptions registry = {
	        .http = http,
	        .credentials = from->credentials,
	        .credentials_data = from->credentials_data,
	        .default_scheme = from->default_scheme,
	        .tls = from->tls,
	};
	ResolverOptions options = {
	        .http = http,
	        .hosts = from->hosts != NULL ? from->hosts : registry_default_hosts,
	        .hosts_data = from->hosts != NULL ? from->hosts_data : &registry,
	        .headers = from->headers,
	        .trace = from->trace,
	};
	op->resolver = resolver_new(&options, from->reference, error);
	if (op->resolver == NULL || !resolver_resolve(op->resolver, op->ctx.cancel, ret, error))
		return error_prefix(error, "failed to resolve image");
	if (g_strcmp0(ret->media_type, MEDIA_TYPE_DOCKER_SCHEMA1) == 0)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "schema 1 image manifests are no longer supported");
	return true;
}

bool transfer_pull(Transfer *t, const Ctx *ctx, const TransferRegistry *from, const TransferImages *to,
                   TransferProgressSink progress, GError **error)
{
	g_autoptr(HttpClient) http = http_client_new(&t->config.http);
	g_auto(Operation) op = {0};
	if (!operation_begin(&op, t, ctx, error))
		return false;
	progress_say(progress, NULL, NULL, "Resolving from OCI Registry (%s)", from->reference);
	g_auto(Descriptor) desc = {0};
	if (!resolve(&op, from, http, &desc, error) || !set_source(&op, from->reference, error))
		return false;
	progress_say(progress, NULL, NULL, "Pulling from OCI Registry (%s)", from->reference);
	progress_say(progress, from->reference, &desc, "fetching image content");
	op.progress = progress_new(from->reference, "downloading", progress);

	g_auto(Walk) w = {0};
	walk_init(&w, &op, to);
	bool ok = walk(&w, &desc, 0, error) && unpack_found(&w, error) && fetch_all(&op, w.leaves, error);
	g_clear_pointer(&op.progress, progress_free);
	if (!ok)
		return false;
	g_autoptr(GPtrArray) images = store_images(&op, to, &desc, error);
	if (images == NULL)
		return false;
	for (guint i = 0; i < images->len; i++) {
		const Image *image = images->pdata[i];
		progress_say(progress, image->name, &image->target, "saved");
	}
	progress_say(progress, NULL, NULL, "Completed pull from OCI Registry (%s)", from->reference);
	return true;
}

bool transfer_unpack(Transfer *t, const Ctx *ctx, const Descriptor *image, const TransferUnpack *unpack,
                     GError **error)
{
	g_auto(Operation) op = {0};
	if (!operation_begin(&op, t, ctx, error))
		return false;
	g_autoptr(GPtrArray) platforms = g_ptr_array_new(), unpacks = g_ptr_array_new();
	g_ptr_array_add(platforms, (Platform *)&unpack->platform);
	g_ptr_array_add(unpacks, (TransferUnpack *)unpack);
	TransferImages images = {.platforms = platforms, .unpacks = unpacks, .manifest_limit = 1};
	g_auto(Walk) w = {0};
	walk_init(&w, &op, &images);
	if (w.wanted->len == 0)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "snapshotter %s",
		                       Q(str_or(unpack->snapshotter, "")));
	if (!walk(&w, image, 0, error))
		return false;
	if (w.found->len == 0)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "no image to unpack in %s", image->digest);
	return unpack_found(&w, error);
}

bool transfer_tag(Transfer *t, const Ctx *ctx, const TransferImages *from, const TransferImages *to,
                  GError **error)
{
	g_auto(Operation) op = {0};
	if (!operation_begin(&op, t, ctx, error))
		return false;
	g_autoptr(Image) image = images_get(t->config.db, &op.ctx, from->name, error);
	if (image == NULL)
		return false;
	g_autoptr(GPtrArray) images = store_images(&op, to, &image->target, error);
	return images != NULL;
}
