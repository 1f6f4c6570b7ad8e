// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "loop/lock.h"
#include "loop/thread.h"
#include "oci/labels.h"
#include "oci/media-types.h"
#include "store/leases.h"
#include "transfer/transfer-private.h"
#include <string.h>

enum {
	DEFAULT_CONCURRENCY = 3, // as upstream's configuration
	LEASE_HOURS = 24,
};

UnpackPlatform *unpack_platform_new(PlatformMatcher *platform, Snapshotter *snapshotter, Differ *differ)
{
	UnpackPlatform *p = g_new0(UnpackPlatform, 1);
	p->platform = platform;
	p->name = g_strdup(snapshotter->name);
	p->snapshotter = snapshotter;
	p->differ = differ;
	return p;
}

void unpack_platform_free(UnpackPlatform *p)
{
	if (p == NULL)
		return;
	platform_matcher_free(p->platform);
	g_free(p->name);
	g_free(p->config_type);
	g_strfreev(p->layer_types);
	g_free(p);
}

Transfer *transfer_new(const TransferConfig *config)
{
	Transfer *t = g_new0(Transfer, 1);
	t->config = *config;
	t->config.default_snapshotter = g_strdup(str_or(config->default_snapshotter, "overlayfs"));
	t->config.unpack_platforms = config->unpack_platforms != NULL
	                                     ? g_ptr_array_ref(config->unpack_platforms)
	                                     : g_ptr_array_new();
	if (config->verifiers != NULL)
		g_ptr_array_ref(config->verifiers);
	if (t->config.max_concurrent_downloads == 0)
		t->config.max_concurrent_downloads = DEFAULT_CONCURRENCY;
	if (t->config.max_concurrent_uploads == 0)
		t->config.max_concurrent_uploads = DEFAULT_CONCURRENCY;
	registry_current_ref(t->config.registries);
	registry_current_ref(t->config.registries_fallback);
	t->downloads = semaphore_new(t->config.max_concurrent_downloads);
	t->uploads = semaphore_new(t->config.max_concurrent_uploads);
	t->once = keyed_lock_new();
	ranges_init(&t->ranges, config->concurrent_layer_fetch_buffer);
	return t;
}

void transfer_free(Transfer *t)
{
	if (t == NULL)
		return;
	g_free((char *)t->config.default_snapshotter);
	g_ptr_array_unref(t->config.unpack_platforms);
	g_clear_pointer(&t->config.verifiers, g_ptr_array_unref);
	registry_current_unref(t->config.registries);
	registry_current_unref(t->config.registries_fallback);
	semaphore_free(t->downloads);
	semaphore_free(t->uploads);
	keyed_lock_free(t->once);
	g_free(t);
}

RegistryCurrent *transfer_registries(Transfer *t)
{
	return t->config.registries;
}

RegistrySettings *transfer_registry_settings(Transfer *t)
{
	RegistrySettings *own = registry_current_get(t->config.registries);
	if (registry_settings_has_hosts(own) || t->config.registries_fallback == NULL)
		return own;
	registry_settings_unref(own);
	return registry_current_get(t->config.registries_fallback);
}

char *transfer_ref_key(const Descriptor *desc)
{
	const char *kind = "unknown";
	if (media_type_is_manifest(desc->media_type))
		kind = "manifest";
	else if (media_type_is_index(desc->media_type))
		kind = "index";
	else if (media_type_is_layer(desc->media_type))
		kind = "layer";
	else if (media_type_is_known_config(desc->media_type))
		kind = "config";
	else if (media_type_is_attestation(desc->media_type))
		kind = "attestation";
	const char *name = descriptor_annotation(desc, ANNOTATION_OCI_REF_NAME);
	return name != NULL ? g_strdup_printf("%s-%s@%s", kind, name, desc->digest)
	                    : g_strdup_printf("%s-%s", kind, desc->digest);
}

/* ---- One operation ---- */

static char *make_lease(Transfer *t, const Ctx *ctx, GError **error)
{
	g_autofree char *id =
	        g_strdup_printf("%" G_GINT64_FORMAT "-%06x", time_now(), g_random_int() & 0xffffff);
	g_autofree char *expire =
	        time_format_rfc3339(time_now() / NS_PER_SEC * NS_PER_SEC + LEASE_HOURS * 3600 * NS_PER_SEC);
	g_autoptr(GHashTable) labels = strmap_new();
	strmap_set(labels, LABEL_GC_EXPIRE, expire);
	g_autoptr(Lease) lease = leases_create(t->config.db, ctx, id, labels, error);
	return lease != NULL ? g_strdup(lease->id) : NULL;
}

bool operation_begin(Operation *op, Transfer *t, const Ctx *ctx, GError **error)
{
	*op = (Operation){.t = t, .ctx = *ctx};
	op->ctx.cancel = cancel_new(ctx->cancel); // first: operation_end gives it back whatever happens
	op->ctx.lazy = true;                      // all but the last step: operation_finish
	if (str_empty(ctx->lease)) {
		op->own_lease = make_lease(t, &op->ctx, error);
		if (op->own_lease == NULL)
			return false;
		op->ctx.lease = op->own_lease;
	}
	return true;
}

Ctx operation_cleanup_ctx(const Operation *op)
{
	return (Ctx){.ns = op->ctx.ns, .lease = op->ctx.lease, .lazy = true};
}

bool operation_finish(Operation *op, GError **error)
{
	if (op->own_lease == NULL)
		return meta_flush(op->t->config.db, error);
	Ctx ctx = {.ns = op->ctx.ns};
	g_autoptr(GError) e = NULL;
	bool ok = leases_delete(op->t->config.db, &ctx, op->own_lease, &e);
	g_clear_pointer(&op->own_lease, g_free);
	op->ctx.lease = NULL;
	if (ok)
		return true;
	if (error_is(e, CTRD_ERR_NOT_FOUND)) // somebody took it away
		return meta_flush(op->t->config.db, error);
	g_propagate_error(error, g_steal_pointer(&e));
	return error_prefix(error, "failed to delete the lease of a transfer");
}

void operation_end(Operation *op)
{
	if (op->t == NULL)
		return;
	g_clear_pointer(&op->progress, progress_free);
	g_clear_pointer(&op->resolver, resolver_free);
	if (op->own_lease != NULL) {
		Ctx ctx = {.ns = op->ctx.ns};
		g_autoptr(GError) e = NULL;
		if (!leases_delete(op->t->config.db, &ctx, op->own_lease, &e))
			log_error_take(LOG_WARN, g_steal_pointer(&e),
			               "failed to delete the lease of a transfer", "lease", op->own_lease,
			               NULL);
	}
	g_clear_pointer(&op->own_lease, g_free);
	cancel_unref(op->ctx.cancel);
	g_clear_pointer(&op->source_label, g_free);
	g_clear_pointer(&op->source_repo, g_free);
	op->t = NULL;
}

/* ---- Threads ---- */

typedef struct {
	Operation *op;
	ParallelFn fn;
	void *data;
	Lock lock;
	guint next, n;
	GError *error;
} Parallel;

static void *parallel_thread(void *data)
{
	Parallel *p = data;
	for (;;) {
		guint i;
		{
			LOCK_SCOPE(&p->lock);
			if (p->error != NULL || p->next == p->n)
				return NULL;
			i = p->next++;
		}
		GError *e = NULL;
		if (p->fn(p->data, i, &e))
			continue;
		bool first;
		{
			LOCK_SCOPE(&p->lock);
			first = p->error == NULL;
			if (first)
				p->error = e;
		}
		if (!first)
			g_error_free(e);
		cancel_trigger(p->op->ctx.cancel, false);
	}
}

bool parallel_run(Operation *op, unsigned n_threads, guint n, ParallelFn fn, void *data, GError **error)
{
	Parallel p = {.op = op, .fn = fn, .data = data, .n = n};
	lock_init(&p.lock, "parallel", LOCK_RANK_LEAF);
	unsigned want = MIN(n_threads, n), made = 0;
	g_autofree pthread_t *threads = g_new0(pthread_t, MAX(want, 1));
	/* one of them is this thread; so without any other it still gets done */
	while (made + 1 < want && thread_start(&threads[made], "transfer", 0, parallel_thread, &p) == 0)
		made++;
	parallel_thread(&p);
	for (unsigned i = 0; i < made; i++)
		pthread_join(threads[i], NULL);
	lock_destroy(&p.lock);
	if (p.error == NULL)
		return true;
	g_propagate_error(error, p.error);
	return false;
}
