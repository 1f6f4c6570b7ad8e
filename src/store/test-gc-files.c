// SPDX-License-Identifier: Apache-2.0

/* The collector with content and snapshots on disk: what goes, what must stay beside writers, what a crash
 * or a careless hand left. */

#include "base/log.h"
#include "loop/thread.h"
#include "oci/labels.h"
#include "store/containers.h"
#include "store/content-suite.h"
#include "store/gc.h"
#include "store/images.h"
#include "store/leases.h"
#include "store/test-env.h"
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

typedef struct {
	TestEnv *env;
	ContentStore *backend, *content;
	GHashTable *snapshotters;
	Snapshotter *native;
	Gc *gc;
} Fixture;

static void fixture_open(Fixture *f, bool with_snapshots)
{
	g_autoptr(GError) error = NULL;
	if (f->env->db == NULL)
		test_env_open(f->env, NULL);
	g_autofree char *root = g_build_filename(f->env->dir, "content", NULL);
	f->backend = content_local_new(root, &error);
	g_assert_no_error(error);
	f->content = content_meta_new(f->env->db, f->backend);
	f->snapshotters = g_hash_table_new(g_str_hash, g_str_equal);
	if (with_snapshots) {
		g_autofree char *dir = g_build_filename(f->env->dir, "native", NULL);
		SnapshotDriver *driver = snapshot_native_new(dir, &error);
		g_assert_no_error(error);
		f->native = snapshotter_local_new(f->env->db, "native", driver, &error);
		g_assert_no_error(error);
		g_hash_table_insert(f->snapshotters, (void *)"native", f->native);
	}
	f->gc = gc_new(f->env->db, f->backend, f->snapshotters, &(GcOptions){0});
}

static void fixture_close(Fixture *f)
{
	gc_free(f->gc);
	content_store_free(f->content);
	content_store_free(f->backend);
	g_hash_table_unref(f->snapshotters);
	snapshotter_free(f->native);
	meta_close(g_steal_pointer(&f->env->db));
}

static Fixture fixture_new(bool with_snapshots)
{
	Fixture f = {.env = test_env_new(NULL)};
	fixture_open(&f, with_snapshots);
	return f;
}

static void fixture_free(Fixture *f)
{
	fixture_close(f);
	test_env_free(f->env);
}

static void collect(Fixture *f)
{
	g_autoptr(GError) error = NULL;
	gc_run(f->gc, &(Ctx){0}, &error);
	g_assert_no_error(error);
}

/* A blob that is a number; its digest is the caller's. */
static char *put(Fixture *f, const Ctx *ctx, int n, GHashTable *labels)
{
	g_autoptr(GHashTable) taken = labels;
	g_autoptr(GError) error = NULL;
	g_autofree char *data = g_strdup_printf("blob %d", n);
	char *digest = digest_bytes(data, strlen(data));
	Descriptor desc = {.size = (int64_t)strlen(data), .digest = digest};
	content_write_blob(f->content, ctx, digest, data, strlen(data), &desc, taken, &error);
	g_assert_no_error(error);
	return digest;
}

static char *digest_of(int n)
{
	g_autofree char *data = g_strdup_printf("blob %d", n);
	return digest_bytes(data, strlen(data));
}

static void add_image(Fixture *f, const Ctx *ctx, const char *name, const char *digest)
{
	g_autoptr(GError) error = NULL;
	Image image = {.name = (char *)name,
	               .target = {.media_type = (char *)"m", .digest = (char *)digest, .size = 1}};
	image_free(images_create(f->env->db, ctx, &image, 0, &error));
	g_assert_no_error(error);
}

static void add_lease(Fixture *f, const Ctx *ctx, const char *id, GHashTable *labels)
{
	g_autoptr(GHashTable) taken = labels;
	g_autoptr(GError) error = NULL;
	lease_free(leases_create(f->env->db, ctx, id, taken, &error));
	g_assert_no_error(error);
}

static void add_resource(Fixture *f, const char *lease, const char *type, const char *id)
{
	LeaseResource r = {(char *)id, (char *)type};
	g_assert_true(leases_add_resource(f->env->db, &f->env->ctx, lease, &r, NULL));
}

static void add_snapshot(Fixture *f, const char *key, const char *parent, GHashTable *labels)
{
	g_autoptr(GHashTable) taken = labels;
	g_autoptr(GError) error = NULL;
	g_autofree char *active = g_strconcat(key, "-active", NULL);
	g_autoptr(GPtrArray) mounts = snapshot_prepare(f->native, &f->env->ctx, active, parent, NULL, &error);
	g_assert_nonnull(mounts);
	g_assert_no_error(error);
	snapshot_commit(f->native, &f->env->ctx, key, active, NULL, taken, &error);
	g_assert_no_error(error);
}

static bool in_backend(Fixture *f, const char *digest)
{
	g_autoptr(ContentInfo) info = content_info(f->backend, &(Ctx){0}, digest, NULL);
	return info != NULL;
}

static bool has_row(Fixture *f, const Ctx *ctx, const char *digest)
{
	g_autoptr(ContentInfo) info = content_info(f->content, ctx, digest, NULL);
	return info != NULL;
}

static guint n_files(Fixture *f, const char *dir)
{
	g_autofree char *path = g_build_filename(f->env->dir, dir, NULL);
	g_autoptr(GPtrArray) names = path_exists(path) ? dir_list(path, 0, NULL) : NULL;
	return names != NULL ? names->len : 0;
}

/* ---- TestMetadataCollector ---- */

static void test_collect(void)
{
	Fixture f = fixture_new(true);
	const Ctx *ctx = &f.env->ctx;
	g_autoptr(GError) error = NULL;
	char *d[16];
	for (int i = 5; i <= 10; i++)
		d[i] = digest_of(i);
	d[1] = put(&f, ctx, 1, NULL);
	d[2] = put(&f, ctx, 2, NULL);
	d[3] = put(&f, ctx, 3, NULL);
	d[4] = put(&f, ctx, 4, test_labels(LABEL_GC_ROOT, "now", NULL));
	add_snapshot(&f, "1", "", NULL);
	add_snapshot(&f, "2", "1", NULL);
	add_snapshot(&f, "3", "2", NULL);
	add_snapshot(&f, "4", "3", NULL);
	add_snapshot(&f, "5", "3", NULL); // goes
	Container c = {.id = (char *)"1",
	               .runtime_name = (char *)"r",
	               .spec = {.type_url = (char *)""},
	               .snapshotter = (char *)"native",
	               .snapshot_key = (char *)"4"};
	container_free(containers_create(f.env->db, ctx, &c, &error));
	g_assert_no_error(error);
	add_image(&f, ctx, "image-1", d[2]);
	// what a lease keeps, and what that refers to
	g_free(put(&f, ctx, 5, test_labels(LABEL_GC_REF_CONTENT ".0", d[6], NULL)));
	g_free(put(&f, ctx, 6, NULL));
	g_free(put(&f, ctx, 7, NULL));
	add_snapshot(&f, "6", "", test_labels(LABEL_GC_REF_CONTENT ".0", d[7], NULL));
	add_lease(&f, ctx, "lease-1", NULL);
	add_resource(&f, "lease-1", "content", d[5]);
	add_resource(&f, "lease-1", "snapshots/native", "6");
	// a flat one keeps parents only
	g_free(put(&f, ctx, 8, test_labels(LABEL_GC_REF_CONTENT ".0", d[9], NULL)));
	g_free(put(&f, ctx, 9, NULL));
	g_free(put(&f, ctx, 10, NULL));
	add_snapshot(&f, "7", "", test_labels(LABEL_GC_REF_CONTENT ".0", d[10], NULL));
	add_snapshot(&f, "8", "7", NULL);
	add_snapshot(&f, "9", "8", NULL);
	add_lease(&f, ctx, "lease-2", test_labels(LABEL_GC_FLAT, "now", NULL));
	add_resource(&f, "lease-2", "content", d[8]);
	add_resource(&f, "lease-2", "snapshots/native", "9");

	g_assert_cmpuint(n_files(&f, "native/snapshots"), ==, 9);
	collect(&f);
	static const bool kept[] = {false, false, true, false, true, true, true, true, true, false, false};
	for (int i = 1; i <= 10; i++) {
		g_test_message("blob %d", i);
		g_assert_true(has_row(&f, ctx, d[i]) == kept[i]);
		g_assert_true(in_backend(&f, d[i]) == kept[i]);
	}
	for (int i = 1; i <= 9; i++) {
		g_autofree char *key = g_strdup_printf("%d", i);
		g_autoptr(SnapshotInfo) info = snapshot_stat(f.native, ctx, key, NULL);
		g_test_message("snapshot %d", i);
		g_assert_true((info != NULL) == (i != 5));
	}
	g_assert_cmpuint(n_files(&f, "native/snapshots"), ==, 8);
	// the image goes, and what it kept
	g_assert_true(images_delete(f.env->db, ctx, "image-1", NULL, &error));
	collect(&f);
	g_assert_false(in_backend(&f, d[2]));
	for (int i = 1; i <= 10; i++)
		g_free(d[i]);
	fixture_free(&f);
}

/* The file stays until the last namespace lets go of it. */
static void test_shared(void)
{
	Fixture f = fixture_new(false);
	Ctx other = {.ns = "other"};
	g_autoptr(GError) error = NULL;
	g_autofree char *digest = put(&f, &f.env->ctx, 1, NULL);
	add_image(&f, &f.env->ctx, "i", digest);
	g_free(put(&f, &other, 1, NULL));
	add_image(&f, &other, "i", digest);
	g_assert_true(content_delete(f.content, &other, digest, &error));
	collect(&f);
	g_assert_true(in_backend(&f, digest));
	g_assert_true(content_delete(f.content, &f.env->ctx, digest, &error));
	g_assert_true(in_backend(&f, digest));
	collect(&f);
	g_assert_false(in_backend(&f, digest));
	// an ingest that stands for a shared blob keeps it too
	g_free(put(&f, &f.env->ctx, 2, NULL));
	g_autofree char *two = digest_of(2);
	ContentWriter *w = content_writer(f.content, &other, "r", &(Descriptor){.digest = two}, &error);
	g_assert_true(content_delete(f.content, &f.env->ctx, two, &error));
	collect(&f);
	g_assert_true(in_backend(&f, two));
	g_assert_true(content_commit(w, &other, 0, two, NULL, &error));
	content_writer_close(w);
	add_image(&f, &other, "two", two);
	// also where the ingest goes last
	g_autofree char *three = put(&f, &f.env->ctx, 3, NULL);
	add_lease(&f, &other, "l", NULL);
	Ctx leased = {.ns = "other", .lease = "l"};
	content_writer_close(
	        content_writer(f.content, &leased, "r3", &(Descriptor){.digest = three}, &error));
	g_assert_true(content_delete(f.content, &f.env->ctx, three, &error));
	collect(&f);
	g_assert_true(in_backend(&f, three));
	g_assert_true(leases_delete(f.env->db, &other, "l", &error));
	collect(&f);
	g_assert_false(in_backend(&f, three));
	// and once the ingest was given up, its commit fails and promises nothing
	w = content_writer(f.content, &f.env->ctx, "r", &(Descriptor){.digest = two}, &error);
	g_assert_true(content_abort(f.content, &f.env->ctx, "r", &error));
	g_assert_true(content_delete(f.content, &other, two, &error));
	collect(&f);
	g_assert_false(in_backend(&f, two));
	g_assert_false(content_commit(w, &f.env->ctx, 0, two, NULL, &error));
	g_assert_true(error_is(error, CTRD_ERR_NOT_FOUND));
	content_writer_close(w);
	fixture_free(&f);
}

static void test_ingests(void)
{
	Fixture f = fixture_new(false);
	g_autoptr(GError) error = NULL;
	add_lease(&f, &f.env->ctx, "l", NULL);
	Ctx leased = {.ns = "testing", .lease = "l"};
	content_writer_close(content_writer(f.content, &leased, "leased", NULL, &error));
	content_writer_close(content_writer(f.content, &f.env->ctx, "free", NULL, &error));
	collect(&f);
	g_assert_cmpuint(n_files(&f, "content/ingest"), ==, 2);
	g_assert_true(leases_delete(f.env->db, &f.env->ctx, "l", &error));
	collect(&f);
	g_assert_cmpuint(n_files(&f, "content/ingest"), ==, 1);
	g_assert_null(content_status(f.content, &f.env->ctx, "leased", &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, "reference leased: not found");
	fixture_free(&f);
}

/* ---- what is found at the start ---- */

static char *blob_file(Fixture *f, const char *digest)
{
	return g_build_filename(f->env->dir, "content/blobs/sha256", digest_hex(digest), NULL);
}

static void test_repair(void)
{
	Fixture f = fixture_new(true);
	const Ctx *ctx = &f.env->ctx;
	char *d[6];
	for (int i = 1; i <= 5; i++) {
		g_autofree char *name = g_strdup_printf("image-%d", i);
		d[i] = put(&f, ctx, i, NULL);
		add_image(&f, ctx, name, d[i]);
	}
	fixture_close(&f);
	// 1 stays, 2 is lost, 3 is short, 4 is empty, 5 lost its row; an ingest and a snapshot without rows
	g_autofree char *lost = blob_file(&f, d[2]), *shorter = blob_file(&f, d[3]),
	                *empty = blob_file(&f, d[4]);
	g_assert_cmpint(unlink(lost), ==, 0);
	g_assert_true(file_write_atomic(shorter, "b", 1, 0444, false, NULL));
	g_assert_true(file_write_atomic(empty, "", 0, 0444, false, NULL));
	g_autofree char *db = g_build_filename(f.env->dir, "meta.sqlite", NULL);
	sqlite3 *sqlite;
	g_assert_cmpint(sqlite3_open(db, &sqlite), ==, SQLITE_OK);
	g_autofree char *sql = g_strdup_printf("DELETE FROM blob WHERE digest = '%s'", d[5]);
	g_assert_cmpint(sqlite3_exec(sqlite, sql, NULL, NULL, NULL), ==, SQLITE_OK);
	sqlite3_close(sqlite);
	g_autofree char *root = g_build_filename(f.env->dir, "content", NULL);
	ContentStore *alone = content_local_new(root, NULL);
	content_writer_close(content_writer(alone, &(Ctx){0}, "nobody's", NULL, NULL));
	content_store_free(alone);
	g_autofree char *snapshot = g_build_filename(f.env->dir, "native/snapshots/77", NULL);
	g_assert_true(dir_make_all(snapshot, 0755, NULL));

	unsigned warnings = log_count_warnings();
	f.native = NULL;
	fixture_open(&f, true);
	collect(&f);
	static const bool kept[] = {false, true, false, false, false, false};
	for (int i = 1; i <= 5; i++) {
		g_test_message("blob %d", i);
		g_assert_true(has_row(&f, ctx, d[i]) == kept[i]);
		g_assert_true(in_backend(&f, d[i]) == kept[i]);
	}
	g_assert_cmpuint(log_count_warnings() - warnings, ==, 3);
	g_assert_cmpuint(n_files(&f, "content/blobs/sha256"), ==, 1);
	g_assert_cmpuint(n_files(&f, "content/ingest"), ==, 0);
	g_assert_cmpuint(n_files(&f, "native/snapshots"), ==, 0);
	// and the next pull writes them anew
	for (int i = 1; i <= 5; i++) {
		g_free(put(&f, ctx, i, NULL));
		g_assert_true(in_backend(&f, d[i]));
		g_free(d[i]);
	}
	fixture_free(&f);
}

/* A store without a single blob is more likely not mounted. */
static void test_empty_store(void)
{
	Fixture f = fixture_new(false);
	g_autofree char *digest = put(&f, &f.env->ctx, 1, NULL);
	add_image(&f, &f.env->ctx, "i", digest);
	fixture_close(&f);
	g_autofree char *file = blob_file(&f, digest);
	g_assert_cmpint(unlink(file), ==, 0);
	fixture_open(&f, false);
	collect(&f);
	g_assert_true(has_row(&f, &f.env->ctx, digest));
	fixture_free(&f);
}

/* Where upstream's metadata lie beside ours, files that we do not know are its. */
static void test_upstream(void)
{
	Fixture f = fixture_new(false);
	fixture_close(&f);
	g_autofree char *upstream = g_build_filename(f.env->dir, "meta.db", NULL);
	g_assert_true(g_file_set_contents(upstream, "bolt", 4, NULL));
	g_autofree char *root = g_build_filename(f.env->dir, "content", NULL);
	ContentStore *alone = content_local_new(root, NULL);
	g_assert_true(content_write_blob(alone, &(Ctx){0}, "r", "theirs", 6, NULL, NULL, NULL));
	content_writer_close(content_writer(alone, &(Ctx){0}, "theirs too", NULL, NULL));
	content_store_free(alone);
	fixture_open(&f, false);
	g_autofree char *digest = digest_bytes("theirs", 6);
	Descriptor desc = {.digest = digest, .size = 6};
	g_autoptr(GError) error = NULL;
	// even when we had it too
	g_assert_true(content_write_blob(f.content, &f.env->ctx, "r", "theirs", 6, &desc, NULL, &error));
	g_assert_true(content_delete(f.content, &f.env->ctx, digest, &error));
	collect(&f);
	collect(&f);
	g_assert_true(in_backend(&f, digest));
	g_assert_cmpuint(n_files(&f, "content/ingest"), ==, 1);
	fixture_free(&f);
}

/* ---- beside writers ---- */

typedef struct {
	Fixture *f;
	unsigned id;
	bool *stop;
	pthread_t thread;
} Worker;

static void assert_readable(Fixture *f, const Ctx *ctx, const char *digest)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *data = NULL;
	size_t len;
	Descriptor desc = {.digest = (char *)digest};
	content_read_blob(f->content, ctx, &desc, 1000, &data, &len, &error);
	g_assert_no_error(error);
	g_autofree char *actual = digest_bytes(data, len);
	g_assert_cmpstr(actual, ==, digest);
}

/* One pull and removal, of a blob that all the others pull and remove too. */
static void cycle(Fixture *f, unsigned id, int i)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *ns = g_strdup_printf("ns%u", id), *lease = g_strdup_printf("l%d", i);
	Ctx ctx = {.ns = ns}, leased = {.ns = ns, .lease = lease};
	add_lease(f, &ctx, lease, NULL);
	g_autofree char *digest = put(f, &leased, i % 3, NULL);
	assert_readable(f, &ctx, digest);
	add_image(f, &ctx, "image", digest);
	g_assert_true(leases_delete(f->env->db, &ctx, lease, &error));
	assert_readable(f, &ctx, digest);
	g_assert_true(images_delete(f->env->db, &ctx, "image", NULL, &error));
}

static void *cycles(void *data)
{
	Worker *w = data;
	for (int i = 0; i < 60; i++)
		cycle(w->f, w->id, i);
	return NULL;
}

static void *collections(void *data)
{
	Worker *w = data;
	while (!__atomic_load_n(w->stop, __ATOMIC_ACQUIRE))
		collect(w->f);
	return NULL;
}

static void test_concurrent(void)
{
	Fixture f = fixture_new(false);
	bool stop = false;
	Worker workers[4], collecting = {.f = &f, .stop = &stop};
	g_assert_cmpint(thread_start(&collecting.thread, "test", 0, collections, &collecting), ==, 0);
	for (unsigned i = 0; i < G_N_ELEMENTS(workers); i++) {
		workers[i] = (Worker){.f = &f, .id = i};
		g_assert_cmpint(thread_start(&workers[i].thread, "test", 0, cycles, &workers[i]), ==, 0);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(workers); i++)
		pthread_join(workers[i].thread, NULL);
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_join(collecting.thread, NULL);
	collect(&f);
	g_assert_cmpuint(n_files(&f, "content/blobs/sha256"), ==, 0);
	g_assert_cmpuint(n_files(&f, "content/ingest"), ==, 0);
	GcStats stats;
	gc_last(f.gc, &stats);
	g_test_message("%u collections", stats.n_collections);
	fixture_free(&f);
}

/* ---- killed ---- */

static G_NORETURN void work_until_killed(TestEnv *env)
{
	Fixture f = {.env = env};
	fixture_open(&f, false);
	bool stop = false;
	Worker workers[2], collecting = {.f = &f, .stop = &stop};
	if (thread_start(&collecting.thread, "test", 0, collections, &collecting) != 0)
		_exit(1);
	for (unsigned round = 0;; round++) {
		for (unsigned i = 0; i < 2; i++) {
			workers[i] = (Worker){.f = &f, .id = i};
			if (thread_start(&workers[i].thread, "test", 0, cycles, &workers[i]) != 0)
				_exit(1);
		}
		for (unsigned i = 0; i < 2; i++)
			pthread_join(workers[i].thread, NULL);
	}
}

static bool check_row(const ContentInfo *info, void *data, GError **error)
{
	Worker *w = data;
	g_autofree char *ns = g_strdup_printf("ns%u", w->id);
	assert_readable(w->f, &(Ctx){.ns = ns}, info->digest);
	return true;
}

/* Every record has its file; after one collection only what is referred to is left of either. */
static void crash_once(TestEnv *env)
{
	pid_t pid = fork();
	g_assert_cmpint(pid, >=, 0);
	if (pid == 0)
		work_until_killed(env);
	g_usleep((gulong)g_test_rand_int_range(20000, 150000));
	kill(pid, SIGKILL);
	int status;
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

	Fixture f = {.env = env};
	fixture_open(&f, false);
	unsigned warnings = log_count_warnings();
	g_autoptr(GError) error = NULL;
	for (unsigned id = 0; id < 2; id++) {
		g_autofree char *ns = g_strdup_printf("ns%u", id);
		Worker w = {.f = &f, .id = id};
		g_assert_true(content_walk(f.content, &(Ctx){.ns = ns}, NULL, check_row, &w, &error));
	}
	collect(&f);
	g_assert_cmpuint(log_count_warnings(), ==, warnings); // nothing was damaged
	for (unsigned id = 0; id < 2; id++) {
		g_autofree char *ns = g_strdup_printf("ns%u", id);
		Ctx ctx = {.ns = ns};
		images_delete(env->db, &ctx, "image", NULL, NULL);
		g_autoptr(GPtrArray) leases = leases_list(env->db, &ctx, NULL, &error);
		for (guint i = 0; i < leases->len; i++)
			g_assert_true(leases_delete(env->db, &ctx, ((Lease *)leases->pdata[i])->id, &error));
	}
	collect(&f);
	g_assert_cmpuint(n_files(&f, "content/blobs/sha256"), ==, 0);
	g_assert_cmpuint(n_files(&f, "content/ingest"), ==, 0);
	fixture_close(&f);
}

static void test_crash(void)
{
	TestEnv *env = test_env_new(NULL);
	meta_close(g_steal_pointer(&env->db));
	for (int i = 0; i < 8; i++)
		crash_once(env);
	test_env_free(env);
}

/* The file is in its place and the record is refused: nobody knows of it but the collector. */
static void test_unrecorded(void)
{
	Fixture f = fixture_new(false);
	g_autoptr(GError) error = NULL;
	Ctx leased = f.env->ctx;
	leased.lease = "none";
	g_autofree char *digest = digest_of(1);
	Descriptor desc = {.size = (int64_t)strlen("blob 1"), .digest = digest};
	g_autoptr(ContentWriter) w = content_open_writer(f.content, &f.env->ctx, "ref", &desc, &error);
	g_assert_no_error(error);
	g_assert_true(content_write(w, "blob 1", strlen("blob 1"), &error));
	g_assert_false(content_commit(w, &leased, desc.size, digest, NULL, &error));
	g_assert_cmpstr(error->message, ==, "lease does not exist: not found");
	g_assert_true(in_backend(&f, digest));
	g_assert_false(has_row(&f, &f.env->ctx, digest));
	collect(&f);
	g_assert_false(in_backend(&f, digest));
	fixture_free(&f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/gc-files/collect", test_collect);
	g_test_add_func("/gc-files/shared", test_shared);
	g_test_add_func("/gc-files/ingests", test_ingests);
	g_test_add_func("/gc-files/repair", test_repair);
	g_test_add_func("/gc-files/empty-store", test_empty_store);
	g_test_add_func("/gc-files/upstream", test_upstream);
	g_test_add_func("/gc-files/concurrent", test_concurrent);
	g_test_add_func("/gc-files/crash", test_crash);
	g_test_add_func("/gc-files/unrecorded", test_unrecorded);
	return g_test_run();
}
