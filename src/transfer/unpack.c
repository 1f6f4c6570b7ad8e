// SPDX-License-Identifier: Apache-2.0
/*
 * Layers into snapshots (upstream core/unpack/unpacker.go).
 *
 * Where the snapshotter can put a parent under a finished snapshot ("rebase") all layers are fetched and
 * extracted side by side, each into a snapshot without a parent, as an overlay's upper directory: whiteouts
 * become devices there, for the layer knows nothing of what is below it. At the end the directories that it
 * did not bring itself get the attributes that they have below (implied.h), and the snapshots are committed
 * in order. The snapshotter syncs before a commit is recorded: the first commit writes out all layers at
 * once. Elsewhere each layer needs its parent: they are extracted one after the other, while the next ones
 * are being fetched.
 *
 * The locks of chain ids are taken from the bottom up, by all operations in the same order, and kept until
 * the snapshot is committed: who comes second finds it done.
 */
#include "base/digest.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/identifiers.h"
#include "base/log.h"
#include "base/util.h"
#include "loop/lock.h"
#include "loop/thread.h"
#include "oci/labels.h"
#include "oci/manifest.h"
#include "oci/media-types.h"
#include "transfer/early-sync.h"
#include "transfer/implied.h"
#include "transfer/transfer-private.h"
#include <stdatomic.h>
#include <string.h>

enum {
	PREPARE_TRIES = 3,
	EXTRA_WORKERS = 2, // beyond downloads: those whose download is done and who still extract
};

typedef struct Unpack Unpack;
typedef struct {
	Unpack *u;
	guint i;
	const Descriptor *desc;
	const char *diff_id, *chain_id, *parent; // parent: chain id of the layer below, NULL: the first
	char *lock_key;                          // held; NULL: not
	char *key;                               // of our active snapshot; NULL: none
	GPtrArray *mounts;
	char *root;           // where it was extracted to
	ImpliedDirs *implied; // parallel: directories without an entry
	atomic_bool claimed;  // sequential: who fetches it
	bool exists, applied;
} Layer;

struct Unpack {
	Operation *op;
	UnpackPlatform *platform;
	const char *manifest; // its digest
	Layer *layers;
	guint n;
	bool parallel;
	EarlySync *early;
};

/* ---- One layer's snapshot ---- */

static char *unique_part(void)
{
	guint32 random = g_random_int();
	g_autofree char *text = g_base64_encode((const guchar *)&random, 3);
	g_strdelimit(text, "+", '-');
	g_strdelimit(text, "/", '_');
	return g_strdup_printf("%d-%s", (int)(time_now() % NS_PER_SEC), text);
}

/* The digests of this layer and those above, as many as a label holds: what a remote snapshotter may prepare
 * too. */
static char *image_layers(const Layer *l)
{
	g_autoptr(GString) text = g_string_new(l->desc->digest);
	for (guint i = l->i + 1; i < l->u->n; i++) {
		gsize before = text->len;
		g_string_append_printf(text, ",%s", l->u->layers[i].desc->digest);
		if (!label_validate(LABEL_SNAPSHOT_CRI_IMAGE_LAYERS, text->str, NULL)) {
			g_string_truncate(text, before);
			break;
		}
	}
	return g_string_free(g_steal_pointer(&text), FALSE);
}

/* What a remote snapshotter needs to get the layer by itself. */
static void remote_labels(const Layer *l, GHashTable *labels)
{
	g_autofree char *layers = image_layers(l);
	strmap_set(labels, LABEL_SNAPSHOT_CRI_IMAGE_REF, l->u->op->image_ref);
	strmap_set(labels, LABEL_SNAPSHOT_CRI_LAYER_DIGEST, l->desc->digest);
	strmap_set(labels, LABEL_SNAPSHOT_CRI_IMAGE_LAYERS, layers);
	strmap_set(labels, LABEL_SNAPSHOT_CRI_MANIFEST_DIGEST, l->u->manifest);
}

/* Not what annotations say, as upstream: they come with the image, and a snapshotter trusts its labels. */
static GHashTable *snapshot_labels(const Layer *l)
{
	GHashTable *labels = strmap_new();
	if (l->u->op->image_ref != NULL && (l->u->platform->annotations || l->u->op->snapshot_annotations))
		remote_labels(l, labels);
	strmap_set(labels, LABEL_SNAPSHOT_REF, l->chain_id);
	strmap_set(labels, LABEL_SNAPSHOT_DIFF_ID, l->diff_id);
	if (l->parent != NULL)
		strmap_set(labels, LABEL_SNAPSHOT_PARENT_CHAIN_ID, l->parent);
	return labels;
}

/* An active snapshot for the layer, or the news that the finished one is there. */
static bool layer_prepare(Layer *l, GError **error)
{
	Operation *op = l->u->op;
	Snapshotter *sn = l->u->platform->snapshotter;
	g_autoptr(GHashTable) labels = snapshot_labels(l);
	const char *parent = l->u->parallel ? NULL : l->parent;
	g_autoptr(GError) e = NULL;
	for (int try = 0; try < PREPARE_TRIES; try++) {
		g_clear_error(&e);
		g_autofree char *unique = unique_part();
		g_autofree char *key = g_strdup_printf("extract-%s %s", unique, l->chain_id);
		l->mounts = snapshot_prepare(sn, &op->ctx, key, str_or(parent, ""), labels, &e);
		if (l->mounts != NULL) {
			l->key = g_steal_pointer(&key);
			return FAILPOINT("unpack.prepared", error);
		}
		if (!error_is(e, CTRD_ERR_ALREADY_EXISTS)) {
			g_autofree char *quoted = go_quote(key);
			error_prefix(&e, "failed to prepare extraction snapshot %s", quoted);
			g_propagate_error(error, g_steal_pointer(&e));
			return false;
		}
		g_autoptr(GError) stat_error = NULL;
		g_autoptr(SnapshotInfo) info = snapshot_stat(sn, &op->ctx, l->chain_id, &stat_error);
		if (info != NULL) {
			l->exists = true;
			return true;
		}
		if (!error_is(stat_error, CTRD_ERR_NOT_FOUND)) {
			error_prefix(&stat_error, "failed to stat snapshot %s", l->chain_id);
			g_propagate_error(error, g_steal_pointer(&stat_error));
			return false;
		}
	}
	error_prefix(&e, "unable to prepare extraction snapshot");
	g_propagate_error(error, g_steal_pointer(&e));
	return false;
}

static bool layer_lock(Layer *l, GError **error)
{
	Operation *op = l->u->op;
	g_autofree char *key = g_strdup_printf("sn://%s/%s", l->u->platform->name, l->chain_id);
	if (!keyed_lock_acquire(op->t->once, key, op->ctx.cancel, error))
		return false;
	l->lock_key = g_steal_pointer(&key);
	return true;
}

static void layer_remove_snapshot(Layer *l)
{
	if (l->key == NULL)
		return;
	Ctx ctx = operation_cleanup_ctx(l->u->op);
	g_autoptr(GError) e = NULL;
	if (!snapshot_remove(l->u->platform->snapshotter, &ctx, l->key, &e) &&
	    !error_is(e, CTRD_ERR_NOT_FOUND))
		log_error_take(LOG_ERROR, g_steal_pointer(&e), "failed to clean up", "key", l->key, NULL);
	g_clear_pointer(&l->key, g_free);
	g_clear_pointer(&l->mounts, g_ptr_array_unref);
	g_clear_pointer(&l->root, g_free);
	g_clear_pointer(&l->implied, implied_dirs_free);
}

/* Gives everything back; an active snapshot that is still there is removed. */
static void layer_done(Layer *l)
{
	Operation *op = l->u->op;
	layer_remove_snapshot(l);
	if (l->lock_key != NULL)
		keyed_lock_release(op->t->once, l->lock_key);
	g_clear_pointer(&l->lock_key, g_free);
	g_clear_pointer(&l->mounts, g_ptr_array_unref);
	g_clear_pointer(&l->root, g_free);
	g_clear_pointer(&l->implied, implied_dirs_free);
}

/* ---- One layer's content ---- */

typedef struct {
	Layer *l;
	Compression compression;
	LayerStream *stream;
	ContentReader *reader;
	int64_t offset;
	LayerStreamResult result;
	bool spoilt; // the snapshot has what a registry sent that lied; the content is there now
} Extract;

static bool tee_write(void *data, const void *buf, size_t len, GError **error)
{
	Extract *x = data;
	x->offset += (int64_t)len;
	progress_extract(x->l->u->op->progress, x->l->desc, x->offset);
	return layer_stream_write(x->stream, buf, len, error);
}

static ssize_t content_source(void *data, void *buf, size_t len, GError **error)
{
	Extract *x = data;
	if (!cancel_check(x->l->u->op->ctx.cancel, error))
		return -1;
	ssize_t n = content_read_at(x->reader, buf, len, x->offset, error);
	if (n > 0)
		x->offset += n;
	return n;
}

static void content_progress(void *data, int64_t taken)
{
	Extract *x = data;
	progress_extract(x->l->u->op->progress, x->l->desc, taken);
}

static bool extract_failed(Layer *l, GError **error)
{
	g_autofree char *key = go_quote(l->key);
	return error_prefix(error, "failed to extract layer (%s %s) to %s as %s", l->desc->media_type,
	                    l->desc->digest, l->u->platform->name, key);
}

static bool extract_from_content(Extract *x, const LayerStreamOptions *o, GError **error)
{
	Operation *op = x->l->u->op;
	g_autoptr(ContentReader) reader = content_reader(op->t->config.content, &op->ctx, x->l->desc, error);
	if (reader == NULL)
		return error_prefix(error, "failed to get reader from content store") ||
		       extract_failed(x->l, error);
	x->reader = reader;
	x->offset = 0;
	progress_extract(op->progress, x->l->desc, 0);
	return layer_stream_run(o, content_source, x, content_progress, x, &x->result, error) ||
	       extract_failed(x->l, error);
}

/* Fetch and extract at once; from the store where it is there already, or begins with what an earlier try
 * left. */
static bool extract_to(const DifferTarget *target, void *data, GError **error)
{
	Extract *x = data;
	Layer *l = x->l;
	Operation *op = l->u->op;
	LayerStreamOptions o = {
	        .root = target->root,
	        .compression = x->compression,
	        .applied = early_sync_counter(l->u->early),
	        .apply = {.whiteout = target->whiteout, .parents = target->parents, .cancel = op->ctx.cancel},
	};
	if (l->u->parallel && l->parent != NULL) {
		o.apply.whiteout = LAYER_WHITEOUT_OVERLAY;
		l->implied = implied_dirs_new();
		o.apply.filter = implied_dirs_filter;
		o.apply.filter_data = l->implied;
	}
	l->root = g_strdup(target->root);
	early_sync_root(l->u->early, target->root);
	g_autoptr(LayerStream) stream = layer_stream_new(&o, error);
	if (stream == NULL)
		return extract_failed(l, error);
	x->stream = stream;
	g_auto(FetchResult) fetched = {0};
	if (!fetch_content(op, l->desc, tee_write, x, &fetched, error))
		return false;
	if (fetched.tee_spoilt) {
		x->spoilt = true;
		return error_set(error, CTRD_ERR_UNKNOWN, "the layer came twice");
	}
	if (fetched.tee_failed != NULL) {
		g_propagate_error(error, g_steal_pointer(&fetched.tee_failed));
		return extract_failed(l, error);
	}
	if (fetched.teed)
		return layer_stream_finish(stream, &x->result, error) || extract_failed(l, error);
	g_clear_pointer(&stream, layer_stream_free);
	return extract_from_content(x, &o, error);
}

static bool extract_with_differ(Extract *x, GError **error)
{
	Layer *l = x->l;
	Operation *op = l->u->op;
	g_auto(FetchResult) fetched = {0};
	if (!fetch_content(op, l->desc, NULL, NULL, &fetched, error))
		return false;
	DifferApplyOptions o = {.progress = content_progress, .progress_data = x};
	g_auto(Descriptor) applied = {0};
	if (!differ_apply(l->u->platform->differ, &op->ctx, l->desc, l->mounts, &o, &applied, error))
		return extract_failed(l, error);
	x->result.diff_id = g_strdup(applied.digest);
	return true;
}

/* Now that the uncompressed content is known to be what the configuration says. */
static bool label_uncompressed(Layer *l, GError **error)
{
	Operation *op = l->u->op;
	g_autoptr(GHashTable) labels = strmap_new();
	strmap_set(labels, LABEL_UNCOMPRESSED, l->diff_id);
	ContentInfo update = {.digest = l->desc->digest, .labels = labels};
	const char *const paths[] = {"labels." LABEL_UNCOMPRESSED, NULL};
	g_autoptr(ContentInfo) updated =
	        content_update(op->t->config.content, &op->ctx, &update, paths, error);
	return updated != NULL;
}

static bool extract_once(Extract *x, GError **error)
{
	Layer *l = x->l;
	if (!differ_is_plain(l->u->platform->differ, l->desc->media_type))
		return extract_with_differ(x, error);
	return (differ_compression(l->desc->media_type, &x->compression, error) ||
	        extract_failed(l, error)) &&
	       differ_with_target(l->mounts, extract_to, x, error);
}

static bool layer_extract(Layer *l, GError **error)
{
	Extract x = {.l = l};
	g_autoptr(GError) e = NULL;
	bool ok = extract_once(&x, &e);
	if (x.spoilt) {
		g_clear_error(&e);
		x = (Extract){.l = l};
		layer_remove_snapshot(l);
		ok = layer_prepare(l, &e) && (l->exists || extract_once(&x, &e));
		if (ok && l->exists)
			return true;
	}
	if (!ok)
		g_propagate_error(error, g_steal_pointer(&e));
	if (ok && !g_str_equal(x.result.diff_id, l->diff_id))
		ok = error_set(error, CTRD_ERR_UNKNOWN,
		               "wrong diff id \"%s\" calculated on extraction \"%s\", desc \"%s\"",
		               x.result.diff_id, l->diff_id, l->desc->digest);
	layer_stream_result_clear(&x.result);
	ok = ok && FAILPOINT("unpack.applied", error) && label_uncompressed(l, error);
	l->applied = ok;
	return ok;
}

static bool layer_commit(Layer *l, const Ctx *ctx, GError **error)
{
	g_autoptr(GHashTable) labels = snapshot_labels(l);
	g_autoptr(GError) e = NULL;
	if (!FAILPOINT("unpack.commit", error))
		return false;
	if (snapshot_commit(l->u->platform->snapshotter, ctx, l->chain_id, l->key,
	                    l->u->parallel ? l->parent : NULL, labels, &e)) {
		g_clear_pointer(&l->key, g_free);
	} else if (!error_is(e, CTRD_ERR_ALREADY_EXISTS)) {
		error_prefix(&e, "failed to commit snapshot %s", l->key);
		g_propagate_error(error, g_steal_pointer(&e));
		return false;
	}
	progress_extracted(l->u->op->progress, l->desc);
	return true;
}

/* ---- All layers ---- */

static bool parallel_layer(void *data, guint i, GError **error)
{
	Unpack *u = data;
	Layer *l = &u->layers[i];
	return layer_prepare(l, error) && (l->exists || layer_extract(l, error));
}

/* The directories of a finished snapshot, topmost first, appended to out. */
static bool add_lowers(Unpack *u, const char *chain_id, GPtrArray *out, GError **error)
{
	Snapshotter *sn = u->platform->snapshotter;
	Ctx ctx = operation_cleanup_ctx(u->op);
	g_autofree char *unique = unique_part();
	g_autofree char *key = g_strdup_printf("extract-%s lower %s", unique, chain_id);
	g_autoptr(GHashTable) labels = strmap_new();
	g_autoptr(GPtrArray) mounts = snapshot_view(sn, &ctx, key, chain_id, labels, error);
	if (mounts == NULL)
		return false;
	const Mount *m = mounts->len == 1 ? mounts->pdata[0] : NULL;
	g_autofree char *upper = NULL;
	g_auto(GStrv) lowers = NULL;
	if (m != NULL && g_strcmp0(m->type, "bind") == 0) {
		g_ptr_array_add(out, g_strdup(m->source));
	} else if (m != NULL) {
		layer_overlay_paths((const char *const *)m->options, &upper, &lowers);
		for (size_t i = 0; lowers != NULL && lowers[i] != NULL; i++)
			g_ptr_array_add(out, g_strdup(lowers[i]));
	}
	return snapshot_remove(sn, &ctx, key, error);
}

/* Now that the layers below are known: l's own directories below l->root. */
static bool fix_implied(Unpack *u, Layer *l, GError **error)
{
	if (!implied_dirs_any(l->implied))
		return true;
	g_autoptr(GPtrArray) lowers = g_ptr_array_new_with_free_func(g_free);
	guint i = l->i;
	for (; i > 0 && u->layers[i - 1].applied; i--)
		g_ptr_array_add(lowers, g_strdup(u->layers[i - 1].root));
	if (i > 0 && !add_lowers(u, u->layers[i - 1].chain_id, lowers, error))
		return false;
	return implied_dirs_fix(l->implied, l->root, lowers, error) || extract_failed(l, error);
}

/* The layers from the bottom up to the first that is missing; also after a failure, so that the next try has
 * less to do. */
static bool commit_all(Unpack *u, GError **error)
{
	guint ready = 0;
	while (ready < u->n && (u->layers[ready].exists || u->layers[ready].applied))
		ready++;
	for (guint i = 0; i < ready; i++)
		if (u->layers[i].applied && !fix_implied(u, &u->layers[i], error))
			return false;
	Ctx ctx = operation_cleanup_ctx(u->op);
	for (guint i = 0; i < ready; i++)
		if (u->layers[i].applied && !layer_commit(&u->layers[i], &ctx, error))
			return false;
	return true;
}

static bool unpack_parallel(Unpack *u, GError **error)
{
	for (guint i = 0; i < u->n; i++)
		if (!layer_lock(&u->layers[i], error))
			return false;
	unsigned workers = u->op->t->config.max_concurrent_downloads + EXTRA_WORKERS;
	bool ok = parallel_run(u->op, workers, u->n, parallel_layer, u, error);
	return early_sync_finish(u->early, ok ? error : NULL) && commit_all(u, ok ? error : NULL) && ok;
}

typedef struct {
	Unpack *u;
	guint first;
	GError *error;
} Prefetch;

static bool prefetch_layer(void *data, guint i, GError **error)
{
	Prefetch *p = data;
	Layer *l = &p->u->layers[p->first + i];
	if (atomic_exchange(&l->claimed, true))
		return true;
	g_auto(FetchResult) fetched = {0};
	return fetch_content(p->u->op, l->desc, NULL, NULL, &fetched, error);
}

static void *prefetch_thread(void *data)
{
	Prefetch *p = data;
	parallel_run(p->u->op, MAX(p->u->op->t->config.max_concurrent_downloads, 2) - 1, p->u->n - p->first,
	             prefetch_layer, p, &p->error);
	return NULL;
}

static bool sequential_layer(Layer *l, GError **error)
{
	atomic_store(&l->claimed, true);
	if (!layer_extract(l, error) || !early_sync_finish(l->u->early, error) ||
	    !layer_commit(l, &l->u->op->ctx, error))
		return false;
	layer_done(l);
	return true;
}

static bool unpack_sequential(Unpack *u, GError **error)
{
	Prefetch prefetch = {.u = u};
	pthread_t thread;
	bool started = false, ok = true;
	for (guint i = 0; ok && i < u->n; i++) {
		Layer *l = &u->layers[i];
		ok = layer_lock(l, error) && layer_prepare(l, error);
		if (ok && l->exists) {
			layer_done(l);
			continue;
		}
		if (ok && !started && i + 1 < u->n) {
			prefetch.first = i + 1;
			started = thread_start(&thread, "prefetch", 0, prefetch_thread, &prefetch) == 0;
		}
		ok = ok && sequential_layer(l, error);
	}
	if (!ok)
		cancel_trigger(u->op->ctx.cancel, false);
	if (started)
		pthread_join(thread, NULL);
	if (prefetch.error != NULL && !error_is(prefetch.error, CTRD_ERR_CANCELED)) {
		g_clear_error(error); // ours is only that we were canceled for it
		g_propagate_error(error, prefetch.error);
		return false;
	}
	g_clear_error(&prefetch.error);
	return ok;
}

/* All of it may be there: one question instead of one for each layer. Asking by prepare puts it under the
 * lease. */
static bool already_unpacked(Unpack *u)
{
	if (u->n == 0)
		return true;
	Layer *last = &u->layers[u->n - 1];
	g_autoptr(SnapshotInfo) info =
	        snapshot_stat(u->platform->snapshotter, &u->op->ctx, last->chain_id, NULL);
	if (info == NULL || last->parent == NULL)
		return false;
	bool exists = layer_prepare(last, NULL) && last->exists;
	layer_done(last);
	last->exists = false;
	return exists;
}

static bool label_config(Unpack *u, const Descriptor *config, const char *chain, GError **error)
{
	Operation *op = u->op;
	g_autofree char *key = g_strconcat(LABEL_GC_REF_SNAPSHOT, u->platform->name, NULL);
	g_autofree char *path = g_strconcat("labels.", key, NULL);
	g_autoptr(GHashTable) labels = strmap_new();
	strmap_set(labels, key, chain);
	ContentInfo update = {.digest = config->digest, .labels = labels};
	const char *const paths[] = {path, NULL};
	g_autoptr(ContentInfo) updated =
	        content_update(op->t->config.content, &op->ctx, &update, paths, error);
	return updated != NULL;
}

static bool unpack_to(Operation *op, UnpackPlatform *platform, const char *manifest, const Descriptor *config,
                      GPtrArray *layers, char **diff_ids, GError **error)
{
	g_auto(GStrv) chains = chain_ids((const char *const *)diff_ids);
	Unpack u = {
	        .op = op,
	        .platform = platform,
	        .manifest = manifest,
	        .n = layers->len,
	        .early = early_sync_new(),
	};
	/* whiteout devices cannot be made in a user namespace: there a layer needs to see its parent */
	u.parallel = snapshotter_has_capability(platform->snapshotter, "rebase") && !running_in_userns() &&
	             differ_is_walking(platform->differ);
	u.layers = g_new0(Layer, MAX(u.n, 1));
	for (guint i = 0; i < u.n; i++) {
		u.layers[i] = (Layer){
		        .u = &u,
		        .i = i,
		        .desc = layers->pdata[i],
		        .diff_id = diff_ids[i],
		        .chain_id = chains[i],
		        .parent = i > 0 ? chains[i - 1] : NULL,
		};
		progress_add(op->progress, layers->pdata[i]);
	}
	bool ok = already_unpacked(&u) ||
	          (u.parallel ? unpack_parallel(&u, error) : unpack_sequential(&u, error));
	early_sync_free(u.early);
	for (guint i = 0; i < u.n; i++)
		layer_done(&u.layers[i]);
	g_free(u.layers);
	return ok && (u.n == 0 || label_config(&u, config, chains[u.n - 1], error));
}

/* ---- Images ---- */

UnpackPlatform *unpack_platform_find(Transfer *t, const TransferUnpack *wish)
{
	UnpackPlatform *best = NULL;
	GPtrArray *platforms = t->config.unpack_platforms;
	for (guint i = 0; i < platforms->len; i++) {
		UnpackPlatform *p = platforms->pdata[i];
		if (!platform_matches(p->platform, &wish->platform))
			continue;
		if (!str_empty(wish->snapshotter)) {
			if (g_str_equal(wish->snapshotter, p->name))
				return p;
		} else if (g_str_equal(p->name, t->config.default_snapshotter)) {
			return p;
		} else if (best == NULL) {
			best = p;
		}
	}
	return best;
}

/* Another type of configuration, or layers that are no file systems. */
static bool understands(const UnpackPlatform *p, const Descriptor *config, const ImageConfig *image)
{
	if (!str_empty(p->config_type) && !g_str_equal(p->config_type, config->media_type))
		return false;
	bool oci = str_empty(p->config_type) || media_type_is_config(p->config_type);
	return !oci || str_empty(image->rootfs_type) || g_str_equal(image->rootfs_type, "layers");
}

bool unpack_image(Operation *op, const char *manifest, const Descriptor *config, GPtrArray *layers,
                  GPtrArray *wanted, GError **error)
{
	g_autofree char *data = NULL;
	size_t len = 0;
	if (!content_read_blob(op->t->config.content, &op->ctx, config, MANIFEST_MAX, &data, &len, error))
		return false;
	g_autoptr(ImageConfig) image = image_config_parse(data, len, error);
	if (image == NULL)
		return error_prefix(error, "unmarshal image config");
	guint n_ids = g_strv_length(image->diff_ids);
	if (layers->len != n_ids)
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "number of layers and diffIDs don't match: %u != %u", layers->len, n_ids);
	g_auto(Platform) platform = {0};
	platform_copy(&platform, &image->platform);
	platform_normalize(&platform);
	for (guint i = 0; i < wanted->len; i++) {
		UnpackPlatform *p = wanted->pdata[i];
		if (understands(p, config, image) && platform_matches(p->platform, &platform))
			return unpack_to(op, p, manifest, config, layers, image->diff_ids, error);
	}
	return fetch_all(op, layers, error);
}
