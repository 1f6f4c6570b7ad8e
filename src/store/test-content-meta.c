// SPDX-License-Identifier: Apache-2.0
#include "oci/labels.h"
#include "store/content-suite.h"
#include "store/leases.h"
#include "store/meta-private.h"
#include "store/namespaces.h"
#include "store/test-env.h"
#include <string.h>

/* ---- the conformance suite ---- */

typedef struct {
	MetaDb *db;
	ContentStore *backend;
	GPtrArray *namespaces;
} State;

static ContentStore *open_with(const char *dir, void **ret_state, bool isolated)
{
	g_autoptr(GError) error = NULL;
	State *state = g_new0(State, 1);
	g_autofree char *path = g_build_filename(dir, "meta.sqlite", NULL);
	g_autofree char *root = g_build_filename(dir, "content", NULL);
	state->db = meta_open(path, &(MetaOptions){.isolated = isolated}, &error);
	g_assert_no_error(error);
	state->namespaces = g_ptr_array_new_with_free_func(g_free);
	*ret_state = state;
	state->backend = content_local_new(root, &error);
	g_assert_no_error(error);
	return content_meta_new(state->db, state->backend);
}

static ContentStore *open_shared(const char *dir, void **ret_state)
{
	return open_with(dir, ret_state, false);
}

static ContentStore *open_isolated(const char *dir, void **ret_state)
{
	return open_with(dir, ret_state, true);
}

static Ctx next_ctx(void *data, bool shareable)
{
	State *state = data;
	char *ns = g_strdup_printf("suite-n%u", state->namespaces->len);
	g_ptr_array_add(state->namespaces, ns);
	if (shareable) {
		g_autoptr(GHashTable) labels = test_labels(LABEL_NAMESPACE_SHAREABLE, "true", NULL);
		g_assert_true(namespaces_create(state->db, &(Ctx){0}, ns, labels, NULL));
	}
	return (Ctx){.ns = ns};
}

static void close_store(ContentStore *s, void *data)
{
	State *state = data;
	content_store_free(s);
	content_store_free(state->backend);
	meta_close(state->db);
	g_ptr_array_unref(state->namespaces);
	g_free(state);
}

static const ContentSuite shared = {
        "meta-shared", open_shared, next_ctx, close_store, true,
};
static const ContentSuite isolated = {
        "meta-isolated", open_isolated, next_ctx, close_store, true,
};

/* ---- what is the namespaced store's own ---- */

typedef struct {
	TestEnv *env;
	ContentStore *backend, *store;
} Fixture;

static Fixture fixture_new(const MetaOptions *options)
{
	Fixture f = {.env = test_env_new(options)};
	g_autofree char *root = g_build_filename(f.env->dir, "content", NULL);
	f.backend = content_local_new(root, NULL);
	f.store = content_meta_new(f.env->db, f.backend);
	return f;
}

static void fixture_free(Fixture *f)
{
	content_store_free(f->store);
	content_store_free(f->backend);
	test_env_free(f->env);
}

static bool has_resource(Fixture *f, const char *lease, const char *type, const char *id)
{
	g_autoptr(GPtrArray) list = leases_list_resources(f->env->db, &f->env->ctx, lease, NULL);
	for (guint i = 0; i < list->len; i++) {
		LeaseResource *r = list->pdata[i];
		if (strcmp(r->type, type) == 0 && strcmp(r->id, id) == 0)
			return true;
	}
	return false;
}

static void make_lease(Fixture *f, const char *id)
{
	g_autoptr(Lease) lease = leases_create(f->env->db, &f->env->ctx, id, NULL, NULL);
	g_assert_nonnull(lease);
}

static const char blob[] = "any content";
#define BLOB_LEN 11

static void test_content_leased(void)
{
	Fixture f = fixture_new(NULL);
	g_autoptr(GError) error = NULL;
	g_autofree char *digest = digest_bytes(blob, BLOB_LEN);
	Descriptor desc = {.size = BLOB_LEN, .digest = digest};
	make_lease(&f, "lease-1");
	Ctx one = {.ns = "testing", .lease = "lease-1"}, two = {.ns = "testing", .lease = "lease-2"};
	g_assert_true(content_write_blob(f.store, &one, "test-1", blob, BLOB_LEN, &desc, NULL, &error));
	g_assert_true(has_resource(&f, "lease-1", "content", digest));
	g_assert_false(has_resource(&f, "lease-1", "ingests", "test-1"));
	// what is there already is leased too
	g_assert_null(content_writer(f.store, &two, "test-2", &desc, &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, "unable to lease content: lease does not exist: not found");
	make_lease(&f, "lease-2");
	g_assert_null(content_writer(f.store, &two, "test-2", &desc, &error));
	g_autofree char *text = g_strdup_printf("content %s: already exists", digest);
	assert_error(error, CTRD_ERR_ALREADY_EXISTS, text);
	g_assert_true(has_resource(&f, "lease-2", "content", digest));
	g_assert_false(has_resource(&f, "lease-2", "ingests", "test-2"));
	// deleting takes it from the caller's lease
	g_assert_true(content_delete(f.store, &two, digest, &error));
	g_assert_false(has_resource(&f, "lease-2", "content", digest));
	g_assert_true(has_resource(&f, "lease-1", "content", digest));
	fixture_free(&f);
}

static void test_ingest_leased(void)
{
	Fixture f = fixture_new(NULL);
	g_autoptr(GError) error = NULL;
	make_lease(&f, "lease-1");
	Ctx one = {.ns = "testing", .lease = "lease-1"}, none = {.ns = "testing", .lease = "none"};
	g_assert_null(content_writer(f.store, &none, "test-1", NULL, &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, "lease does not exist: not found");
	content_writer_close(content_writer(f.store, &one, "test-1", NULL, &error));
	g_assert_true(has_resource(&f, "lease-1", "ingests", "test-1"));
	g_assert_true(content_abort(f.store, &one, "test-1", &error));
	g_assert_false(has_resource(&f, "lease-1", "ingests", "test-1"));
	g_assert_false(content_abort(f.store, &one, "test-1", &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, "reference test-1: not found");
	fixture_free(&f);
}

static void test_namespaces(void)
{
	Fixture f = fixture_new(NULL);
	g_autoptr(GError) error = NULL;
	g_autofree char *digest = digest_bytes(blob, BLOB_LEN);
	Descriptor desc = {.size = BLOB_LEN, .digest = digest};
	Ctx other = {.ns = "other"};
	g_assert_true(content_write_blob(f.store, &f.env->ctx, "r", blob, BLOB_LEN, &desc, NULL, &error));
	g_autofree char *missing = g_strdup_printf("content digest %s: not found", digest);
	g_assert_null(content_info(f.store, &other, digest, &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, missing);
	g_assert_null(content_reader(f.store, &other, &desc, &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, missing);
	g_assert_false(content_delete(f.store, &other, digest, &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, missing);
	g_assert_null(content_info(f.store, &(Ctx){0}, digest, &error));
	assert_error(error, CTRD_ERR_FAILED_PRECONDITION, "namespace is required: failed precondition");
	// refs are the namespace's own
	ContentWriter *a = content_writer(f.store, &f.env->ctx, "ref", NULL, &error);
	ContentWriter *b = content_writer(f.store, &other, "ref", NULL, &error);
	g_assert_true(a != NULL && b != NULL);
	content_writer_close(a);
	content_writer_close(b);
	// a wrong size is not the shared blob
	desc.size = BLOB_LEN + 1;
	ContentWriter *w = content_writer(f.store, &other, "wrong", &desc, &error);
	g_autoptr(ContentStatus) status = NULL;
	g_assert_true(content_writer_status(w, &status, NULL));
	g_assert_cmpint(status->offset, ==, 0);
	content_writer_close(w);
	fixture_free(&f);
}

static void test_events(void)
{
	Fixture f = fixture_new(NULL);
	g_autoptr(GError) error = NULL;
	g_autofree char *digest = digest_bytes(blob, BLOB_LEN);
	Descriptor desc = {.size = BLOB_LEN, .digest = digest};
	g_assert_true(content_write_blob(f.store, &f.env->ctx, "r", blob, BLOB_LEN, &desc, NULL, &error));
	g_assert_true(content_write_blob(f.store, &f.env->ctx, "r", blob, BLOB_LEN, &desc, NULL, &error));
	g_assert_true(content_delete(f.store, &f.env->ctx, digest, &error));
	g_autofree char *created = g_strdup_printf("3 testing %s", digest);
	g_autofree char *deleted = g_strdup_printf("4 testing %s", digest);
	g_assert_cmpuint(f.env->events->len, ==, 2);
	g_assert_cmpstr(f.env->events->pdata[0], ==, created);
	g_assert_cmpstr(f.env->events->pdata[1], ==, deleted);
	fixture_free(&f);
}

static void test_texts(void)
{
	Fixture f = fixture_new(NULL);
	g_autoptr(GError) error = NULL;
	g_autofree char *digest = digest_bytes(blob, BLOB_LEN);
	Descriptor desc = {.size = BLOB_LEN, .digest = digest};
	ContentWriter *w = content_writer(f.store, &f.env->ctx, "r", NULL, &error);
	g_assert_true(content_write(w, blob, BLOB_LEN, &error));
	g_assert_false(content_commit(w, &f.env->ctx, 5, NULL, NULL, &error));
	assert_error(error, CTRD_ERR_FAILED_PRECONDITION,
	             "\"r\" failed size validation: 11 != 5: failed precondition");
	content_writer_close(w);
	w = content_writer(f.store, &f.env->ctx, "r", NULL, &error);
	g_autofree char *big = g_strnfill(5000, 'x');
	g_autoptr(GHashTable) labels = test_labels("k", big, NULL);
	g_assert_false(content_commit(w, &f.env->ctx, 0, NULL, labels, &error));
	assert_error(error, CTRD_ERR_INVALID_ARGUMENT,
	             "info.Labels: label key and value length (5001 bytes) greater than maximum size (4096 "
	             "bytes), key: k: invalid argument");
	content_writer_close(w);
	w = content_writer(f.store, &f.env->ctx, "r", NULL, &error); // free again, and as it was
	g_assert_true(content_commit(w, &f.env->ctx, BLOB_LEN, digest, NULL, &error));
	content_writer_close(w);
	Ctx other = {.ns = "other"};
	w = content_writer(f.store, &other, "s", &desc, &error); // shared
	g_assert_false(content_commit(w, &other, 5, NULL, NULL, &error));
	assert_error(error, CTRD_ERR_FAILED_PRECONDITION,
	             "\"s\" failed size validation: 11 != 5: failed precondition");
	content_writer_close(w);
	w = content_writer(f.store, &other, "s", &desc, &error);
	static const char zero[] = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
	g_assert_false(content_commit(w, &other, 0, zero, NULL, &error));
	assert_error(error, CTRD_ERR_FAILED_PRECONDITION, "\"s\" unexpected digest: failed precondition");
	content_writer_close(w);
	fixture_free(&f);
}

/* Without a lease an ingest expires; the backend's names are the namespace's own and never used again. */
static bool ingest_tx(MetaTx *tx, void *data, GError **error)
{
	sqlite3_stmt *stmt =
	        meta_query(tx, error, "SELECT backend_ref, expires FROM ingest WHERE ref = 'r'", "");
	bool row;
	g_assert_true(meta_step(tx, stmt, &row, error) && row);
	*(char **)data = meta_column_dup(stmt, 0);
	g_assert_cmpint(sqlite3_column_int64(stmt, 1), >, time_now() + 23 * 3600 * NS_PER_SEC);
	return true;
}

static void test_backend_ref(void)
{
	Fixture f = fixture_new(NULL);
	g_autoptr(GError) error = NULL;
	g_autofree char *first = NULL, *second = NULL;
	content_writer_close(content_writer(f.store, &f.env->ctx, "r", NULL, &error));
	g_assert_true(meta_view(f.env->db, ingest_tx, &first, &error));
	g_assert_cmpstr(first, ==, "testing/1/r");
	g_autoptr(ContentStatus) status = content_status(f.backend, &f.env->ctx, first, &error);
	g_assert_nonnull(status);
	g_assert_true(content_abort(f.store, &f.env->ctx, "r", &error));
	g_assert_null(content_status(f.backend, &f.env->ctx, first, NULL));
	content_writer_close(content_writer(f.store, &f.env->ctx, "r", NULL, &error));
	g_assert_true(meta_view(f.env->db, ingest_tx, &second, &error));
	g_assert_cmpstr(second, ==, "testing/2/r");
	fixture_free(&f);
}

/* The bytes take the pipeline's way through both layers. */
static void test_advance(void)
{
	Fixture f = fixture_new(NULL);
	g_autoptr(GError) error = NULL;
	g_autofree char *digest = digest_bytes(blob, BLOB_LEN);
	ContentWriter *w = content_writer(f.store, &f.env->ctx, "r", NULL, &error);
	g_assert_cmpint(pwrite(content_writer_fd(w), blob, BLOB_LEN, 0), ==, BLOB_LEN);
	g_assert_true(content_writer_advance(w, BLOB_LEN, NULL, &error));
	g_assert_true(content_commit(w, &f.env->ctx, BLOB_LEN, digest, NULL, &error));
	g_assert_cmpint(content_writer_fd(w), ==, -1);
	content_writer_close(w);
	fixture_free(&f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	content_suite_add(&shared);
	content_suite_add_cross_ns_shared(&shared);
	content_suite_add(&isolated);
	content_suite_add_cross_ns_isolated(&isolated);
	content_suite_add_shared_ns_isolated(&isolated);
	g_test_add_func("/content-meta/content-leased", test_content_leased);
	g_test_add_func("/content-meta/ingest-leased", test_ingest_leased);
	g_test_add_func("/content-meta/namespaces", test_namespaces);
	g_test_add_func("/content-meta/events", test_events);
	g_test_add_func("/content-meta/texts", test_texts);
	g_test_add_func("/content-meta/backend-ref", test_backend_ref);
	g_test_add_func("/content-meta/advance", test_advance);
	return g_test_run();
}
