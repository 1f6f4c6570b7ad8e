// SPDX-License-Identifier: Apache-2.0
/* Pulls from a registry in memory, good and bad, into both kinds of snapshotters. */
#include "base/digest.h"
#include "base/error.h"
#include "base/time.h"
#include "loop/lock.h"
#include "loop/thread.h"
#include "mount/test-private-ns.h"
#include "oci/labels.h"
#include "oci/media-types.h"
#include "store/leases.h"
#include "transfer/test-world.h"
#include <stdatomic.h>
#include <string.h>

static const char *const base_layer[] = {"etc/",     "etc/passwd=root", "bin/", "bin/sh=#!", "var/",
                                         "var/log/", "var/log/a=1",     "tmp/", NULL};
static const char *const middle_layer[] = {"etc/", "etc/.wh.passwd", "etc/hosts=localhost",
                                           "bin/", "bin/ls->sh",     "tmp/deep/x=1",
                                           NULL}; // no tmp/
static const char *const top_layer[] = {
        "var/", "var/log/", "var/log/.wh..wh..opq", "var/log/b=2", "etc/", "etc/passwd=new", NULL};
static const char *const *const three[] = {base_layer, middle_layer, top_layer, NULL};
#define THREE_TREE                                                                                           \
	"bin d 750 \nbin/ls l 777 \nbin/sh f 644 #!\netc d 750 \netc/hosts f 644 localhost\netc/passwd f "   \
	"644 new\n"                                                                                          \
	"tmp d 750 \ntmp/deep d 755 \ntmp/deep/x f 644 1\nvar d 750 \nvar/log d 750 \nvar/log/b f 644 2"

static bool sink(void *data, const void *buf, size_t len, GError **error)
{
	g_byte_array_append(data, buf, (guint)len);
	return true;
}

static ssize_t source(void *data, void *buf, size_t len, GError **error)
{
	GByteArray *bytes = data;
	size_t n = MIN(len, bytes->len);
	memcpy(buf, bytes->data, n);
	if (n > 0)
		g_byte_array_remove_range(bytes, 0, (guint)n);
	return (ssize_t)n;
}

static Manifest *manifest_of(World *w, const Descriptor *desc)
{
	gsize len = 0;
	const void *data = g_bytes_get_data(g_hash_table_lookup(w->blobs, desc->digest), &len);
	g_autoptr(GError) error = NULL;
	Manifest *m = manifest_parse(data, len, desc->media_type, &error);
	g_assert_no_error(error);
	return m;
}

static char **diff_ids_of(World *w, const Manifest *m)
{
	gsize len = 0;
	const void *data = g_bytes_get_data(g_hash_table_lookup(w->blobs, m->config.digest), &len);
	g_autoptr(ImageConfig) c = image_config_parse(data, len, NULL);
	return g_strdupv(c->diff_ids);
}

static char *label_of(World *w, const char *digest, const char *key)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(ContentInfo) info = content_info(w->content, &w->ctx, digest, &error);
	g_assert_no_error(error);
	return g_strdup(strmap_get(info->labels, key));
}

static void assert_label(World *w, const char *digest, const char *key, const char *want)
{
	g_autofree char *got = label_of(w, digest, key);
	g_assert_cmpstr(got, ==, want);
}

/* Nothing is left of an operation: no leases, no ingests, no active snapshots. */
static void assert_clean(World *w, bool ingests)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) leases = leases_list(w->db, &w->ctx, NULL, &error);
	g_assert_cmpuint(leases->len, ==, 0);
	g_autoptr(GPtrArray) statuses = content_list_statuses(w->content, &w->ctx, NULL, &error);
	g_assert_no_error(error);
	for (guint i = 0; !ingests && i < statuses->len; i++)
		g_test_message("left: %s", ((ContentStatus *)statuses->pdata[i])->ref);
	if (!ingests)
		g_assert_cmpuint(statuses->len, ==, 0);
}

static bool count_one(const SnapshotInfo *info, void *data, GError **error)
{
	unsigned *counts = data;
	counts[info->kind == SNAPSHOT_COMMITTED ? 1 : 0]++;
	return true;
}

static void assert_snapshots(World *w, Snapshotter *sn, unsigned committed)
{
	unsigned counts[2] = {0};
	g_assert_true(snapshot_walk(sn, &w->ctx, NULL, count_one, counts, NULL));
	g_assert_cmpuint(counts[0], ==, 0);
	g_assert_cmpuint(counts[1], ==, committed);
}

static void assert_labels(World *w, const Descriptor *desc, const Manifest *m, char **diff_ids,
                          const char *sn, const char *chain)
{
	assert_label(w, desc->digest, "containerd.io/gc.ref.content.config", m->config.digest);
	for (guint i = 0; i < m->layers->len; i++) {
		const Descriptor *layer = m->layers->pdata[i];
		g_autofree char *key = g_strdup_printf("containerd.io/gc.ref.content.l.%u", i);
		assert_label(w, desc->digest, key, layer->digest);
		assert_label(w, layer->digest, LABEL_UNCOMPRESSED, sn != NULL ? diff_ids[i] : NULL);
		assert_label(w, layer->digest, "containerd.io/distribution.source.127.0.0.1", "a/b");
	}
	assert_label(w, desc->digest, "containerd.io/distribution.source.127.0.0.1", "a/b");
	if (sn != NULL) {
		g_autofree char *key = g_strconcat("containerd.io/gc.ref.snapshot.", sn, NULL);
		assert_label(w, m->config.digest, key, chain);
	}
}

static void pull_into(const char *name, Compression compression)
{
	g_autoptr(World) w = world_new();
	Snapshotter *sn = g_str_equal(name, "native") ? w->native : w->overlayfs;
	if (sn == NULL) {
		g_test_skip("no overlayfs here");
		return;
	}
	g_auto(Descriptor) desc = {0};
	world_image(w, "amd64", three, compression, &desc);
	world_tag(w, "x", desc.digest);
	g_autoptr(GError) error = NULL;
	world_pull(w, "x", name, NULL, &error);
	g_assert_no_error(error);

	g_autoptr(Manifest) m = manifest_of(w, &desc);
	g_auto(GStrv) ids = diff_ids_of(w, m);
	g_autofree char *chain = chain_id((const char *const *)ids, 3);
	g_autofree char *tree = world_tree(w, sn, chain);
	g_assert_cmpstr(tree, ==, THREE_TREE);
	assert_labels(w, &desc, m, ids, name, chain);
	g_autofree char *ref = world_ref(w, "x");
	g_autoptr(Image) image = images_get(w->db, &w->ctx, ref, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(image->target.digest, ==, desc.digest);
	assert_clean(w, false);
	assert_snapshots(w, sn, 3);

	/* again: nothing is fetched but the name is resolved */
	unsigned before = test_server_requests(w->server);
	world_pull(w, "x", name, NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(test_server_requests(w->server) - before, ==, 1);
	assert_snapshots(w, sn, 3);
}

static void test_overlayfs(void)
{
	if (test_skip_without_mounts())
		return;
	pull_into("overlayfs", COMPRESSION_GZIP);
	pull_into("overlayfs", COMPRESSION_ZSTD);
	pull_into("overlayfs", COMPRESSION_NONE);
}

static void test_native(void)
{
	if (test_skip_without_mounts())
		return;
	pull_into("native", COMPRESSION_GZIP);
}

static const char *const *const one[] = {base_layer, NULL};

/* The second image builds on the first, which is unpacked already. */
static void test_shared_base(void)
{
	if (test_skip_without_mounts())
		return;
	g_autoptr(World) w = world_new();
	Snapshotter *sn = w->overlayfs != NULL ? w->overlayfs : w->native;
	g_auto(Descriptor) base = {0}, desc = {0};
	world_image(w, "amd64", one, COMPRESSION_GZIP, &base);
	world_image(w, "amd64", three, COMPRESSION_GZIP, &desc);
	world_tag(w, "base", base.digest);
	world_tag(w, "x", desc.digest);
	g_autoptr(GError) error = NULL;
	g_assert_true(world_pull(w, "base", sn->name, NULL, &error) &&
	              world_pull(w, "x", sn->name, NULL, &error));
	g_autoptr(Manifest) m = manifest_of(w, &desc);
	g_auto(GStrv) ids = diff_ids_of(w, m);
	g_autofree char *chain = chain_id((const char *const *)ids, 3);
	g_autofree char *tree = world_tree(w, sn, chain);
	g_assert_cmpstr(tree, ==, THREE_TREE);
	g_assert_cmpuint(world_gets(w, ((Descriptor *)m->layers->pdata[0])->digest), ==, 1);
	assert_snapshots(w, sn, 3);
	assert_clean(w, false);
}

static void test_index(void)
{
	g_autoptr(World) w = world_new();
	Descriptor manifests[2] = {0};
	world_image(w, "amd64", three, COMPRESSION_GZIP, &manifests[0]);
	world_image(w, "arm64", one, COMPRESSION_GZIP, &manifests[1]);
	for (int i = 0; i < 2; i++) {
		manifests[i].platform = g_new0(Platform, 1);
		manifests[i].platform->os = g_strdup("linux");
		manifests[i].platform->architecture = g_strdup(i == 0 ? "amd64" : "arm64");
	}
	g_auto(Descriptor) index = {0};
	world_index(w, manifests, 2, &index);
	world_tag(w, "multi", index.digest);
	g_autoptr(GError) error = NULL;
	world_pull(w, "multi", NULL, NULL, &error);
	g_assert_no_error(error);
	/* both are referred to, one is here */
	assert_label(w, index.digest, "containerd.io/gc.ref.content.m.0", manifests[0].digest);
	assert_label(w, index.digest, "containerd.io/gc.ref.content.m.1", manifests[1].digest);
	g_assert_null(content_info(w->content, &w->ctx, manifests[1].digest, NULL));
	g_autoptr(Manifest) m = manifest_of(w, &manifests[0]);
	g_auto(GStrv) ids = diff_ids_of(w, m);
	assert_labels(w, &manifests[0], m, ids, NULL, NULL);
	/* no lease, no ingest, no snapshot */
	assert_clean(w, false);
	/* the names of the progress */
	g_autofree char *waiting = g_strdup_printf("waiting manifest-%s 0/%" G_GINT64_FORMAT "\n",
	                                           manifests[0].digest, manifests[0].size);
	g_autofree char *complete =
	        g_strdup_printf("complete index-%s %" G_GINT64_FORMAT "/%" G_GINT64_FORMAT "\n", index.digest,
	                        index.size, index.size);
	g_autofree char *ref = world_ref(w, "multi");
	g_autofree char *saved =
	        g_strdup_printf("saved %s 0/0\nCompleted pull from OCI Registry (%s)  0/0\n", ref, ref);
	g_assert_nonnull(strstr(w->progress->str, waiting));
	g_assert_nonnull(strstr(w->progress->str, complete));
	g_assert_true(g_str_has_suffix(w->progress->str, saved));
	descriptor_clear(&manifests[0]);
	descriptor_clear(&manifests[1]);
}

/* ---- Many at once ---- */

typedef struct {
	World *w;
	bool ok;
} Puller;

static void *pull_thread(void *data)
{
	Puller *p = data;
	g_autoptr(GError) error = NULL;
	p->ok = world_pull(p->w, "x", p->w->overlayfs != NULL ? "overlayfs" : "native", NULL, &error);
	g_assert_no_error(error);
	return NULL;
}

static void test_concurrent(void)
{
	if (test_skip_without_mounts())
		return;
	g_autoptr(World) w = world_new();
	g_auto(Descriptor) desc = {0};
	world_image(w, "amd64", three, COMPRESSION_GZIP, &desc);
	world_tag(w, "x", desc.digest);
	Puller pullers[10];
	pthread_t threads[10];
	for (int i = 0; i < 10; i++) {
		pullers[i] = (Puller){.w = w};
		g_assert_cmpint(thread_start(&threads[i], "pull", 0, pull_thread, &pullers[i]), ==, 0);
	}
	for (int i = 0; i < 10; i++) {
		pthread_join(threads[i], NULL);
		g_assert_true(pullers[i].ok);
	}
	g_autoptr(Manifest) m = manifest_of(w, &desc);
	for (guint i = 0; i < m->layers->len; i++)
		g_assert_cmpuint(world_gets(w, ((Descriptor *)m->layers->pdata[i])->digest), ==, 1);
	assert_snapshots(w, w->overlayfs != NULL ? w->overlayfs : w->native, 3);
	assert_clean(w, false);
}

/* ---- Bad registries ---- */

/* A layer of a size that does not come in one piece. */
static void big_image(World *w, Descriptor *ret)
{
	g_autofree char *noise = g_malloc0(400001);
	for (unsigned i = 0; i < 400000; i++)
		noise[i] = (char)('a' + (i * 7919 + i / 251 * 31) % 26);
	g_autofree char *file = g_strconcat("big=", noise, NULL);
	const char *const layer[] = {file, NULL};
	const char *const *const layers[] = {base_layer, layer, NULL};
	world_image(w, "amd64", layers, COMPRESSION_NONE, ret);
	world_tag(w, "x", ret->digest);
}

static bool cut_once(World *w, TestRequest *r, const char *digest, GBytes *blob)
{
	gsize size = 0;
	const char *data = g_bytes_get_data(blob, &size);
	if (size < 400000 || test_header(r, "Range") != NULL)
		return false;
	test_raw_text(r, "HTTP/1.1 200 OK\r\nContent-Length: %" G_GSIZE_FORMAT "\r\n\r\n", size);
	test_raw(r, data, 200000);
	r->close = true;
	return true;
}

static bool cut_forever(World *w, TestRequest *r, const char *digest, GBytes *blob)
{
	gsize size = 0;
	const char *data = g_bytes_get_data(blob, &size);
	if (size < 400000)
		return false;
	if (test_header(r, "Range") == NULL) {
		test_raw_text(r, "HTTP/1.1 200 OK\r\nContent-Length: %" G_GSIZE_FORMAT "\r\n\r\n", size);
		test_raw(r, data, 200000);
	}
	r->close = true;
	return true;
}

static bool garbage(World *w, TestRequest *r, const char *digest, GBytes *blob)
{
	gsize size = g_bytes_get_size(blob);
	if (size < 400000)
		return false;
	g_autofree char *noise = g_strnfill(size, 'x');
	test_reply(r, 200, "", noise, size);
	return true;
}

static const char *best_snapshotter(World *w)
{
	return w->overlayfs != NULL ? "overlayfs" : "native";
}

static void test_resume_in_pull(void)
{
	if (test_skip_without_mounts())
		return;
	g_autoptr(World) w = world_new();
	g_auto(Descriptor) desc = {0};
	big_image(w, &desc);
	w->hook = cut_once;
	g_autoptr(GError) error = NULL;
	world_pull(w, "x", best_snapshotter(w), NULL, &error);
	g_assert_no_error(error);
	assert_snapshots(w, w->overlayfs != NULL ? w->overlayfs : w->native, 2);
}

/* The second pull asks for the rest only, and what the failed one had unpacked stays. */
static void test_resume_after_failure(void)
{
	if (test_skip_without_mounts())
		return;
	g_autoptr(World) w = world_new();
	Snapshotter *sn = w->overlayfs != NULL ? w->overlayfs : w->native;
	g_auto(Descriptor) desc = {0};
	big_image(w, &desc);
	w->hook = cut_forever;
	g_autoptr(GError) error = NULL;
	g_assert_false(world_pull(w, "x", best_snapshotter(w), NULL, &error));
	g_assert_true(g_str_has_prefix(error->message, "failed to copy: "));
	g_clear_error(&error);
	g_autofree char *ref = world_ref(w, "x");
	g_assert_null(images_get(w->db, &w->ctx, ref, NULL));
	assert_clean(w, true);
	assert_snapshots(w, sn, 1);
	g_autoptr(GPtrArray) statuses = content_list_statuses(w->content, &w->ctx, NULL, &error);
	g_assert_cmpuint(statuses->len, ==, 1);
	g_assert_cmpint(((ContentStatus *)statuses->pdata[0])->offset, ==, 200000);

	w->hook = NULL;
	world_pull(w, "x", best_snapshotter(w), NULL, &error);
	g_assert_no_error(error);
	g_autoptr(Manifest) m = manifest_of(w, &desc);
	g_assert_cmpuint(world_gets(w, ((Descriptor *)m->layers->pdata[0])->digest), ==, 1);
	assert_snapshots(w, sn, 2);
	assert_clean(w, false);
}

static void test_wrong_digest(void)
{
	if (test_skip_without_mounts())
		return;
	g_autoptr(World) w = world_new();
	g_auto(Descriptor) desc = {0};
	big_image(w, &desc);
	w->hook = garbage;
	g_autoptr(GError) error = NULL;
	g_assert_false(world_pull(w, "x", best_snapshotter(w), NULL, &error));
	g_autoptr(Manifest) m = manifest_of(w, &desc);
	const char *digest = ((Descriptor *)m->layers->pdata[1])->digest;
	g_autofree char *prefix = g_strdup_printf(
	        "failed commit on ref \"layer-%s\": unexpected commit digest sha256:", digest);
	g_autofree char *suffix = g_strdup_printf(", expected %s: failed precondition", digest);
	g_assert_true(g_str_has_prefix(error->message, prefix));
	g_assert_true(g_str_has_suffix(error->message, suffix));
	g_assert_true(error_is(error, CTRD_ERR_FAILED_PRECONDITION));
	g_clear_error(&error);
	g_assert_null(content_info(w->content, &w->ctx, digest, NULL));
	assert_clean(w, true); // the other layer's ingest may be there, which was canceled
	g_autofree char *ingest = g_strconcat("layer-", digest, NULL);
	g_assert_null(content_status(w->content, &w->ctx, ingest, NULL)); // the bad one is gone
	w->hook = NULL;
	world_pull(w, "x", best_snapshotter(w), NULL, &error);
	g_assert_no_error(error);
}

/* The layer is what the manifest says, but not what the configuration says. */
static void test_wrong_diff_id(void)
{
	if (test_skip_without_mounts())
		return;
	g_autoptr(World) w = world_new();
	g_auto(Descriptor) a = {0}, b = {0};
	world_image(w, "amd64", one, COMPRESSION_GZIP, &a);
	const char *const *const other[] = {middle_layer, NULL};
	world_image(w, "amd64", other, COMPRESSION_GZIP, &b);
	g_autoptr(Manifest) ma = manifest_of(w, &a), mb = manifest_of(w, &b);
	gsize len = 0;
	g_autoptr(GString) text =
	        g_string_new_len(g_bytes_get_data(g_hash_table_lookup(w->blobs, a.digest), &len), 0);
	g_string_append_len(text, g_bytes_get_data(g_hash_table_lookup(w->blobs, a.digest), &len),
	                    (gssize)len);
	const Descriptor *la = ma->layers->pdata[0], *lb = mb->layers->pdata[0];
	g_string_replace(text, la->digest, lb->digest, 0);
	g_autofree char *old_size = g_strdup_printf("\"size\":%" G_GINT64_FORMAT "}]", la->size);
	g_autofree char *new_size = g_strdup_printf("\"size\":%" G_GINT64_FORMAT "}]", lb->size);
	g_string_replace(text, old_size, new_size, 0);
	g_autoptr(GBytes) bytes = g_bytes_new(text->str, text->len);
	g_autofree char *digest = world_put(w, MEDIA_TYPE_OCI_MANIFEST, bytes);
	world_tag(w, "x", digest);
	g_autoptr(GError) error = NULL;
	g_assert_false(world_pull(w, "x", best_snapshotter(w), NULL, &error));
	g_auto(GStrv) ids_a = diff_ids_of(w, ma), ids_b = diff_ids_of(w, mb);
	g_autofree char *want =
	        g_strdup_printf("wrong diff id \"%s\" calculated on extraction \"%s\", desc \"%s\"", ids_b[0],
	                        ids_a[0], lb->digest);
	g_assert_cmpstr(error->message, ==, want);
	assert_snapshots(w, w->overlayfs != NULL ? w->overlayfs : w->native, 0);
	assert_clean(w, false);
}

static atomic_bool hanging;

/* Once the big layer has come as far as it will. */
static void *cancel_later(void *data)
{
	while (!atomic_load(&hanging))
		g_usleep(10000);
	g_usleep(300000);
	cancel_trigger(data, false);
	return NULL;
}

static bool hang(World *w, TestRequest *r, const char *digest, GBytes *blob)
{
	gsize size = 0;
	const char *data = g_bytes_get_data(blob, &size);
	if (size < 400000)
		return false;
	test_raw_text(r, "HTTP/1.1 200 OK\r\nContent-Length: %" G_GSIZE_FORMAT "\r\n\r\n", size);
	test_raw(r, data, 100000);
	atomic_store(&hanging, true);
	while (!test_server_stopping(r->server) && test_raw(r, data, 0))
		g_usleep(10000);
	r->close = true;
	return true;
}

static void test_cancel(void)
{
	if (test_skip_without_mounts())
		return;
	g_autoptr(World) w = world_new();
	g_auto(Descriptor) desc = {0};
	big_image(w, &desc);
	w->hook = hang;
	g_autoptr(Cancel) cancel = cancel_new(NULL);
	pthread_t t;
	g_assert_cmpint(thread_start(&t, "cancel", 0, cancel_later, cancel), ==, 0);
	int64_t start = time_mono();
	g_autoptr(GError) error = NULL;
	g_assert_false(world_pull(w, "x", best_snapshotter(w), cancel, &error));
	g_assert_true(error_is(error, CTRD_ERR_CANCELED));
	g_assert_cmpint(time_mono() - start, <, 10 * NS_PER_SEC);
	pthread_join(t, NULL);
	assert_clean(w, true);
	g_autoptr(Manifest) m = manifest_of(w, &desc);
	g_autofree char *ref = g_strconcat("layer-", ((Descriptor *)m->layers->pdata[1])->digest, NULL);
	g_autoptr(ContentStatus) status = content_status(w->content, &w->ctx, ref, NULL);
	g_assert_cmpint(status->offset, ==, 100000);
}

static void test_missing(void)
{
	g_autoptr(World) w = world_new();
	g_autoptr(GError) error = NULL;
	g_assert_false(world_pull(w, "none", NULL, NULL, &error));
	g_autofree char *want = g_strdup_printf("failed to resolve image: %s/a/b:none: not found",
	                                        test_server_host(w->server));
	g_assert_cmpstr(error->message, ==, want);
	g_assert_true(error_is(error, CTRD_ERR_NOT_FOUND));
	assert_clean(w, false);
}

/* ---- Archives ---- */

static bool export_to(World *w, const char *name, GByteArray *out, GError **error)
{
	TransferImages from = {.name = name};
	TransferExport to = {.sink = sink, .data = out};
	TransferProgressSink none = {0};
	return transfer_export(w->transfer, &w->ctx, &from, &to, none, error);
}

static bool import_from(World *w, GByteArray *in, const char *prefix, const char *snapshotter, GError **error)
{
	g_auto(Platform) amd64 = {0};
	platform_parse("linux/amd64", &amd64, NULL);
	TransferReference r = {.name = (char *)prefix, .is_prefix = true, .allow_overwrite = true};
	TransferUnpack u = {.platform = amd64, .snapshotter = (char *)snapshotter};
	g_autoptr(GPtrArray) refs = g_ptr_array_new(), unpacks = g_ptr_array_new(),
	                     platforms = g_ptr_array_new();
	g_ptr_array_add(refs, &r);
	g_ptr_array_add(platforms, &amd64);
	if (snapshotter != NULL)
		g_ptr_array_add(unpacks, &u);
	TransferImages to = {.extra_references = refs, .unpacks = unpacks, .platforms = platforms};
	TransferImport from = {.source = source, .data = in, .media_type = ""};
	TransferProgressSink none = {0};
	return transfer_import(w->transfer, &w->ctx, &from, &to, none, error);
}

static void test_export_import(void)
{
	if (test_skip_without_mounts())
		return;
	g_autoptr(World) w = world_new(), other = world_new();
	g_auto(Descriptor) desc = {0};
	world_image(w, "amd64", three, COMPRESSION_GZIP, &desc);
	world_tag(w, "x", desc.digest);
	g_autoptr(GError) error = NULL;
	world_pull(w, "x", NULL, NULL, &error);
	g_assert_no_error(error);
	g_autofree char *ref = world_ref(w, "x");
	g_autoptr(GByteArray) archive = g_byte_array_new();
	export_to(w, ref, archive, &error);
	g_assert_no_error(error);
	/* the same bytes each time */
	g_autoptr(GByteArray) again = g_byte_array_new();
	export_to(w, ref, again, &error);
	g_assert_cmpuint(again->len, ==, archive->len);
	g_assert_cmpint(memcmp(again->data, archive->data, archive->len), ==, 0);

	import_from(other, archive, "imported", best_snapshotter(other), &error);
	g_assert_no_error(error);
	g_autoptr(Image) image = images_get(other->db, &other->ctx, ref, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(image->target.digest, ==, desc.digest);
	g_autoptr(Manifest) m = manifest_of(w, &desc);
	g_auto(GStrv) ids = diff_ids_of(w, m);
	g_autofree char *chain = chain_id((const char *const *)ids, 3);
	g_autofree char *tree =
	        world_tree(other, other->overlayfs != NULL ? other->overlayfs : other->native, chain);
	g_assert_cmpstr(tree, ==, THREE_TREE);
	assert_clean(other, false);
}

static void add_file(TarWriter *t, const char *name, const void *data, size_t len)
{
	g_autoptr(GError) error = NULL;
	tar_writer_file(t, name, 0644, (TarTime){0}, data, len, &error);
	g_assert_no_error(error);
}

static void test_docker_archive(void)
{
	if (test_skip_without_mounts())
		return;
	g_autoptr(World) w = world_new();
	g_autoptr(GBytes) layer = world_tar(base_layer);
	gsize len = 0;
	const void *data = g_bytes_get_data(layer, &len);
	g_autofree char *diff_id = digest_bytes(data, len);
	g_autofree char *config = g_strdup_printf("{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{"
	                                          "\"type\":\"layers\",\"diff_ids\":[\"%s\"]}}",
	                                          diff_id);
	const char *manifest = "[{\"Config\":\"c.json\",\"RepoTags\":[\"busybox\",\"example.com/"
	                       "x:1\"],\"Layers\":[\"l/layer.tar\"]}]";
	g_autoptr(GByteArray) archive = g_byte_array_new();
	g_autoptr(TarWriter) t = tar_writer_new(sink, archive);
	add_file(t, "c.json", config, strlen(config));
	add_file(t, "l/layer.tar", data, len);
	add_file(t, "manifest.json", manifest, strlen(manifest));
	g_assert_true(tar_writer_finish(t, NULL));
	g_autoptr(GError) error = NULL;
	import_from(w, archive, "p", best_snapshotter(w), &error);
	g_assert_no_error(error);
	g_autoptr(Image) one_name = images_get(w->db, &w->ctx, "docker.io/library/busybox:latest", &error);
	g_assert_no_error(error);
	g_autoptr(Image) other_name = images_get(w->db, &w->ctx, "example.com/x:1", &error);
	g_assert_no_error(error);
	g_assert_cmpstr(one_name->target.digest, ==, other_name->target.digest);
	g_assert_cmpstr(one_name->target.media_type, ==, MEDIA_TYPE_DOCKER_MANIFEST);
	g_autofree char *tree = world_tree(w, w->overlayfs != NULL ? w->overlayfs : w->native, diff_id);
	g_assert_true(g_str_has_prefix(tree, "bin d 750 \nbin/sh f 644 #!\netc d 750"));
}

static void import_fails(const char *const *files, const char *text)
{
	g_autoptr(World) w = world_new();
	g_autoptr(GByteArray) archive = g_byte_array_new();
	g_autoptr(TarWriter) t = tar_writer_new(sink, archive);
	for (size_t i = 0; files[i] != NULL; i += 2)
		add_file(t, files[i], files[i + 1], strlen(files[i + 1]));
	g_assert_true(tar_writer_finish(t, NULL));
	g_autoptr(GError) error = NULL;
	g_assert_false(import_from(w, archive, "p", NULL, &error));
	g_assert_cmpstr(error->message, ==, text);
	assert_clean(w, false);
}

static void test_bad_archives(void)
{
	import_fails((const char *const[]){"a", "b", NULL}, "unrecognized image format");
	import_fails((const char *const[]){"oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", NULL},
	             "missing index.json in OCI layout 1.0.0");
	import_fails((const char *const[]){"oci-layout", "{\"imageLayoutVersion\":\"7\"}", NULL},
	             "unsupported OCI version 7");
	import_fails((const char *const[]){"manifest.json", "[{\"Config\":\"x\"}]", NULL},
	             "image config \"x\" not found");
	import_fails((const char *const[]){"x", "{\"os\":\"linux\",\"architecture\":\"amd64\"}",
	                                   "manifest.json", "[{\"Config\":\"x\",\"Layers\":[\"l\"]}]", NULL},
	             "failed to resolve layers: layer \"l\" not found");
	import_fails((const char *const[]){"oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", "index.json",
	                                   "{\"schemaVersion\":2,\"manifests\":[]}", NULL},
	             "image might be filtered out");
	import_fails((const char *const[]){"blobs/sha256/"
	                                   "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
	                                   "hell0", NULL},
	             "failed to ingest "
	             "\"blobs/sha256/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\": "
	             "failed commit on ref "
	             "\"tar-blobs/sha256/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\": "
	             "unexpected "
	             "commit digest sha256:bdeddd433637173928fe7202b663157c9e1881c3e4da1d45e8fff8fb944a4868, "
	             "expected "
	             "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824: failed "
	             "precondition");
}

/* ---- Push, tag ---- */

static void test_push_tag(void)
{
	g_autoptr(World) w = world_new();
	g_auto(Descriptor) desc = {0};
	world_image(w, "amd64", three, COMPRESSION_GZIP, &desc);
	world_tag(w, "x", desc.digest);
	g_autoptr(GError) error = NULL;
	world_pull(w, "x", NULL, NULL, &error);
	g_assert_no_error(error);
	g_autofree char *ref = world_ref(w, "x");
	TransferImages from = {.name = ref}, to = {.name = "other:name"};
	transfer_tag(w->transfer, &w->ctx, &from, &to, &error);
	g_assert_no_error(error);
	g_autoptr(Image) image = images_get(w->db, &w->ctx, "other:name", &error);
	g_assert_cmpstr(image->target.digest, ==, desc.digest);

	g_hash_table_remove_all(w->tags);
	GHashTable *pulled = w->blobs;
	w->blobs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_bytes_unref);
	TransferRegistry registry = {.reference = ref, .default_scheme = "http"};
	TransferProgressSink none = {0};
	transfer_push(w->transfer, &w->ctx, &to, &registry, none, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(g_hash_table_size(w->uploads), ==, g_hash_table_size(pulled));
	g_autofree char *log = test_server_log(w->server);
	g_assert_nonnull(strstr(log, "PUT /v2/a/b/manifests/x\n"));
	g_hash_table_unref(w->blobs);
	w->blobs = pulled;
}

int main(int argc, char **argv)
{
	test_private_ns();
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/pull/overlayfs", test_overlayfs);
	g_test_add_func("/pull/native", test_native);
	g_test_add_func("/pull/shared-base", test_shared_base);
	g_test_add_func("/pull/index", test_index);
	g_test_add_func("/pull/concurrent", test_concurrent);
	g_test_add_func("/pull/resume", test_resume_in_pull);
	g_test_add_func("/pull/resume-after-failure", test_resume_after_failure);
	g_test_add_func("/pull/wrong-digest", test_wrong_digest);
	g_test_add_func("/pull/wrong-diff-id", test_wrong_diff_id);
	g_test_add_func("/pull/cancel", test_cancel);
	g_test_add_func("/pull/missing", test_missing);
	g_test_add_func("/archive/export-import", test_export_import);
	g_test_add_func("/archive/docker", test_docker_archive);
	g_test_add_func("/archive/bad", test_bad_archives);
	g_test_add_func("/push/tag", test_push_tag);
	return g_test_run();
}
