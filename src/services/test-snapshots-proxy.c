// SPDX-License-Identifier: Apache-2.0

/*
 * A remote snapshotter as a proxy plugin has it: our rows and names (snapshotter_remote_new) over the gRPC
 * client (snapshotter_proxy_new), a socket, the Snapshots service, and a local snapshotter with a database of
 * its own in the place of somebody else's daemon. The conformance suite, and what is the remote kind's own.
 */

#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "loop/lock.h"
#include "mount/test-private-ns.h"
#include "services/services.h"
#include "store/leases.h"
#include "store/snapshot-suite.h"
#include "store/snapshots-proxy.h"
#include <pthread.h>
#include <string.h>

// ---- the peer ----

typedef struct {
	char *path;
	MetaDb *db;
	Snapshotter *local;
	GHashTable *snapshotters;
	Pool *pool;
	RpcServer *server;
	RpcService service;
	Lock lock;
	Cond cond;
	bool stopped;
} Peer;

static Peer *peer; // of the case that runs
/* For all cases: libuv closes fds without ThreadSanitizer's knowledge, who then takes their next use for a
 * race. */
static Loop *server_loop, *client_loop;

static void on_stopped(void *data)
{
	Peer *p = data;
	LOCK_SCOPE(&p->lock);
	p->stopped = true;
	cond_broadcast(&p->cond);
}

static void stop_on_loop(void *data)
{
	Peer *p = data;
	rpc_server_stop(p->server, on_stopped, p);
}

static void peer_start_server(Peer *p)
{
	g_autoptr(GError) error = NULL;
	p->stopped = false;
	p->server = rpc_server_new(server_loop, p->pool, NULL);
	rpc_server_add(p->server, &p->service);
	int fd = rpc_listen_unix(p->path, 0600, geteuid(), getegid(), &error);
	g_assert_no_error(error);
	g_assert_true(rpc_server_listen(p->server, RPC_PROTO_GRPC, fd, false, &error));
}

static void peer_stop_server(Peer *p)
{
	g_assert_true(loop_post(server_loop, stop_on_loop, p));
	lock_acquire(&p->lock);
	while (!p->stopped)
		cond_wait(&p->cond, &p->lock);
	lock_release(&p->lock);
	rpc_server_free(p->server);
}

static Snapshotter *open_remote(MetaDb *db, const char *root, GError **error)
{
	Peer *p = peer = g_new0(Peer, 1);
	g_autofree char *dir = g_path_get_dirname(root);
	// a database locks its directory
	g_autofree char *path = path_join(dir, "peer/meta.sqlite"), *own = path_join(dir, "peer");
	g_assert_true(dir_make_all(own, 0700, NULL));
	lock_init(&p->lock, "peer", LOCK_RANK_LEAF);
	cond_init(&p->cond);
	p->path = path_join(dir, "peer.sock");
	p->db = meta_open(path, &(MetaOptions){.no_sync = true}, error);
	g_assert_nonnull(p->db);
	p->local = snapshotter_local_new(p->db, "native", snapshot_native_new(root, error), error);
	g_assert_nonnull(p->local);
	p->snapshotters = g_hash_table_new(g_str_hash, g_str_equal);
	g_hash_table_insert(p->snapshotters, (char *)"theirs", p->local);
	p->service = snapshots_service_new(p->snapshotters);
	p->pool = pool_new("peer", 16, 64, NS_PER_SEC);
	peer_start_server(p);
	static const char *const capabilities[] = {"rebase", NULL};
	g_autoptr(RpcClient) client = rpc_client_new(client_loop, RPC_PROTO_GRPC, p->path);
	return snapshotter_remote_new(db, "ours", snapshotter_proxy_new(client, "theirs", capabilities));
}

static void close_remote(Snapshotter *s)
{
	Peer *p = peer;
	snapshotter_free(s);
	peer_stop_server(p);
	pool_free(p->pool);
	g_hash_table_unref(p->snapshotters);
	snapshotter_free(p->local);
	meta_close(p->db);
	cond_destroy(&p->cond);
	lock_destroy(&p->lock);
	g_free(p->path);
	g_free(p);
}

static const SnapshotSuite remote = {.name = "remote", .open = open_remote, .close = close_remote};

// ---- what the peer has ----

static bool collect(const SnapshotInfo *info, void *data, GError **error)
{
	(void)error;
	g_string_append_printf(data, "%s(%s) ", info->name, info->parent);
	return true;
}

static void assert_theirs(SuiteEnv *e, const char *want)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GString) s = g_string_new(NULL);
	g_assert_true(snapshot_walk(peer->local, &e->ctx, NULL, collect, s, &error));
	g_assert_cmpstr(s->str, ==, want);
}

static void cleanup(SuiteEnv *e)
{
	g_autoptr(GError) error = NULL;
	snapshot_cleanup(e->sn, &e->ctx, &error);
	g_assert_no_error(error);
}

static void check_names(SuiteEnv *e)
{
	g_autoptr(GError) error = NULL;
	g_assert_true(snapshotter_has_capability(e->sn, "rebase"));
	g_autoptr(GHashTable) labels = strmap_new();
	strmap_set(labels, "mine", "1");
	strmap_set(labels, "containerd.io/snapshot/x", "2");
	g_autoptr(GPtrArray) m = snapshot_prepare(e->sn, &e->ctx, "a", NULL, labels, &error);
	g_assert_nonnull(m);
	g_assert_no_error(error);
	assert_theirs(e, "testsuite/1/a() ");
	// the peer sees the inherited labels only
	g_autoptr(SnapshotInfo) theirs = snapshot_stat(peer->local, &e->ctx, "testsuite/1/a", &error);
	g_assert_cmpuint(g_hash_table_size(theirs->labels), ==, 1);
	g_assert_cmpstr(strmap_get(theirs->labels, "containerd.io/snapshot/x"), ==, "2");
	g_autoptr(SnapshotInfo) ours = suite_stat(e, "a");
	g_assert_cmpuint(g_hash_table_size(ours->labels), ==, 2);
	g_assert_cmpint(ours->kind, ==, SNAPSHOT_ACTIVE);

	suite_commit(e, "base", "a");
	g_ptr_array_unref(suite_prepare(e, "b", "base"));
	assert_theirs(e, "testsuite/2/base() testsuite/3/b(testsuite/2/base) ");
	SnapshotUsage u = {0};
	g_assert_true(snapshot_usage(e->sn, &e->ctx, "base", &u, &error));
	g_assert_cmpint(u.inodes, ==, 1);
	g_assert_cmpuint(e->events->len, ==, 3);
	g_assert_cmpstr(e->events->pdata[1], ==, "commit testsuite a base ours");

	// gone for us at once, for them at the next cleanup, children first
	suite_remove(e, "b");
	suite_remove(e, "base");
	assert_theirs(e, "testsuite/2/base() testsuite/3/b(testsuite/2/base) ");
	cleanup(e);
	assert_theirs(e, "");
	g_autofree char *dir = path_join(e->root, "snapshots");
	g_autoptr(GPtrArray) left = dir_list(dir, 0, NULL);
	g_assert_cmpuint(left->len, ==, 0); // and they cleaned up
}

static void theirs_prepare(SuiteEnv *e, const char *key, const char *parent, GHashTable *labels)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) m = snapshot_prepare(peer->local, &e->ctx, key, parent, labels, &error);
	g_assert_nonnull(m);
	g_assert_no_error(error);
}

/* What no row of ours names goes, unless its name cannot be ours or something of ours hangs on it. */
static void check_prune(SuiteEnv *e)
{
	g_autoptr(GError) error = NULL;
	g_ptr_array_unref(suite_prepare(e, "a", NULL)); // 1
	suite_commit(e, "base", "a");                   // 2
	theirs_prepare(e, "testsuite/90/stale", NULL, NULL);
	theirs_prepare(e, "other/91/chain-a", NULL, NULL);
	g_assert_true(snapshot_commit(peer->local, &e->ctx, "other/92/chain", "other/91/chain-a", NULL, NULL,
	                              &error));
	theirs_prepare(e, "other/93/top", "other/92/chain", NULL);
	theirs_prepare(e, "somebody-else", NULL, NULL);
	theirs_prepare(e, "x/not-a-number/y", NULL, NULL);
	theirs_prepare(e, "testsuite/94/child", "testsuite/2/base", NULL);
	cleanup(e);
	assert_theirs(e, "somebody-else() testsuite/2/base() x/not-a-number/y() ");
}

/* A crash between their commit and our row: the row names what they do not have. */
static void check_lost_there(SuiteEnv *e)
{
	g_autoptr(GError) error = NULL;
	g_ptr_array_unref(suite_prepare(e, "a", NULL));
	g_assert_true(snapshot_commit(peer->local, &e->ctx, "testsuite/99/done", "testsuite/1/a", NULL, NULL,
	                              &error));
	g_assert_null(snapshot_stat(e->sn, &e->ctx, "a", &error));
	g_assert_true(error_is(error, CTRD_ERR_NOT_FOUND));
	g_clear_error(&error);
	g_assert_false(snapshot_commit(e->sn, &e->ctx, "b", "a", NULL, NULL, &error));
	g_assert_true(error_is(error, CTRD_ERR_NOT_FOUND));
	g_autoptr(GString) s = g_string_new(NULL);
	g_assert_true(snapshot_walk(e->sn, &e->ctx, NULL, collect, s, NULL)); // left out, no error
	g_assert_cmpstr(s->str, ==, "");
	suite_remove(e, "a");
	cleanup(e);
	assert_theirs(e, "");
}

/* A plugin that has the target already says so: it is ours from then on, under the target's name. */
static void check_target(SuiteEnv *e)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(Lease) lease = leases_create(e->db, &e->ctx, "lease", NULL, &error);
	g_assert_nonnull(lease);
	// the context's lease goes along; this peer knows leases, too
	g_autoptr(Lease) theirs = leases_create(peer->db, &e->ctx, "lease", NULL, &error);
	g_assert_nonnull(theirs);
	g_autoptr(GHashTable) labels = strmap_new();
	strmap_set(labels, SNAPSHOT_LABEL_REF, "chain");
	theirs_prepare(e, "testsuite/50/a", NULL, NULL);
	g_assert_true(snapshot_commit(peer->local, &e->ctx, "testsuite/51/chain", "testsuite/50/a", NULL,
	                              labels, &error));
	// our own snapshotters know no targets: the next number is taken there, so they say "already exists"
	theirs_prepare(e, "testsuite/1/extract", NULL, NULL);
	e->ctx.lease = "lease";
	g_assert_null(snapshot_prepare(e->sn, &e->ctx, "extract", NULL, labels, &error));
	g_assert_cmpstr(error->message, ==, "target snapshot \"chain\" from snapshotter: already exists");
	g_assert_true(error_is(error, CTRD_ERR_ALREADY_EXISTS));
	g_clear_error(&error);
	g_autoptr(SnapshotInfo) info = suite_stat(e, "chain");
	g_assert_cmpint(info->kind, ==, SNAPSHOT_COMMITTED);
	g_autoptr(GPtrArray) resources = leases_list_resources(e->db, &e->ctx, "lease", &error);
	g_assert_cmpuint(resources->len, ==, 1);
	g_assert_cmpstr(((LeaseResource *)resources->pdata[0])->id, ==, "chain");
	g_assert_null(snapshot_prepare(e->sn, &e->ctx, "extract", NULL, labels, &error));
	g_assert_cmpstr(error->message, ==, "target snapshot \"chain\": already exists");
	g_clear_error(&error);

	strmap_set(labels, SNAPSHOT_LABEL_REF, "unknown");
	theirs_prepare(e, "testsuite/2/extract", NULL, NULL);
	g_assert_null(snapshot_prepare(e->sn, &e->ctx, "extract", NULL, labels, &error));
	g_assert_cmpstr(error->message, ==, "target snapshot \"unknown\" in backend: not found");
	g_clear_error(&error);
	theirs_prepare(e, "testsuite/3/plain", NULL, NULL);
	g_assert_null(snapshot_prepare(e->sn, &e->ctx, "plain", NULL, NULL, &error));
	g_assert_cmpstr(
	        error->message, ==,
	        "unexpected error from snapshotter: snapshot \"testsuite/3/plain\": already exists: unknown");
	g_assert_true(error_is(error, CTRD_ERR_UNKNOWN));
	e->ctx.lease = NULL;
}

static void check_errors(SuiteEnv *e)
{
	g_autoptr(GError) error = NULL;
	g_assert_null(snapshot_prepare(e->sn, &e->ctx, "k", "missing", NULL, &error));
	g_assert_cmpstr(error->message, ==, "parent snapshot missing does not exist: not found");
	g_clear_error(&error);
	e->ctx.lease = "missing";
	g_assert_null(snapshot_prepare(e->sn, &e->ctx, "k", NULL, NULL, &error));
	g_assert_cmpstr(error->message, ==, "lease does not exist: not found");
	g_clear_error(&error);
	e->ctx.lease = NULL;
	assert_theirs(e, ""); // made and taken away
	g_ptr_array_unref(suite_prepare(e, "a", NULL));
	g_autoptr(GPtrArray) v = suite_view(e, "v", NULL);
	g_assert_nonnull(v);
	g_assert_false(snapshot_commit(e->sn, &e->ctx, "n", "v", NULL, NULL, &error));
	g_assert_true(error_is(error, CTRD_ERR_FAILED_PRECONDITION)); // the peer's words and class
	g_assert_nonnull(strstr(error->message, "is not active"));
	g_clear_error(&error);
	g_assert_false(snapshot_commit(e->sn, &e->ctx, "a", "a", NULL, NULL, &error));
	g_assert_cmpstr(error->message, ==, "snapshot \"a\": already exists");
	g_clear_error(&error);

	// a peer that is not there: an error, and again well when it is back
	peer_stop_server(peer);
	g_assert_null(snapshot_prepare(e->sn, &e->ctx, "b", NULL, NULL, &error));
	g_assert_true(error_is(error, CTRD_ERR_UNAVAILABLE));
	g_clear_error(&error);
	suite_remove(e, "v"); // needs them not
	peer_start_server(peer);
	g_ptr_array_unref(suite_prepare(e, "b", NULL));
}

#define N_THREADS 6

static void *work(void *data)
{
	SuiteEnv *e = data;
	static int n;
	unsigned id = (unsigned)g_atomic_int_add(&n, 1);
	for (unsigned i = 0; i < 12; i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *key = g_strdup_printf("key-%u", id),
		                *own = g_strdup_printf("own-%u-%u", id, i),
		                *shared = g_strdup_printf("shared-%u", i);
		g_ptr_array_unref(suite_prepare(e, key, NULL));
		if (i % 3 == 0)
			cleanup(e); // beside the others' prepares
		// all want the same name: one gets it
		if (!snapshot_commit(e->sn, &e->ctx, shared, key, NULL, NULL, &error)) {
			g_assert_true(error_is(error, CTRD_ERR_ALREADY_EXISTS));
			suite_commit(e, own, key);
			suite_remove(e, own);
		}
		g_ptr_array_unref(suite_view(e, key, shared));
		suite_remove(e, key);
	}
	return NULL;
}

static void check_threads(SuiteEnv *e)
{
	pthread_t threads[N_THREADS];
	for (size_t i = 0; i < N_THREADS; i++)
		g_assert_cmpint(pthread_create(&threads[i], NULL, work, e), ==, 0);
	for (size_t i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	cleanup(e);
	g_autoptr(GError) error = NULL;
	g_autoptr(GString) ours = g_string_new(NULL), theirs = g_string_new(NULL);
	g_assert_true(snapshot_walk(e->sn, &e->ctx, NULL, collect, ours, &error));
	g_assert_true(snapshot_walk(peer->local, &e->ctx, NULL, collect, theirs, &error));
	g_auto(GStrv) a = g_strsplit(ours->str, " ", -1), b = g_strsplit(theirs->str, " ", -1);
	g_assert_cmpuint(g_strv_length(a), ==, 13); // 12 shared ones and what follows the last space
	g_assert_cmpuint(g_strv_length(b), ==, 13);
}

int main(int argc, char **argv)
{
	test_private_ns();
	g_test_init(&argc, &argv, NULL);
	snapshot_suite_add(&remote);
	suite_add_case(&remote, "names", check_names);
	suite_add_case(&remote, "prune", check_prune);
	suite_add_case(&remote, "lost-there", check_lost_there);
	suite_add_case(&remote, "target", check_target);
	suite_add_case(&remote, "errors", check_errors);
	suite_add_case(&remote, "threads", check_threads);
	server_loop = loop_start("peer");
	client_loop = loop_start("client");
	int status = g_test_run();
	loop_stop_join(server_loop);
	loop_stop_join(client_loop);
	return status;
}
