// SPDX-License-Identifier: Apache-2.0

/*
 * The rules of local snapshotters beyond the conformance suite: leases, targets, namespaces, events, usage,
 * what happens when a driver fails, many threads at once. With a driver that keeps its "directories" in
 * memory, can be told to fail and to wait.
 */

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "loop/lock.h"
#include "mount/test-private-ns.h"
#include "store/leases.h"
#include "store/meta-private.h"
#include "store/snapshots.h"
#include "store/test-env.h"
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

// ---- the driver ----

typedef struct {
	SnapshotDriver base;
	Lock lock;
	Cond cond;
	GHashTable *dirs; // set of gint64
	const char *fail; // "create", "usage", "commit", "remove"
	unsigned n_created, n_removed, n_clashes;
	bool hold_create; // create waits until this is false
	unsigned n_holding;
} Fake;

static bool fake_fails(Fake *f, const char *what, GError **error)
{
	LOCK_SCOPE(&f->lock);
	return g_strcmp0(f->fail, what) == 0 && !error_set_errno(error, ENOSPC, "%s", what);
}

static bool fake_create(SnapshotDriver *self, const SnapshotNode *node, GError **error)
{
	Fake *f = (Fake *)self;
	if (fake_fails(f, "create", error))
		return false;
	LOCK_SCOPE(&f->lock);
	for (size_t i = 0; i < node->n_parents; i++) {
		if (!g_hash_table_contains(f->dirs, &node->parents[i]))
			return error_set_errno(error, ENOENT, "stat parent %" PRId64, node->parents[i]);
	}
	if (!g_hash_table_add(f->dirs, g_memdup2(&node->id, sizeof node->id)))
		f->n_clashes++;
	f->n_created++;
	f->n_holding++;
	cond_broadcast(&f->cond);
	while (f->hold_create)
		cond_wait(&f->cond, &f->lock);
	f->n_holding--;
	if (!g_hash_table_contains(f->dirs, &node->id))
		f->n_clashes++; // somebody took it away while it was being made
	return true;
}

static GPtrArray *fake_mounts(SnapshotDriver *self, const SnapshotNode *node, GError **error)
{
	GPtrArray *mounts = mounts_new();
	g_autofree char *source = g_strdup_printf("%" PRId64, node->id);
	(void)self;
	(void)error;
	g_ptr_array_add(mounts, mount_new("fake", source, NULL, NULL));
	return mounts;
}

static bool fake_usage(SnapshotDriver *self, const SnapshotNode *node, SnapshotUsage *ret, GError **error)
{
	Fake *f = (Fake *)self;
	if (fake_fails(f, "usage", error))
		return false;
	LOCK_SCOPE(&f->lock);
	if (!g_hash_table_contains(f->dirs, &node->id))
		return error_set_errno(error, ENOENT, "lstat %" PRId64, node->id);
	*ret = (SnapshotUsage){node->id * 1000, node->id};
	return true;
}

static bool fake_commit(SnapshotDriver *self, const SnapshotNode *node, GError **error)
{
	(void)node;
	return !fake_fails((Fake *)self, "commit", error);
}

static bool fake_remove(SnapshotDriver *self, int64_t id, GError **error)
{
	Fake *f = (Fake *)self;
	if (fake_fails(f, "remove", error))
		return false;
	LOCK_SCOPE(&f->lock);
	if (g_hash_table_remove(f->dirs, &id))
		f->n_removed++;
	return true;
}

static GArray *fake_list(SnapshotDriver *self, GError **error)
{
	Fake *f = (Fake *)self;
	GArray *ids = g_array_new(FALSE, FALSE, sizeof(int64_t));
	(void)error;
	LOCK_SCOPE(&f->lock);
	GHashTableIter iter;
	void *id;
	g_hash_table_iter_init(&iter, f->dirs);
	while (g_hash_table_iter_next(&iter, &id, NULL))
		g_array_append_val(ids, *(int64_t *)id);
	return ids;
}

static void fake_free(SnapshotDriver *self)
{
	Fake *f = (Fake *)self;
	g_hash_table_unref(f->dirs);
	cond_destroy(&f->cond);
	lock_destroy(&f->lock);
	g_free(self->root);
	g_free(f);
}

static const SnapshotDriverOps fake_ops = {
        .create = fake_create,
        .mounts = fake_mounts,
        .usage = fake_usage,
        .commit = fake_commit,
        .remove = fake_remove,
        .list = fake_list,
        .free = fake_free,
};

static Fake *fake_new(void)
{
	static const char *const capabilities[] = {"rebase", NULL};
	Fake *f = g_new0(Fake, 1);
	f->base = (SnapshotDriver){
	        .ops = &fake_ops, .capabilities = capabilities, .root = g_strdup("/fake"), .first_id = 1};
	f->dirs = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	lock_init(&f->lock, "fake", LOCK_RANK_LEAF);
	cond_init(&f->cond);
	return f;
}

static void fake_set(Fake *f, const char *fail, bool hold)
{
	LOCK_SCOPE(&f->lock);
	f->fail = fail;
	f->hold_create = hold;
	cond_broadcast(&f->cond);
}

static unsigned fake_n_dirs(Fake *f)
{
	LOCK_SCOPE(&f->lock);
	return g_hash_table_size(f->dirs);
}

// ---- the environment ----

typedef struct {
	TestEnv *env;
	Fake *fake;
	Snapshotter *sn;
	Ctx *ctx;
	GPtrArray *events;
	Lock lock;
} Fixture;

static void on_event(const StoreEvent *e, void *data)
{
	Fixture *f = data;
	LOCK_SCOPE(&f->lock);
	char *line = NULL;
	if (e->kind == STORE_EVENT_SNAPSHOT_PREPARE)
		line = g_strdup_printf("prepare %s %s <%s> %s", e->ns, e->key, e->parent, e->snapshotter);
	else if (e->kind == STORE_EVENT_SNAPSHOT_COMMIT)
		line = g_strdup_printf("commit %s %s %s %s", e->ns, e->key, e->name, e->snapshotter);
	else if (e->kind == STORE_EVENT_SNAPSHOT_REMOVE)
		line = g_strdup_printf("remove %s %s %s", e->ns, e->key, e->snapshotter);
	if (line != NULL)
		g_ptr_array_add(f->events, line);
}

static void setup(Fixture *f, gconstpointer data)
{
	(void)data;
	g_autoptr(GError) error = NULL;
	lock_init(&f->lock, "events", LOCK_RANK_LEAF);
	f->events = g_ptr_array_new_with_free_func(g_free);
	f->env = test_env_new(&(MetaOptions){.no_sync = true, .sink = {on_event, f}});
	f->ctx = &f->env->ctx;
	f->fake = fake_new();
	f->sn = snapshotter_local_new(f->env->db, "fake", &f->fake->base, &error);
	g_assert_no_error(error);
}

static void teardown(Fixture *f, gconstpointer data)
{
	(void)data;
	g_assert_cmpuint(f->fake->n_clashes, ==, 0);
	snapshotter_free(f->sn);
	test_env_free(f->env);
	g_ptr_array_unref(f->events);
	lock_destroy(&f->lock);
}

static void prepare(Fixture *f, const char *key, const char *parent)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) m = snapshot_prepare(f->sn, f->ctx, key, parent, NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(m->len, ==, 1);
}

static void commit(Fixture *f, const char *name, const char *key)
{
	g_autoptr(GError) error = NULL;
	snapshot_commit(f->sn, f->ctx, name, key, NULL, NULL, &error);
	g_assert_no_error(error);
}

static void must_remove(Fixture *f, const char *key)
{
	g_autoptr(GError) error = NULL;
	snapshot_remove(f->sn, f->ctx, key, &error);
	g_assert_no_error(error);
}

static void cleanup(Fixture *f)
{
	g_autoptr(GError) error = NULL;
	snapshot_cleanup(f->sn, &(Ctx){0}, &error);
	g_assert_no_error(error);
}

/* The call's last argument is &refused. */
#define REFUSED(call, class, text)                                                                           \
	do {                                                                                                 \
		g_autoptr(GError) refused = NULL;                                                            \
		g_assert_false(call);                                                                        \
		assert_error(refused, class, text);                                                          \
	} while (0)

// ---- refusals ----

static void test_errors(Fixture *f, gconstpointer data)
{
	(void)data;
	Snapshotter *s = f->sn;
	Ctx *ctx = f->ctx;
	Ctx none = {0}, bad = {.ns = "a/b"};
	SnapshotUsage usage;
	g_autoptr(GHashTable) big = strmap_new();
	g_autofree char *long_value = g_strnfill(5000, 'x'), *long_key = g_strnfill(40000, 'k');
	strmap_set(big, "key", long_value);
	SnapshotInfo unnamed = {0}, missing = {.name = (char *)"missing"};

	REFUSED(snapshot_prepare(s, ctx, "", NULL, NULL, &refused), CTRD_ERR_INVALID_ARGUMENT,
	        "snapshot key must not be empty: invalid argument");
	REFUSED(snapshot_prepare(s, ctx, long_key, NULL, NULL, &refused), CTRD_ERR_INVALID_ARGUMENT,
	        "snapshot key is longer than 32768 bytes: invalid argument");
	REFUSED(snapshot_prepare(s, &none, "k", NULL, NULL, &refused), CTRD_ERR_FAILED_PRECONDITION,
	        "namespace is required: failed precondition");
	REFUSED(snapshot_stat(s, &none, "k", &refused), CTRD_ERR_FAILED_PRECONDITION,
	        "namespace is required: failed precondition");
	g_autoptr(GError) ns_error = NULL;
	g_assert_false(snapshot_remove(s, &bad, "k", &ns_error));
	g_assert_true(
	        g_str_has_prefix(ns_error->message, "namespace validation: identifier \"a/b\" must match"));
	g_autoptr(GError) label_error = NULL;
	g_assert_null(snapshot_prepare(s, ctx, "k", NULL, big, &label_error));
	g_assert_true(g_str_has_prefix(label_error->message,
	                               "info.Labels: label key and value length (5003 bytes)"));
	g_assert_true(error_is(label_error, CTRD_ERR_INVALID_ARGUMENT));

	REFUSED(snapshot_prepare(s, ctx, "k", "missing", NULL, &refused), CTRD_ERR_NOT_FOUND,
	        "parent snapshot missing does not exist: not found");
	REFUSED(snapshot_stat(s, ctx, "missing", &refused), CTRD_ERR_NOT_FOUND,
	        "snapshot missing does not exist: not found");
	REFUSED(snapshot_usage(s, ctx, "missing", &usage, &refused), CTRD_ERR_NOT_FOUND,
	        "snapshot missing does not exist: not found");
	REFUSED(snapshot_mounts(s, ctx, "missing", &refused), CTRD_ERR_NOT_FOUND,
	        "snapshot missing does not exist: not found");
	REFUSED(snapshot_remove(s, ctx, "missing", &refused), CTRD_ERR_NOT_FOUND,
	        "snapshot missing does not exist: not found");
	REFUSED(snapshot_commit(s, ctx, "n", "missing", NULL, NULL, &refused), CTRD_ERR_NOT_FOUND,
	        "snapshot missing does not exist: not found");
	REFUSED(snapshot_commit(s, ctx, "", "missing", NULL, NULL, &refused), CTRD_ERR_INVALID_ARGUMENT,
	        "snapshot key must not be empty: invalid argument");
	REFUSED(snapshot_update(s, ctx, &unnamed, NULL, &refused), CTRD_ERR_INVALID_ARGUMENT,
	        "invalid argument");
	REFUSED(snapshot_update(s, ctx, &missing, NULL, &refused), CTRD_ERR_NOT_FOUND,
	        "snapshot missing does not exist: not found");

	prepare(f, "active", NULL);
	REFUSED(snapshot_prepare(s, ctx, "k", "active", NULL, &refused), CTRD_ERR_INVALID_ARGUMENT,
	        "failed to create snapshot: parent \"active\" is not committed snapshot: invalid argument");
	REFUSED(snapshot_commit(s, ctx, "active", "active", NULL, NULL, &refused), CTRD_ERR_ALREADY_EXISTS,
	        "snapshot \"active\": already exists");
	commit(f, "done", "active");
	REFUSED(snapshot_commit(s, ctx, "n", "done", NULL, NULL, &refused), CTRD_ERR_FAILED_PRECONDITION,
	        "failed to commit snapshot done: snapshot \"done\" is not active: failed precondition");
	prepare(f, "other", NULL);
	REFUSED(snapshot_commit(s, ctx, "done", "other", NULL, NULL, &refused), CTRD_ERR_ALREADY_EXISTS,
	        "snapshot \"done\": already exists");
	REFUSED(snapshot_prepare(s, ctx, "done", NULL, NULL, &refused), CTRD_ERR_ALREADY_EXISTS,
	        "snapshot \"done\": already exists");
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) view = snapshot_view(s, ctx, "view", "done", NULL, &error);
	g_assert_nonnull(view);
	g_assert_no_error(error);
	REFUSED(snapshot_commit(s, ctx, "n", "view", NULL, NULL, &refused), CTRD_ERR_FAILED_PRECONDITION,
	        "failed to commit snapshot view: snapshot \"view\" is not active: failed precondition");

	g_autoptr(Cancel) cancel = cancel_new(NULL);
	cancel_trigger(cancel, false);
	Ctx canceled = {.ns = "testing", .cancel = cancel};
	REFUSED(snapshot_prepare(s, &canceled, "k", NULL, NULL, &refused), CTRD_ERR_CANCELED,
	        "context canceled");
	// nothing of all that is left
	cleanup(f);
	g_assert_cmpuint(fake_n_dirs(f->fake), ==, 3);
}

static void test_driver_failures(Fixture *f, gconstpointer data)
{
	(void)data;
	Snapshotter *s = f->sn;
	Ctx *ctx = f->ctx;
	fake_set(f->fake, "create", false);
	REFUSED(snapshot_prepare(s, ctx, "k", NULL, NULL, &refused), CTRD_ERR_UNKNOWN,
	        "failed to create snapshot: create: no space left on device");
	REFUSED(snapshot_stat(s, ctx, "k", &refused), CTRD_ERR_NOT_FOUND,
	        "snapshot k does not exist: not found");
	fake_set(f->fake, NULL, false);
	prepare(f, "k", NULL);

	fake_set(f->fake, "usage", false);
	SnapshotUsage usage;
	REFUSED(snapshot_usage(s, ctx, "k", &usage, &refused), CTRD_ERR_UNKNOWN,
	        "usage: no space left on device");
	REFUSED(snapshot_commit(s, ctx, "n", "k", NULL, NULL, &refused), CTRD_ERR_UNKNOWN,
	        "usage: no space left on device");
	fake_set(f->fake, "commit", false);
	REFUSED(snapshot_commit(s, ctx, "n", "k", NULL, NULL, &refused), CTRD_ERR_UNKNOWN,
	        "commit: no space left on device");
	g_autoptr(GError) error = NULL;
	g_autoptr(SnapshotInfo) info = snapshot_stat(s, ctx, "k", &error);
	g_assert_cmpint(info->kind, ==, SNAPSHOT_ACTIVE);

	// a directory that cannot be removed is logged and tried again
	fake_set(f->fake, "remove", false);
	must_remove(f, "k");
	unsigned before = log_count_warnings();
	cleanup(f);
	g_assert_cmpuint(log_count_warnings(), ==, before + 1);
	g_assert_cmpuint(fake_n_dirs(f->fake), ==, 1);
	fake_set(f->fake, NULL, false);
	cleanup(f);
	g_assert_cmpuint(fake_n_dirs(f->fake), ==, 0);
}

// ---- labels ----

static void test_label_rules(Fixture *f, gconstpointer data)
{
	(void)data;
	g_autoptr(GError) error = NULL;
	g_autoptr(GHashTable) labels = test_labels("a", "1", "empty", "", "containerd.io/snapshot.ref", "t",
	                                           "containerd.io/snapshot/x", "y", NULL);
	g_autoptr(GPtrArray) m = snapshot_prepare(f->sn, f->ctx, "k", NULL, labels, &error);
	g_assert_nonnull(m);
	g_assert_no_error(error);
	g_autoptr(SnapshotInfo) info = snapshot_stat(f->sn, f->ctx, "k", &error);
	assert_strmap(info->labels, test_labels("a", "1", "containerd.io/snapshot.ref", "t",
	                                        "containerd.io/snapshot/x", "y", NULL));
	g_autoptr(GHashTable) inherited = snapshot_inherited_labels(labels);
	assert_strmap(inherited,
	              test_labels("containerd.io/snapshot.ref", "t", "containerd.io/snapshot/x", "y", NULL));
	g_autoptr(GHashTable) none = snapshot_inherited_labels(NULL);
	g_assert_cmpuint(g_hash_table_size(none), ==, 0);

	// those of a commit replace them
	g_autoptr(GHashTable) other = test_labels("b", "2", NULL);
	g_assert_true(snapshot_commit(f->sn, f->ctx, "n", "k", NULL, other, &error));
	g_autoptr(SnapshotInfo) committed = snapshot_stat(f->sn, f->ctx, "n", &error);
	assert_strmap(committed->labels, test_labels("b", "2", NULL));
}

/* An unpacker names what it wants to make. */
static void test_target(Fixture *f, gconstpointer data)
{
	(void)data;
	g_autoptr(GError) error = NULL;
	g_autoptr(GHashTable) labels = test_labels(SNAPSHOT_LABEL_REF, "chain", NULL);
	g_autoptr(GPtrArray) m = snapshot_prepare(f->sn, f->ctx, "extract-1", NULL, labels, &error);
	g_assert_nonnull(m);
	g_assert_no_error(error);
	g_assert_true(snapshot_commit(f->sn, f->ctx, "chain", "extract-1", NULL, labels, &error));
	REFUSED(snapshot_prepare(f->sn, f->ctx, "extract-2", NULL, labels, &refused), CTRD_ERR_ALREADY_EXISTS,
	        "target snapshot \"chain\": already exists");
	g_assert_null(snapshot_stat(f->sn, f->ctx, "extract-2", NULL));
	Ctx other = {.ns = "other"};
	g_autoptr(GPtrArray) n = snapshot_prepare(f->sn, &other, "extract-2", NULL, labels, &error);
	g_assert_nonnull(n);
	g_assert_no_error(error);
}

// ---- leases ----

static char *leased(Fixture *f, const char *lease)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) list = leases_list_resources(f->env->db, f->ctx, lease, &error);
	g_assert_no_error(error);
	g_autoptr(GString) s = g_string_new(NULL);
	for (guint i = 0; i < list->len; i++) {
		const LeaseResource *r = list->pdata[i];
		g_string_append_printf(s, "%s:%s ", r->type, r->id);
	}
	return g_string_free(g_steal_pointer(&s), FALSE);
}

static void assert_leased(Fixture *f, const char *lease, const char *want)
{
	g_autofree char *got = leased(f, lease);
	g_assert_cmpstr(got, ==, want);
}

static void test_leases(Fixture *f, gconstpointer data)
{
	(void)data;
	g_autoptr(GError) error = NULL;
	g_autoptr(GHashTable) labels = test_labels(SNAPSHOT_LABEL_REF, "chain", NULL);
	g_autoptr(Lease) one = leases_create(f->env->db, f->ctx, "one", NULL, &error);
	g_assert_nonnull(one);
	g_autoptr(Lease) two = leases_create(f->env->db, f->ctx, "two", NULL, &error);
	g_assert_nonnull(two);
	f->ctx->lease = "missing";
	REFUSED(snapshot_prepare(f->sn, f->ctx, "k", NULL, NULL, &refused), CTRD_ERR_NOT_FOUND,
	        "lease does not exist: not found");
	g_assert_cmpuint(fake_n_dirs(f->fake), ==, 0); // made and taken away

	f->ctx->lease = "one";
	prepare(f, "k", NULL);
	assert_leased(f, "one", "snapshots/fake:k ");
	commit(f, "chain", "k");
	assert_leased(f, "one", "snapshots/fake:chain ");
	// who is told that it exists holds it
	f->ctx->lease = "two";
	REFUSED(snapshot_prepare(f->sn, f->ctx, "k2", NULL, labels, &refused), CTRD_ERR_ALREADY_EXISTS,
	        "target snapshot \"chain\": already exists");
	assert_leased(f, "two", "snapshots/fake:chain ");
	prepare(f, "k3", "chain");
	REFUSED(snapshot_commit(f->sn, f->ctx, "chain", "k3", NULL, NULL, &refused), CTRD_ERR_ALREADY_EXISTS,
	        "snapshot \"chain\": already exists");
	assert_leased(f, "two", "snapshots/fake:chain snapshots/fake:k3 ");
	must_remove(f, "k3");
	assert_leased(f, "two", "snapshots/fake:chain ");
	f->ctx->lease = "one";
	prepare(f, "k4", NULL);
	f->ctx->lease = "two";
	REFUSED(snapshot_prepare(f->sn, f->ctx, "k4", NULL, NULL, &refused), CTRD_ERR_ALREADY_EXISTS,
	        "snapshot \"k4\": already exists");
	assert_leased(f, "two", "snapshots/fake:chain snapshots/fake:k4 ");
	f->ctx->lease = NULL;
}

// ---- namespaces, events, dirt ----

static void test_namespaces(Fixture *f, gconstpointer data)
{
	(void)data;
	g_autoptr(GError) error = NULL;
	Ctx other = {.ns = "other"};
	prepare(f, "k", NULL);
	commit(f, "base", "k");
	REFUSED(snapshot_prepare(f->sn, &other, "k2", "base", NULL, &refused), CTRD_ERR_NOT_FOUND,
	        "parent snapshot base does not exist: not found");
	REFUSED(snapshot_stat(f->sn, &other, "base", &refused), CTRD_ERR_NOT_FOUND,
	        "snapshot base does not exist: not found");
	REFUSED(snapshot_remove(f->sn, &other, "base", &refused), CTRD_ERR_NOT_FOUND,
	        "snapshot base does not exist: not found");
	g_autoptr(GPtrArray) m = snapshot_prepare(f->sn, &other, "base", NULL, NULL, &error);
	g_assert_nonnull(m);
	g_assert_no_error(error);
	// cleanup looks at all of them
	cleanup(f);
	g_assert_cmpuint(fake_n_dirs(f->fake), ==, 2);
	must_remove(f, "base");
	g_autoptr(SnapshotInfo) info = snapshot_stat(f->sn, &other, "base", &error);
	g_assert_cmpint(info->kind, ==, SNAPSHOT_ACTIVE);
	// and another snapshotter has its own
	Fake *fake = fake_new();
	g_autoptr(Snapshotter) second = snapshotter_local_new(f->env->db, "second", &fake->base, &error);
	REFUSED(snapshot_stat(second, &other, "base", &refused), CTRD_ERR_NOT_FOUND,
	        "snapshot base does not exist: not found");
	g_autoptr(GPtrArray) n = snapshot_prepare(second, &other, "base", NULL, NULL, &error);
	g_assert_nonnull(n);
	g_assert_no_error(error);
	g_assert_true(snapshot_cleanup(second, f->ctx, &error));
	cleanup(f);
	g_assert_cmpuint(fake_n_dirs(f->fake), ==, 1);
	g_assert_cmpuint(fake_n_dirs(fake), ==, 1);
}

static void test_events(Fixture *f, gconstpointer data)
{
	static const char *const want[] = {
	        "prepare testing k <> fake", "commit testing k base fake", "prepare testing k2 <base> fake",
	        "remove testing k2 fake",    "remove testing v fake",
	};
	(void)data;
	g_autoptr(GError) error = NULL;
	prepare(f, "k", NULL);
	commit(f, "base", "k");
	prepare(f, "k2", "base");
	g_autoptr(GPtrArray) v = snapshot_view(f->sn, f->ctx, "v", "base", NULL, &error); // has no event
	g_assert_nonnull(v);
	g_assert_null(snapshot_prepare(f->sn, f->ctx, "k2", NULL, NULL, NULL));
	g_assert_false(snapshot_commit(f->sn, f->ctx, "base", "k2", NULL, NULL, NULL));
	g_assert_false(snapshot_remove(f->sn, f->ctx, "base", NULL));
	must_remove(f, "k2");
	must_remove(f, "v");
	g_assert_cmpuint(f->events->len, ==, G_N_ELEMENTS(want));
	for (size_t i = 0; i < G_N_ELEMENTS(want); i++)
		g_assert_cmpstr(f->events->pdata[i], ==, want[i]);
	g_autoptr(GHashTable) dirty = meta_take_dirty(f->env->db);
	g_assert_true(g_hash_table_contains(dirty, "snapshots:fake"));
}

static void test_usage(Fixture *f, gconstpointer data)
{
	(void)data;
	g_autoptr(GError) error = NULL;
	SnapshotUsage u;
	prepare(f, "k", NULL);
	g_assert_true(snapshot_usage(f->sn, f->ctx, "k", &u, &error));
	g_assert_cmpint(u.size, ==, 1000);
	g_assert_cmpint(u.inodes, ==, 1);
	commit(f, "base", "k");
	fake_set(f->fake, "usage", false); // what was stored, without a look at the disk
	g_assert_true(snapshot_usage(f->sn, f->ctx, "base", &u, &error));
	g_assert_cmpint(u.size, ==, 1000);
	g_autoptr(GPtrArray) v = snapshot_view(f->sn, f->ctx, "v", "base", NULL, &error);
	g_assert_nonnull(v);
	g_assert_true(snapshot_usage(f->sn, f->ctx, "v", &u, &error));
	g_assert_cmpint(u.size, ==, 0);
	g_assert_cmpint(u.inodes, ==, 0);
}

// ---- walking ----

static bool count(const SnapshotInfo *info, void *data, GError **error)
{
	char **last = data;
	(void)error;
	g_assert_cmpstr(*last, <, info->name);
	g_free(*last);
	*last = g_strdup(info->name);
	return true;
}

typedef struct {
	Fixture *f;
	unsigned n;
} Stopper;

static bool change_and_stop(const SnapshotInfo *info, void *data, GError **error)
{
	Stopper *s = data;
	if (++s->n == 3)
		return error_set(error, CTRD_ERR_UNKNOWN, "enough");
	must_remove(s->f, info->name); // no transaction is open here
	return true;
}

static void test_walk(Fixture *f, gconstpointer data)
{
	(void)data;
	g_autoptr(GError) error = NULL;
	for (unsigned i = 0; i < 250; i++) {
		g_autofree char *key = g_strdup_printf("key-%03u", i);
		prepare(f, key, NULL);
	}
	g_autofree char *last = g_strdup("");
	g_assert_true(snapshot_walk(f->sn, f->ctx, NULL, count, &last, &error));
	g_assert_cmpstr(last, ==, "key-249");
	Stopper s = {f, 0};
	g_assert_false(snapshot_walk(f->sn, f->ctx, NULL, change_and_stop, &s, &error));
	g_assert_cmpstr(error->message, ==, "enough");
	g_clear_error(&error);
	const char *bad[] = {"name==", "&", NULL};
	g_assert_false(snapshot_walk(f->sn, f->ctx, bad, count, &last, &error));
	g_assert_true(error_is(error, CTRD_ERR_INVALID_ARGUMENT));
	g_assert_true(g_str_has_prefix(error->message, "filters: parse error:"));
}

// ---- threads ----

static void *prepare_held(void *data)
{
	prepare(data, "held", NULL);
	return NULL;
}

/* What is being made has no row yet; cleanup must not take it. */
static void test_cleanup_while_making(Fixture *f, gconstpointer data)
{
	(void)data;
	pthread_t thread;
	fake_set(f->fake, NULL, true);
	g_assert_cmpint(pthread_create(&thread, NULL, prepare_held, f), ==, 0);
	{
		LOCK_SCOPE(&f->fake->lock);
		while (f->fake->n_holding == 0)
			cond_wait(&f->fake->cond, &f->fake->lock);
	}
	cleanup(f);
	g_assert_cmpuint(fake_n_dirs(f->fake), ==, 1);
	g_assert_null(snapshot_stat(f->sn, f->ctx, "held", NULL)); // not visible either
	fake_set(f->fake, NULL, false);
	pthread_join(thread, NULL);
	cleanup(f);
	g_assert_cmpuint(fake_n_dirs(f->fake), ==, 1);
	g_autoptr(SnapshotInfo) info = snapshot_stat(f->sn, f->ctx, "held", NULL);
	g_assert_nonnull(info);
}

/* The parent goes while a directory is made of it. */
static void test_parent_goes(Fixture *f, gconstpointer data)
{
	(void)data;
	pthread_t thread;
	prepare(f, "a", NULL);
	commit(f, "base", "a");
	fake_set(f->fake, NULL, true);
	g_assert_cmpint(pthread_create(&thread, NULL, prepare_held, f), ==, 0);
	{
		LOCK_SCOPE(&f->fake->lock);
		while (f->fake->n_holding == 0)
			cond_wait(&f->fake->cond, &f->fake->lock);
	}
	fake_set(f->fake, NULL, false);
	pthread_join(thread, NULL);
	must_remove(f, "base");
	REFUSED(snapshot_prepare(f->sn, f->ctx, "b", "base", NULL, &refused), CTRD_ERR_NOT_FOUND,
	        "parent snapshot base does not exist: not found");
}

#define N_THREADS 8
#define N_ROUNDS 30

typedef struct {
	Fixture *f;
	unsigned n;
	unsigned won;
} Worker;

static bool expected(const GError *error)
{
	return error == NULL || error_is(error, CTRD_ERR_ALREADY_EXISTS) ||
	       error_is(error, CTRD_ERR_NOT_FOUND) || error_is(error, CTRD_ERR_FAILED_PRECONDITION) ||
	       error_is(error, CTRD_ERR_ABORTED);
}

/* All on the same keys. */
static void *fight(void *data)
{
	Worker *w = data;
	Fixture *f = w->f;
	for (unsigned i = 0; i < N_ROUNDS; i++) {
		g_autofree char *key = g_strdup_printf("key-%u", i % 3),
		                *name = g_strdup_printf("name-%u", i % 3);
		g_autoptr(GError) e1 = NULL, e2 = NULL, e3 = NULL, e4 = NULL;
		g_autoptr(GPtrArray) m = snapshot_prepare(f->sn, f->ctx, key, NULL, NULL, &e1);
		g_assert_true(m != NULL || e1 != NULL);
		if (snapshot_commit(f->sn, f->ctx, name, key, NULL, NULL, &e2))
			w->won++;
		g_autoptr(GPtrArray) v = snapshot_view(f->sn, f->ctx, "view", name, NULL, &e3);
		g_assert_true(v != NULL || e3 != NULL);
		snapshot_remove(f->sn, f->ctx, i % 2 == 0 ? "view" : name, &e4);
		if (!expected(e1) || !expected(e2) || !expected(e3) || !expected(e4))
			g_error("%s", (e1 != NULL && !expected(e1) ? e1
			               : !expected(e2)             ? e2
			               : !expected(e3)             ? e3
			                                           : e4)
			                      ->message);
		if (i % 5 == w->n % 5)
			cleanup(f);
	}
	return NULL;
}

/* Each on its own keys: nothing may fail. */
static void *work(void *data)
{
	Worker *w = data;
	Fixture *f = w->f;
	g_autofree char *parent = NULL;
	for (unsigned i = 0; i < N_ROUNDS; i++) {
		g_autofree char *key = g_strdup_printf("k-%u", w->n),
		                *name = g_strdup_printf("n-%u-%u", w->n, i);
		prepare(f, key, parent);
		commit(f, name, key);
		g_free(parent);
		parent = g_steal_pointer(&name);
		if (i % 10 == w->n % 10)
			cleanup(f);
	}
	for (unsigned i = N_ROUNDS; i-- > 0;) {
		g_autofree char *name = g_strdup_printf("n-%u-%u", w->n, i);
		must_remove(f, name);
	}
	return NULL;
}

/* How often they won, together. */
static unsigned run_threads(Fixture *f, void *(*fn)(void *))
{
	unsigned won = 0;
	pthread_t threads[N_THREADS];
	Worker workers[N_THREADS];
	for (unsigned i = 0; i < N_THREADS; i++) {
		workers[i] = (Worker){f, i, 0};
		g_assert_cmpint(pthread_create(&threads[i], NULL, fn, &workers[i]), ==, 0);
	}
	for (unsigned i = 0; i < N_THREADS; i++) {
		pthread_join(threads[i], NULL);
		won += workers[i].won;
	}
	return won;
}

static bool count_only(const SnapshotInfo *info, void *data, GError **error)
{
	(void)info;
	(void)error;
	++*(unsigned *)data;
	return true;
}

static void test_same_keys(Fixture *f, gconstpointer data)
{
	(void)data;
	g_autoptr(GError) error = NULL;
	run_threads(f, fight);
	cleanup(f);
	unsigned n = 0;
	g_assert_true(snapshot_walk(f->sn, f->ctx, NULL, count_only, &n, &error));
	g_assert_cmpuint(fake_n_dirs(f->fake), ==, n); // a directory for each row, and no other
}

static void test_own_keys(Fixture *f, gconstpointer data)
{
	(void)data;
	run_threads(f, work);
	cleanup(f);
	g_assert_cmpuint(fake_n_dirs(f->fake), ==, 0);
	g_assert_cmpuint(f->fake->n_created, ==, N_THREADS * N_ROUNDS);
	g_assert_cmpuint(f->fake->n_removed, ==, N_THREADS * N_ROUNDS);
	g_assert_cmpuint(f->events->len, ==, N_THREADS * N_ROUNDS * 3);
}

/* One of many that want the same gets it, the others are told so. */
static void *race(void *data)
{
	Worker *w = data;
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) m = snapshot_prepare(w->f->sn, w->f->ctx, "key", NULL, NULL, &error);
	if (m == NULL)
		g_assert_cmpstr(error->message, ==, "snapshot \"key\": already exists");
	else
		w->won++;
	return NULL;
}

static void test_race(Fixture *f, gconstpointer data)
{
	(void)data;
	for (int i = 0; i < 10; i++) {
		g_assert_cmpuint(run_threads(f, race), ==, 1);
		must_remove(f, "key");
		cleanup(f);
		g_assert_cmpuint(fake_n_dirs(f->fake), ==, 0);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/snapshots/local/" name, Fixture, NULL, setup, fn, teardown)
	ADD("errors", test_errors);
	ADD("driver-failures", test_driver_failures);
	ADD("labels", test_label_rules);
	ADD("target", test_target);
	ADD("leases", test_leases);
	ADD("namespaces", test_namespaces);
	ADD("events", test_events);
	ADD("usage", test_usage);
	ADD("walk", test_walk);
	ADD("cleanup-while-making", test_cleanup_while_making);
	ADD("parent-goes", test_parent_goes);
	ADD("same-keys", test_same_keys);
	ADD("own-keys", test_own_keys);
	ADD("race", test_race);
	return g_test_run();
}
