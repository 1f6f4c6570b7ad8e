// SPDX-License-Identifier: Apache-2.0
/* What decides about a pull from outside: verifiers, mirrors that lie, remote snapshotters, layers that are
 * not kept. */
#include "base/digest.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/time.h"
#include "mount/test-private-ns.h"
#include "oci/labels.h"
#include "oci/media-types.h"
#include "transfer/test-world.h"
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

static const char *const good_layer[] = {"good=1", NULL};
static const char *const top_layer[] = {"top=2", NULL};
static const char *const *const two[] = {good_layer, top_layer, NULL};

static Manifest *manifest_of(World *w, const Descriptor *desc)
{
	gsize len = 0;
	const void *data = g_bytes_get_data(g_hash_table_lookup(w->blobs, desc->digest), &len);
	return manifest_parse(data, len, desc->media_type, NULL);
}

static char **chains_of(World *w, const Manifest *m)
{
	gsize len = 0;
	const void *data = g_bytes_get_data(g_hash_table_lookup(w->blobs, m->config.digest), &len);
	g_autoptr(ImageConfig) c = image_config_parse(data, len, NULL);
	return chain_ids((const char *const *)c->diff_ids);
}

/* ---- Verifiers ---- */

typedef struct {
	char *dir;
	Descriptor desc;
} Bin;

static void bin_init(Bin *b)
{
	b->dir = g_dir_make_tmp("ctrd-verifier-XXXXXX", NULL);
	b->desc = (Descriptor){.media_type = (char *)MEDIA_TYPE_OCI_MANIFEST, .size = 7};
	b->desc.digest = digest_bytes("x", 1);
}

static void bin_clear(Bin *b)
{
	g_assert_true(tree_remove(b->dir, NULL));
	g_free(b->dir);
	g_free(b->desc.digest);
}

static void add_script(Bin *b, const char *name, const char *script)
{
	g_autofree char *path = g_build_filename(b->dir, name, NULL);
	g_autofree char *text = g_strconcat("#!/bin/sh\n", script, "\n", NULL);
	g_assert_true(g_file_set_contents(path, text, -1, NULL));
	g_assert_cmpint(chmod(path, 0755), ==, 0);
}

static void judge(Bin *b, int64_t max, bool ok, const char *reason)
{
	g_autoptr(ImageVerifier) v = image_verifier_bindir_new(b->dir, max, 20 * NS_PER_SEC);
	g_autoptr(GError) error = NULL;
	g_autofree char *got = NULL;
	bool got_ok = false;
	image_verifier_verify(v, NULL, "reg/a:1", &b->desc, &got_ok, &got, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(got, ==, reason);
	g_assert_cmpint(got_ok, ==, ok);
}

static void test_judgement(void)
{
	Bin b;
	bin_init(&b);
	g_autofree char *none = g_strdup_printf("no image verifier binaries found in %s", b.dir);
	judge(&b, 10, true, none);
	g_autofree char *wanted = g_strdup_printf("-name reg/a:1 -digest %s -stdin-media-type "
	                                          "application/vnd.oci.descriptor.v1+json",
	                                          b.desc.digest);
	g_autofree char *echo = g_strdup_printf("b => %s", wanted);
	add_script(&b, "b", "echo \"  $*  \"; echo noise >&2");
	judge(&b, 10, true, echo);
	add_script(&b, "a", "cat");
	g_autofree char *both = g_strdup_printf("a => {\"mediaType\":\"" MEDIA_TYPE_OCI_MANIFEST
	                                        "\",\"digest\":\"%s\",\"size\":7}, %s",
	                                        b.desc.digest, echo);
	judge(&b, -1, true, both);
	add_script(&b, "c", "echo unsigned; exit 3");
	judge(&b, 2, true, both); // the third is not asked
	judge(&b, 3, false, "verifier c rejected image (exit code 3): unsigned");
	bin_clear(&b);
	g_autofree char *gone = g_strdup("/nonexistent/verifiers");
	Bin missing = {.dir = gone};
	judge(&missing, 10, true, "image verifier directory /nonexistent/verifiers does not exist");
}

static void no_judgement(const char *script, unsigned mode, const char *text)
{
	Bin b;
	bin_init(&b);
	add_script(&b, "x", script);
	g_autofree char *path = g_build_filename(b.dir, "x", NULL);
	g_assert_cmpint(chmod(path, mode), ==, 0);
	g_autoptr(ImageVerifier) v = image_verifier_bindir_new(b.dir, 10, 300 * NS_PER_MS);
	g_autoptr(GError) error = NULL;
	g_autofree char *reason = NULL;
	bool ok = false;
	g_assert_false(image_verifier_verify(v, NULL, "r", &b.desc, &ok, &reason, &error));
	g_assert_true(g_str_has_prefix(error->message, "failed to call verifier x (runtime "));
	g_assert_nonnull(strstr(error->message, text));
	bin_clear(&b);
}

static void test_no_judgement(void)
{
	no_judgement("sleep 60", 0755, "): waiting on command to exit: signal: killed");
	no_judgement("sleep 60 & wait", 0755, "): waiting on command to exit: signal: killed");
	no_judgement("kill -9 $$", 0755, "): waiting on command to exit: signal: killed");
	no_judgement("", 0644, "): starting process: fork/exec ");
}

/* Much output does not block, and little of it is kept. */
static void test_output(void)
{
	Bin b;
	bin_init(&b);
	add_script(&b, "x",
	           "head -c 200000 /dev/zero | tr '\\0' a; head -c 200000 /dev/zero | tr '\\0' b >&2");
	g_autofree char *many = g_strnfill(32 * 1024, 'a');
	g_autofree char *want = g_strconcat("x => ", many, "(stdout truncated)", NULL);
	judge(&b, 10, true, want);
	bin_clear(&b);
}

static void test_pull_verified(void)
{
	g_autoptr(World) w = world_new();
	g_auto(Descriptor) desc = {0};
	world_image(w, "amd64", two, COMPRESSION_GZIP, &desc);
	world_tag(w, "x", desc.digest);
	g_autofree char *ref = world_ref(w, "x");
	Bin b;
	bin_init(&b);
	g_autoptr(ImageVerifier) v = image_verifier_bindir_new(b.dir, 10, 20 * NS_PER_SEC);
	NamedVerifier named = {.name = "bindir", .verifier = v};
	g_autoptr(GPtrArray) verifiers = g_ptr_array_new();
	g_ptr_array_add(verifiers, &named);
	TransferConfig config = {.content = w->content, .db = w->db, .verifiers = verifiers};
	Transfer *unverified = w->transfer;
	w->transfer = transfer_new(&config);
	add_script(&b, "no", "echo not today; exit 1");
	g_autoptr(GError) error = NULL;
	g_assert_false(world_pull(w, "x", NULL, NULL, &error));
	g_autofree char *want =
	        g_strdup_printf("image verifier bindir blocked pull of %s with digest %s for reason: "
	                        "verifier no rejected image (exit code 1): not today",
	                        ref, desc.digest);
	g_assert_cmpstr(error->message, ==, want);
	g_assert_null(content_info(w->content, &w->ctx, desc.digest, NULL)); // nothing was fetched
	g_clear_error(&error);
	add_script(&b, "no", "kill -9 $$");
	g_assert_false(world_pull(w, "x", NULL, NULL, &error));
	g_autofree char *prefix =
	        g_strdup_printf("blocking pull of %s with digest %s: image verifier bindir returned "
	                        "error: failed to call verifier no (runtime ",
	                        ref, desc.digest);
	g_assert_true(g_str_has_prefix(error->message, prefix));
	g_clear_error(&error);
	add_script(&b, "no", "exit 0");
	world_pull(w, "x", NULL, NULL, &error);
	g_assert_no_error(error);
	transfer_free(w->transfer);
	w->transfer = unverified;
	bin_clear(&b);
}

/* ---- A mirror that lies ---- */

static GBytes *evil;
static atomic_uint lies;

/* Below /liar each layer is another one. */
static bool lie(World *w, TestRequest *r, const char *digest, GBytes *blob)
{
	gsize size = 0;
	const uint8_t *bytes = g_bytes_get_data(blob, &size);
	bool gzip = size > 2 && bytes[0] == 0x1f && bytes[1] == 0x8b;
	if (!g_str_has_prefix(r->path, "/liar/") || !gzip)
		return false;
	/* as long as the truth, so that nothing but the digest tells them apart */
	gsize len = 0;
	const void *data = g_bytes_get_data(evil, &len);
	g_autoptr(GByteArray) sent = g_byte_array_new();
	g_byte_array_append(sent, data, (guint)len);
	g_byte_array_set_size(sent, (guint)g_bytes_get_size(blob));
	if (sent->len > len)
		memset(sent->data + len, 0, sent->len - len);
	test_reply(r, 200, "", sent->data, sent->len);
	lies++;
	return true;
}

static GPtrArray *liar_first(const char *name, void *data, GError **error)
{
	World *w = data;
	GPtrArray *hosts = g_ptr_array_new_with_free_func((GDestroyNotify)registry_host_free);
	const char *const paths[] = {"/liar/v2", "/v2"};
	for (size_t i = 0; i < 2; i++)
		g_ptr_array_add(hosts, registry_host_new("http", test_server_host(w->server), paths[i],
		                                         REGISTRY_ALL));
	return hosts;
}

static bool pull_with(World *w, const TransferRegistry *from, TransferImages *to, const char *snapshotter,
                      GError **error)
{
	g_auto(Platform) amd64 = {0};
	platform_parse("linux/amd64", &amd64, NULL);
	g_autoptr(GPtrArray) unpacks = g_ptr_array_new();
	TransferUnpack u = {.platform = amd64, .snapshotter = (char *)snapshotter};
	g_ptr_array_add(unpacks, &u);
	to->name = from->reference;
	to->unpacks = unpacks;
	return transfer_pull(w->transfer, &w->ctx, from, to, (TransferProgressSink){0}, error);
}

static void test_liar(void)
{
	if (test_skip_without_mounts())
		return;
	static const char *const evil_entries[] = {"evil=666", "good=666", NULL};
	g_autoptr(GBytes) tar = world_tar(evil_entries);
	evil = world_compress(tar, COMPRESSION_GZIP);
	g_autoptr(World) w = world_new();
	g_auto(Descriptor) desc = {0};
	world_image(w, "amd64", two, COMPRESSION_GZIP, &desc);
	world_tag(w, "x", desc.digest);
	w->hook = lie;
	g_autofree char *ref = world_ref(w, "x");
	TransferRegistry from = {.reference = ref, .hosts = liar_first, .hosts_data = w};
	TransferImages to = {0};
	Snapshotter *sn = w->overlayfs != NULL ? w->overlayfs : w->native;
	g_autoptr(GError) error = NULL;
	pull_with(w, &from, &to, sn->name, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(lies, >=, 1);
	g_autoptr(Manifest) m = manifest_of(w, &desc);
	g_auto(GStrv) chains = chains_of(w, m);
	g_autofree char *tree = world_tree(w, sn, chains[1]);
	g_assert_cmpstr(tree, ==, "good f 644 1\ntop f 644 2"); // and nothing of the lie
	g_clear_pointer(&evil, g_bytes_unref);
}

/* ---- Remote snapshotters ---- */

/* Has some snapshots already, which it finds by their labels; the rest is overlayfs or native. */
typedef struct {
	Snapshotter base;
	SnapshotterOps ops;
	Snapshotter *inner;
	const char *has; // chain id, NULL: none
	GPtrArray *seen; // labels of what was prepared
} Remote;

static GPtrArray *remote_prepare(Snapshotter *self, const Ctx *ctx, SnapshotKind kind, const char *key,
                                 const char *parent, GHashTable *labels, GError **error)
{
	Remote *r = (Remote *)self;
	const char *ref = strmap_get(labels, LABEL_SNAPSHOT_REF);
	if (ref != NULL && kind == SNAPSHOT_ACTIVE)
		g_ptr_array_add(r->seen, strmap_copy(labels));
	if (ref == NULL || g_strcmp0(ref, r->has) != 0)
		return kind == SNAPSHOT_ACTIVE ? snapshot_prepare(r->inner, ctx, key, parent, labels, error)
		                               : snapshot_view(r->inner, ctx, key, parent, labels, error);
	g_autoptr(SnapshotInfo) info = snapshot_stat(r->inner, ctx, ref, NULL);
	if (info == NULL) {
		g_autoptr(GPtrArray) mounts =
		        snapshot_prepare(r->inner, ctx, "remote", parent, labels, error);
		g_assert_nonnull(mounts);
		g_assert_true(snapshot_commit(r->inner, ctx, ref, "remote", NULL, labels, error));
	}
	error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "target snapshot %s", Q(ref));
	return NULL;
}

static SnapshotInfo *remote_stat(Snapshotter *self, const Ctx *ctx, const char *key, GError **error)
{
	return snapshot_stat(((Remote *)self)->inner, ctx, key, error);
}

static bool remote_commit(Snapshotter *self, const Ctx *ctx, const char *name, const char *key,
                          const char *parent, GHashTable *labels, GError **error)
{
	return snapshot_commit(((Remote *)self)->inner, ctx, name, key, parent, labels, error);
}

static bool remote_remove(Snapshotter *self, const Ctx *ctx, const char *key, GError **error)
{
	return snapshot_remove(((Remote *)self)->inner, ctx, key, error);
}

static void test_remote(void)
{
	if (test_skip_without_mounts())
		return;
	g_autoptr(World) w = world_new();
	g_auto(Descriptor) desc = {0};
	world_image(w, "amd64", two, COMPRESSION_GZIP, &desc);
	world_tag(w, "x", desc.digest);
	g_autoptr(Manifest) m = manifest_of(w, &desc);
	g_auto(GStrv) chains = chains_of(w, m);
	static const char *const none[] = {NULL};
	g_autoptr(GPtrArray) seen = g_ptr_array_new_with_free_func((GDestroyNotify)g_hash_table_unref);
	Remote r = {
	        .base = {.name = (char *)"remote", .capabilities = none},
	        .ops = {.prepare = remote_prepare,
	                .stat = remote_stat,
	                .commit = remote_commit,
	                .remove = remote_remove},
	        .inner = w->native,
	        .has = chains[0],
	        .seen = seen,
	};
	r.base.ops = &r.ops;
	g_auto(Platform) p = {0};
	platform_parse("linux/amd64", &p, NULL);
	UnpackPlatform *up = unpack_platform_new(platform_matcher_only(&p), &r.base, w->differ);
	up->annotations = true;
	g_ptr_array_add(w->platforms, up);
	g_autoptr(GError) error = NULL;
	world_pull(w, "x", "remote", NULL, &error);
	g_assert_no_error(error);
	const char *bottom = ((Descriptor *)m->layers->pdata[0])->digest;
	const char *top = ((Descriptor *)m->layers->pdata[1])->digest;
	g_assert_cmpuint(world_gets(w, bottom), ==, 0); // it said that it has it
	g_assert_cmpuint(world_gets(w, top), ==, 1);
	g_autofree char *ref = world_ref(w, "x"), *all = g_strconcat(bottom, ",", top, NULL);
	GHashTable *labels = seen->pdata[seen->len - 1];
	g_assert_cmpstr(strmap_get(labels, LABEL_SNAPSHOT_REF), ==, chains[1]);
	g_assert_cmpstr(strmap_get(labels, LABEL_SNAPSHOT_CRI_IMAGE_REF), ==, ref);
	g_assert_cmpstr(strmap_get(labels, LABEL_SNAPSHOT_CRI_LAYER_DIGEST), ==, top);
	g_assert_cmpstr(strmap_get(labels, LABEL_SNAPSHOT_CRI_IMAGE_LAYERS), ==, top);
	g_assert_cmpstr(strmap_get(labels, LABEL_SNAPSHOT_CRI_MANIFEST_DIGEST), ==, desc.digest);
	labels = seen->pdata[0];
	g_assert_cmpstr(strmap_get(labels, LABEL_SNAPSHOT_CRI_IMAGE_LAYERS), ==, all);
	/* without being asked for they are not there */
	up->annotations = false;
	r.has = NULL;
	g_ptr_array_set_size(seen, 0);
	static const char *const third[] = {"third=3", NULL}, *const fourth[] = {"fourth=4", NULL};
	static const char *const *const other[] = {third, fourth, NULL};
	g_auto(Descriptor) second = {0};
	world_image(w, "amd64", other, COMPRESSION_GZIP, &second);
	world_tag(w, "y", second.digest);
	world_pull(w, "y", "remote", NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(seen->len, ==, 2);
	g_assert_null(strmap_get(seen->pdata[0], LABEL_SNAPSHOT_CRI_IMAGE_REF));
}

/* ---- Layers that are not kept ---- */

static void test_discard(void)
{
	if (test_skip_without_mounts())
		return;
	g_autoptr(World) w = world_new();
	g_auto(Descriptor) desc = {0};
	world_image(w, "amd64", two, COMPRESSION_GZIP, &desc);
	world_tag(w, "x", desc.digest);
	g_autofree char *ref = world_ref(w, "x");
	TransferRegistry from = {.reference = ref, .default_scheme = "http"};
	TransferImages to = {.discard_unpacked_layers = true};
	g_autoptr(GError) error = NULL;
	pull_with(w, &from, &to, w->overlayfs != NULL ? "overlayfs" : "native", &error);
	g_assert_no_error(error);
	g_autoptr(ContentInfo) info = content_info(w->content, &w->ctx, desc.digest, &error);
	g_assert_nonnull(strmap_get(info->labels, "containerd.io/gc.ref.content.config"));
	g_assert_null(strmap_get(info->labels, "containerd.io/gc.ref.content.l.0"));
}

/* ---- Old Docker ---- */

static void test_legacy_config(void)
{
	g_autoptr(World) w = world_new();
	g_auto(Descriptor) good = {0};
	world_image(w, "amd64", two, COMPRESSION_GZIP, &good);
	g_autoptr(Manifest) m = manifest_of(w, &good);
	g_free(m->config.media_type);
	m->config.media_type = g_strdup(MEDIA_TYPE_OCTET_STREAM);
	g_free(m->media_type);
	m->media_type = g_strdup(MEDIA_TYPE_DOCKER_MANIFEST);
	g_autoptr(JsonObject) json = manifest_to_json(m);
	char *text = json_to_text(json);
	g_autoptr(GBytes) bytes = g_bytes_new_take(text, strlen(text));
	g_autofree char *digest = world_put(w, MEDIA_TYPE_DOCKER_MANIFEST, bytes);
	world_tag(w, "x", digest);
	g_autoptr(GError) error = NULL;
	world_pull(w, "x", NULL, NULL, &error);
	g_assert_no_error(error);
	g_autofree char *ref = world_ref(w, "x");
	g_autoptr(Image) image = images_get(w->db, &w->ctx, ref, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(image->target.digest, !=, digest);
	g_autofree char *data = NULL;
	size_t len = 0;
	g_assert_true(
	        content_read_blob(w->content, &w->ctx, &image->target, MANIFEST_MAX, &data, &len, &error));
	g_autoptr(Manifest) converted = manifest_parse(data, len, image->target.media_type, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(converted->config.media_type, ==, MEDIA_TYPE_DOCKER_CONFIG);
	g_assert_cmpstr(converted->config.digest, ==, m->config.digest);
	g_autoptr(ContentInfo) info = content_info(w->content, &w->ctx, image->target.digest, &error);
	g_assert_cmpstr(strmap_get(info->labels, "containerd.io/gc.ref.content.config"), ==,
	                m->config.digest);
}

/* An operation that cannot even have a lease leaves the caller's token alone. */
static void test_no_lease(void)
{
	g_autoptr(World) w = world_new();
	g_autoptr(Cancel) cancel = cancel_new(NULL);
	Ctx ctx = {.ns = "", .cancel = cancel};
	TransferImages from = {.name = "a"}, to = {.name = "b"};
	for (int i = 0; i < 3; i++) {
		g_autoptr(GError) error = NULL;
		g_assert_false(transfer_tag(w->transfer, &ctx, &from, &to, &error));
		g_assert_cmpstr(error->message, ==, "namespace is required: failed precondition");
		g_assert_false(cancel_is_set(cancel));
	}
}

int main(int argc, char **argv)
{
	test_private_ns();
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/verifier/judgement", test_judgement);
	g_test_add_func("/verifier/no-judgement", test_no_judgement);
	g_test_add_func("/verifier/output", test_output);
	g_test_add_func("/verifier/pull", test_pull_verified);
	g_test_add_func("/mirror/liar", test_liar);
	g_test_add_func("/snapshotter/remote", test_remote);
	g_test_add_func("/layers/discard", test_discard);
	g_test_add_func("/operation/no-lease", test_no_lease);
	g_test_add_func("/manifest/legacy-config", test_legacy_config);
	return g_test_run();
}
