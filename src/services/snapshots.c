// SPDX-License-Identifier: Apache-2.0
/* containerd.services.snapshots.v1; upstream plugins/services/snapshots. */
#include "store/snapshots.h"
#include "services/convert.h"
#include "services/services.h"
#include "services/snapshots/v1/snapshots.pb-c.h"

typedef Containerd__Services__Snapshots__V1__Info PbInfo;

enum {
	LIST_BLOCK = 100 // infos in one message, as upstream
};

static Snapshotter *find(RpcCall *call, const char *name, Ctx *ctx, GError **error)
{
	if (!call_ctx(call, ctx, error))
		return NULL;
	if (str_empty(name)) {
		error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "snapshotter argument missing");
		return NULL;
	}
	Snapshotter *s = g_hash_table_lookup(rpc_call_impl(call), name);
	if (s == NULL)
		error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "snapshotter not loaded: %s", name);
	return s;
}

static PbInfo *info_out(Arena *arena, const SnapshotInfo *info)
{
	PbInfo *out = pb_new(arena, &containerd__services__snapshots__v1__info__descriptor);
	out->name = arena_strdup(arena, info->name);
	out->parent = arena_strdup(arena, info->parent);
	out->kind = (Containerd__Services__Snapshots__V1__Kind)info->kind; // same numbers
	out->created_at = pb_time_out(arena, info->created_at);
	out->updated_at = pb_time_out(arena, info->updated_at);
	out->labels = pb_strmap_out(arena, info->labels,
	                            &containerd__services__snapshots__v1__info__labels_entry__descriptor,
	                            &out->n_labels);
	return out;
}

static bool snapshots_prepare(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Snapshots__V1__PrepareSnapshotRequest *req = request;
	Containerd__Services__Snapshots__V1__PrepareSnapshotResponse *resp = response;
	Ctx ctx;
	Snapshotter *s = find(call, req->snapshotter, &ctx, error);
	if (s == NULL)
		return false;
	g_autoptr(GHashTable) labels = pb_strmap_in(req->n_labels, req->labels);
	g_autoptr(GPtrArray) mounts = snapshot_prepare(s, &ctx, req->key, req->parent, labels, error);
	if (mounts == NULL)
		return false;
	resp->mounts = pb_mounts_out(rpc_call_arena(call), mounts, &resp->n_mounts);
	return true;
}

static bool snapshots_view(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Snapshots__V1__ViewSnapshotRequest *req = request;
	Containerd__Services__Snapshots__V1__ViewSnapshotResponse *resp = response;
	Ctx ctx;
	Snapshotter *s = find(call, req->snapshotter, &ctx, error);
	if (s == NULL)
		return false;
	g_autoptr(GHashTable) labels = pb_strmap_in(req->n_labels, req->labels);
	g_autoptr(GPtrArray) mounts = snapshot_view(s, &ctx, req->key, req->parent, labels, error);
	if (mounts == NULL)
		return false;
	resp->mounts = pb_mounts_out(rpc_call_arena(call), mounts, &resp->n_mounts);
	return true;
}

static bool snapshots_mounts(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Snapshots__V1__MountsRequest *req = request;
	Containerd__Services__Snapshots__V1__MountsResponse *resp = response;
	Ctx ctx;
	Snapshotter *s = find(call, req->snapshotter, &ctx, error);
	if (s == NULL)
		return false;
	g_autoptr(GPtrArray) mounts = snapshot_mounts(s, &ctx, req->key, error);
	if (mounts == NULL)
		return false;
	resp->mounts = pb_mounts_out(rpc_call_arena(call), mounts, &resp->n_mounts);
	return true;
}

static bool snapshots_commit(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Snapshots__V1__CommitSnapshotRequest *req = request;
	Ctx ctx;
	Snapshotter *s = find(call, req->snapshotter, &ctx, error);
	if (s == NULL)
		return false;
	g_autoptr(GHashTable) labels = pb_strmap_in(req->n_labels, req->labels);
	return snapshot_commit(s, &ctx, req->name, req->key, str_empty(req->parent) ? NULL : req->parent,
	                       labels, error);
}

static bool snapshots_remove(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Snapshots__V1__RemoveSnapshotRequest *req = request;
	Ctx ctx;
	Snapshotter *s = find(call, req->snapshotter, &ctx, error);
	return s != NULL && snapshot_remove(s, &ctx, req->key, error);
}

static bool snapshots_stat(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Snapshots__V1__StatSnapshotRequest *req = request;
	Containerd__Services__Snapshots__V1__StatSnapshotResponse *resp = response;
	Ctx ctx;
	Snapshotter *s = find(call, req->snapshotter, &ctx, error);
	if (s == NULL)
		return false;
	g_autoptr(SnapshotInfo) info = snapshot_stat(s, &ctx, req->key, error);
	if (info == NULL)
		return false;
	resp->info = info_out(rpc_call_arena(call), info);
	return true;
}

static bool snapshots_update(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Snapshots__V1__UpdateSnapshotRequest *req = request;
	Containerd__Services__Snapshots__V1__UpdateSnapshotResponse *resp = response;
	Ctx ctx;
	Snapshotter *s = find(call, req->snapshotter, &ctx, error);
	if (s == NULL)
		return false;
	if (req->info == NULL)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "snapshot info must be set");
	g_autoptr(GHashTable) labels = pb_strmap_in(req->info->n_labels, req->info->labels);
	SnapshotInfo in = {
	        .kind = (SnapshotKind)req->info->kind,
	        .name = (char *)req->info->name,
	        .parent = (char *)req->info->parent,
	        .labels = labels,
	        .created_at = pb_time_in(req->info->created_at),
	        .updated_at = pb_time_in(req->info->updated_at),
	};
	g_autoptr(SnapshotInfo) info =
	        snapshot_update(s, &ctx, &in, pb_mask_in(rpc_call_arena(call), req->update_mask), error);
	if (info == NULL)
		return false;
	resp->info = info_out(rpc_call_arena(call), info);
	return true;
}

/* Infos are sent in blocks, each in an arena of its own. */
typedef struct {
	RpcCall *call;
	Arena *arena;
	PbInfo *block[LIST_BLOCK];
	size_t n;
} ListBlock;

static bool list_flush(ListBlock *b, GError **error)
{
	if (b->n == 0)
		return true;
	Containerd__Services__Snapshots__V1__ListSnapshotsResponse resp =
	        CONTAINERD__SERVICES__SNAPSHOTS__V1__LIST_SNAPSHOTS_RESPONSE__INIT;
	resp.info = b->block;
	resp.n_info = b->n;
	bool ok = rpc_call_send(b->call, &resp, error);
	arena_free(b->arena);
	b->arena = arena_new();
	b->n = 0;
	return ok;
}

static bool list_one(const SnapshotInfo *info, void *data, GError **error)
{
	ListBlock *b = data;
	b->block[b->n++] = info_out(b->arena, info);
	return b->n < LIST_BLOCK || list_flush(b, error);
}

static bool snapshots_list(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Snapshots__V1__ListSnapshotsRequest *req = request;
	Ctx ctx;
	Snapshotter *s = find(call, req->snapshotter, &ctx, error);
	if (s == NULL)
		return false;
	ListBlock b = {.call = call, .arena = arena_new()};
	bool ok = snapshot_walk(s, &ctx, pb_strv_in(rpc_call_arena(call), req->n_filters, req->filters),
	                        list_one, &b, error) &&
	          list_flush(&b, error);
	arena_free(b.arena);
	return ok;
}

static bool snapshots_usage(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Snapshots__V1__UsageRequest *req = request;
	Containerd__Services__Snapshots__V1__UsageResponse *resp = response;
	Ctx ctx;
	Snapshotter *s = find(call, req->snapshotter, &ctx, error);
	if (s == NULL)
		return false;
	SnapshotUsage usage = {0};
	if (!snapshot_usage(s, &ctx, req->key, &usage, error))
		return false;
	resp->size = usage.size;
	resp->inodes = usage.inodes;
	return true;
}

static bool snapshots_cleanup(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Snapshots__V1__CleanupRequest *req = request;
	Ctx ctx;
	Snapshotter *s = find(call, req->snapshotter, &ctx, error);
	return s != NULL && snapshot_cleanup(s, &ctx, error);
}

RpcService snapshots_service_new(GHashTable *snapshotters)
{
	static const RpcMethod methods[] = {
	        {"Prepare", RPC_UNARY, RPC_ON_WORKER, snapshots_prepare},
	        {"View", RPC_UNARY, RPC_ON_WORKER, snapshots_view},
	        {"Mounts", RPC_UNARY, RPC_ON_WORKER, snapshots_mounts},
	        {"Commit", RPC_UNARY, RPC_ON_WORKER, snapshots_commit},
	        {"Remove", RPC_UNARY, RPC_ON_WORKER, snapshots_remove},
	        {"Stat", RPC_UNARY, RPC_ON_WORKER, snapshots_stat},
	        {"Update", RPC_UNARY, RPC_ON_WORKER, snapshots_update},
	        {"List", RPC_SERVER_STREAM, RPC_ON_WORKER, snapshots_list},
	        {"Usage", RPC_UNARY, RPC_ON_WORKER, snapshots_usage},
	        {"Cleanup", RPC_UNARY, RPC_ON_WORKER, snapshots_cleanup},
	};
	return (RpcService){
	        .descriptor = &containerd__services__snapshots__v1__snapshots__descriptor,
	        .methods = methods,
	        .n_methods = G_N_ELEMENTS(methods),
	        .impl = snapshotters,
	};
}
