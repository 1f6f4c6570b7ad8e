// SPDX-License-Identifier: Apache-2.0
/*
 * A pull: documents from the reference down to the configurations, one after the other (each is needed to
 * know the next), then the layers of the images that are unpacked, fetched and extracted at once, then what
 * else there is, side by side; at the end the image's record.
 */
#include "base/digest.h"
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "oci/child-labels.h"
#include "oci/labels.h"
#include "oci/manifest.h"
#include "oci/media-types.h"
#include "oci/reference.h"
#include "remote/explain.h"
#include "transfer/transfer-private.h"
#include <string.h>

/* "registry.example" of "registry.example:5000/a/b:c", and "a/b": where the content can be mounted from. */
bool set_source(Operation *op, const char *name, GError **error)
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

static RegistrySettings *settings_for(Transfer *t, const TransferRegistry *r)
{
	return r->settings != NULL ? registry_settings_ref(r->settings) : transfer_registry_settings(t);
}

static RegistryOptions registry_options(const TransferRegistry *r, HttpClient *http,
                                        RegistrySettings *settings)
{
	return (RegistryOptions){
	        .settings = settings,
	        .http = http,
	        .credentials = r->credentials,
	        .credentials_data = r->credentials_data,
	        .default_scheme = r->default_scheme,
	        .tls = r->tls,
	};
}

/* The options are needed while it is made, not after. */
Resolver *registry_resolver(Transfer *t, const TransferRegistry *r, HttpClient *http, const char *reference,
                            GError **error)
{
	g_autoptr(RegistrySettings) settings = settings_for(t, r);
	RegistryOptions registry = registry_options(r, http, settings);
	ResolverOptions options = {
	        .http = http,
	        .hosts = r->hosts != NULL ? r->hosts : registry_hosts,
	        .hosts_data = r->hosts != NULL ? r->hosts_data : &registry,
	        .headers = r->headers,
	        .trace = r->trace,
	};
	return resolver_new(&options, reference, error);
}

char *transfer_explain(Transfer *t, const Ctx *ctx, const TransferRegistry *from, bool attempt,
                       GError **error)
{
	g_autoptr(HttpClient) http = http_client_new(&t->config.http, error);
	if (http == NULL)
		return NULL;
	g_autoptr(RegistrySettings) settings = settings_for(t, from);
	const RegistryOptions registry = registry_options(from, http, settings);
	const ExplainOptions options = {
	        .registry = &registry,
	        .headers = from->headers,
	        .trace = from->trace,
	        .attempt = attempt,
	};
	g_autoptr(JsonObject) o = registry_explain(&options, from->reference, ctx->cancel, error);
	return o != NULL ? json_to_text(o) : NULL;
}

static bool resolve(Operation *op, const TransferRegistry *from, HttpClient *http, Descriptor *ret,
                    GError **error)
{
	op->resolver = registry_resolver(op->t, from, http, from->reference, error);
	if (op->resolver == NULL || !resolver_resolve(op->resolver, op->ctx.cancel, ret, error))
		return error_prefix(error, "failed to resolve image");
	if (g_strcmp0(ret->media_type, MEDIA_TYPE_DOCKER_SCHEMA1) == 0)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "schema 1 image manifests are no longer supported");
	return true;
}

/* Before anything is fetched. */
static bool verify(Operation *op, const char *name, const Descriptor *desc, GError **error)
{
	GPtrArray *verifiers = op->t->config.verifiers;
	for (guint i = 0; verifiers != NULL && i < verifiers->len; i++) {
		const NamedVerifier *v = verifiers->pdata[i];
		bool ok = false;
		g_autofree char *reason = NULL;
		if (!image_verifier_verify(v->verifier, op->ctx.cancel, name, desc, &ok, &reason, error))
			return error_prefix(
			        error, "blocking pull of %s with digest %s: image verifier %s returned error",
			        name, desc->digest, v->name);
		log_debug("image verifier's judgement", "name", name, "digest", desc->digest, "verifier",
		          v->name, "ok", ok ? "true" : "false", "reason", reason, NULL);
		if (!ok)
			return error_set(error, CTRD_ERR_UNKNOWN,
			                 "image verifier %s blocked pull of %s with digest %s for reason: %s",
			                 v->name, name, desc->digest, reason);
	}
	return true;
}

/* A manifest of old Docker's whose configuration is of no type gets a new one that says it (upstream
 * docker.ConvertManifest). Indexes stay as they are. */
static bool convert_legacy(Operation *op, Descriptor *desc, GError **error)
{
	if (!media_type_is_manifest(desc->media_type))
		return true;
	g_autofree char *data = NULL;
	size_t len = 0;
	ContentStore *content = op->t->config.content;
	if (!content_read_blob(content, &op->ctx, desc, MANIFEST_MAX, &data, &len, error))
		return error_prefix(error, "failed to read index data");
	g_autoptr(Manifest) m = manifest_parse(data, len, desc->media_type, error);
	if (m == NULL)
		return false;
	if (g_strcmp0(m->config.media_type, MEDIA_TYPE_OCTET_STREAM) != 0)
		return true;
	g_free(m->config.media_type);
	m->config.media_type = g_strdup(MEDIA_TYPE_DOCKER_CONFIG);
	g_autoptr(JsonObject) json = manifest_to_json(m);
	g_autofree char *text = json_to_text(json);
	g_autoptr(GPtrArray) children = manifest_children(desc, text, strlen(text), error);
	if (children == NULL)
		return false;
	g_autoptr(GHashTable) labels = child_gc_labels(children, op->discard_layers);
	g_free(desc->digest);
	desc->digest = digest_bytes(text, strlen(text));
	desc->size = (int64_t)strlen(text);
	g_autofree char *ref = transfer_ref_key(desc);
	return content_write_blob(content, &op->ctx, ref, text, strlen(text), desc, labels, error) ||
	       error_prefix(error, "failed to update content");
}

bool transfer_pull(Transfer *t, const Ctx *ctx, const TransferRegistry *from, const TransferImages *to,
                   TransferProgressSink progress, GError **error)
{
	g_autoptr(HttpClient) http = http_client_new(&t->config.http, error);
	g_auto(Operation) op = {0};
	if (http == NULL || !operation_begin(&op, t, ctx, error))
		return false;
	progress_say(progress, NULL, NULL, "Resolving from OCI Registry (%s)", from->reference);
	g_auto(Descriptor) desc = {0};
	if (!resolve(&op, from, http, &desc, error) || !verify(&op, from->reference, &desc, error) ||
	    !set_source(&op, from->reference, error))
		return false;
	op.image_ref = from->reference;
	progress_say(progress, NULL, NULL, "Pulling from OCI Registry (%s)", from->reference);
	progress_say(progress, from->reference, &desc, "fetching image content");
	op.progress = progress_new(from->reference, "downloading", progress);

	g_auto(Walk) w = {0};
	walk_init(&w, &op, to);
	bool ok = walk(&w, &desc, error) && walk_unpack(&w, error) && fetch_all(&op, w.leaves, error);
	g_clear_pointer(&op.progress, progress_free);
	if (!ok || (w.legacy_config && !convert_legacy(&op, &desc, error)))
		return false;
	g_autoptr(GPtrArray) images = store_images(&op, to, &desc, error);
	if (images == NULL || !operation_finish(&op, error))
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
	if (!walk(&w, image, error))
		return false;
	if (w.found->len == 0)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "no image to unpack in %s", image->digest);
	return walk_unpack(&w, error) && operation_finish(&op, error);
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
	return images != NULL && operation_finish(&op, error);
}
