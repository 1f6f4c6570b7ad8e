// SPDX-License-Identifier: Apache-2.0

/*
 * What a proxy plugin speaks to, for the end-to-end tests: a process with a snapshotter of the given name, a
 *content store without namespaces and leases, and a differ.
 *
 *	proxy-peer SOCKET DIR NAME
 */

#include "base/error.h"
#include "base/fs.h"
#include "base/time.h"
#include "services/services.h"
#include <signal.h>
#include <stdio.h>

/* A snapshotter that knows no leases, as those of proxy plugins: the caller's is not for it. */
typedef struct {
	Snapshotter base;
	Snapshotter *inner;
} Unleased;

#define INNER(self) (((Unleased *)(self))->inner)
#define WITHOUT_LEASE(ctx) (&(const Ctx){.ns = (ctx)->ns, .cancel = (ctx)->cancel})

static SnapshotInfo *peer_stat(Snapshotter *self, const Ctx *ctx, const char *key, GError **error)
{
	return snapshot_stat(INNER(self), WITHOUT_LEASE(ctx), key, error);
}

static SnapshotInfo *peer_update(Snapshotter *self, const Ctx *ctx, const SnapshotInfo *info,
                                 const char *const *paths, GError **error)
{
	return snapshot_update(INNER(self), WITHOUT_LEASE(ctx), info, paths, error);
}

static bool peer_usage(Snapshotter *self, const Ctx *ctx, const char *key, SnapshotUsage *ret, GError **error)
{
	return snapshot_usage(INNER(self), WITHOUT_LEASE(ctx), key, ret, error);
}

static GPtrArray *peer_mounts(Snapshotter *self, const Ctx *ctx, const char *key, GError **error)
{
	return snapshot_mounts(INNER(self), WITHOUT_LEASE(ctx), key, error);
}

static GPtrArray *peer_prepare(Snapshotter *self, const Ctx *ctx, SnapshotKind kind, const char *key,
                               const char *parent, GHashTable *labels, GError **error)
{
	return INNER(self)->ops->prepare(INNER(self), WITHOUT_LEASE(ctx), kind, key, parent, labels, error);
}

static bool peer_commit(Snapshotter *self, const Ctx *ctx, const char *name, const char *key,
                        const char *parent, GHashTable *labels, GError **error)
{
	return snapshot_commit(INNER(self), WITHOUT_LEASE(ctx), name, key, parent, labels, error);
}

static bool peer_remove(Snapshotter *self, const Ctx *ctx, const char *key, GError **error)
{
	return snapshot_remove(INNER(self), WITHOUT_LEASE(ctx), key, error);
}

static bool peer_walk(Snapshotter *self, const Ctx *ctx, const char *const *filters, SnapshotWalkFn fn,
                      void *data, GError **error)
{
	return snapshot_walk(INNER(self), WITHOUT_LEASE(ctx), filters, fn, data, error);
}

static bool peer_cleanup(Snapshotter *self, const Ctx *ctx, GError **error)
{
	return snapshot_cleanup(INNER(self), WITHOUT_LEASE(ctx), error);
}

static const SnapshotterOps unleased_ops = {
        .stat = peer_stat,
        .update = peer_update,
        .usage = peer_usage,
        .mounts = peer_mounts,
        .prepare = peer_prepare,
        .commit = peer_commit,
        .remove = peer_remove,
        .walk = peer_walk,
        .cleanup = peer_cleanup,
};

static Unleased unleased = {.base = {.ops = &unleased_ops, .name = (char *)"native"}};

static bool serve(const char *path, const char *dir, const char *name, GError **error)
{
	g_autofree char *db_path = path_join(dir, "meta.sqlite"), *snapshots = path_join(dir, "snapshots");
	g_autofree char *blobs = path_join(dir, "content");

	if (!dir_make_all(dir, 0700, error))
		return false;
	MetaDb *db = meta_open(db_path, &(MetaOptions){.no_sync = true}, error);
	SnapshotDriver *driver = db != NULL ? snapshot_native_new(snapshots, error) : NULL;
	Snapshotter *snapshotter = driver != NULL ? snapshotter_local_new(db, "native", driver, error) : NULL;
	ContentStore *content = snapshotter != NULL ? content_local_new(blobs, error) : NULL;
	if (content == NULL)
		return false;
	GHashTable *snapshotters = g_hash_table_new(g_str_hash, g_str_equal);
	GPtrArray *differs = g_ptr_array_new();
	Loop *loop = loop_start("loop");
	RpcServer *server = rpc_server_new(loop, pool_new("worker", 32, 1024, NS_PER_SEC), NULL);
	unleased.inner = snapshotter;
	unleased.base.capabilities = snapshotter->capabilities;
	g_hash_table_insert(snapshotters, (char *)name, &unleased.base);
	g_ptr_array_add(differs, differ_walking_new(content, NULL));
	const RpcService services[] = {snapshots_service_new(snapshotters), content_service_new(content),
	                               diff_service_new(differs, false)};
	for (size_t i = 0; i < G_N_ELEMENTS(services); i++)
		rpc_server_add(server, &services[i]);
	int fd = rpc_listen_unix(path, 0600, geteuid(), getegid(), error);
	return fd >= 0 && rpc_server_listen(server, RPC_PROTO_GRPC, fd, false, error);
}

int main(int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	sigset_t end;
	int which;

	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &end, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (argc != 4 || !serve(argv[1], argv[2], argv[3], &error)) {
		fprintf(stderr, "proxy-peer: %s\n", error != NULL ? error->message : "SOCKET DIR NAME");
		return 1;
	}
	sigwait(&end, &which);
	_exit(0); // as a plugin that is killed: nothing is taken down
}
