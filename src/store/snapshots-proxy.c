// SPDX-License-Identifier: Apache-2.0

#include "store/snapshots-proxy.h"
#include "base/error.h"
#include "base/util.h"
#include "services/snapshots/v1/snapshots.pb-c.h"
#include "store/message-proxy.h"

typedef struct {
	Snapshotter base;
	RpcClient *client;
	char *peer_name;
	char **capabilities;
} Proxy;

typedef Containerd__Services__Snapshots__V1__Info PbInfo;

#define PB(name) containerd__services__snapshots__v1__##name
#define SERVICE (&PB(snapshots__descriptor))

// ---- messages ----

/* Message and response type of one call. */
#define REQUEST(type, descriptor_name, var)                                                                  \
	Containerd__Services__Snapshots__V1__##type var;                                                     \
	api_init(&PB(descriptor_name), &var)

static SnapshotInfo *info_in(const PbInfo *in)
{
	SnapshotInfo *info = g_new0(SnapshotInfo, 1);
	int kind = (int)in->kind; // the numbers are the same
	info->kind = kind >= SNAPSHOT_UNKNOWN && kind <= SNAPSHOT_COMMITTED ? (SnapshotKind)kind
	                                                                    : SNAPSHOT_UNKNOWN;
	info->name = g_strdup(str_or(in->name, ""));
	info->parent = g_strdup(str_or(in->parent, ""));
	info->created_at = message_time_in(in->created_at);
	info->updated_at = message_time_in(in->updated_at);
	info->labels = message_labels_in(in->n_labels, in->labels);
	return info;
}

static SnapshotInfo *required_info_in(const PbInfo *in, GError **error)
{
	if (in != NULL)
		return info_in(in);
	error_set(error, CTRD_ERR_UNKNOWN, "snapshotter's answer has no info");
	return NULL;
}

static GPtrArray *mounts_in(size_t n, Containerd__Types__Mount *const *in)
{
	GPtrArray *mounts = mounts_new();
	for (size_t i = 0; i < n; i++) {
		g_autoptr(GPtrArray) options = g_ptr_array_new();
		for (size_t j = 0; j < in[i]->n_options; j++)
			g_ptr_array_add(options, (char *)in[i]->options[j]);
		g_ptr_array_add(options, NULL);
		g_ptr_array_add(mounts, mount_new(in[i]->type, in[i]->source, in[i]->target,
		                                  (const char *const *)options->pdata));
	}
	return mounts;
}

// ---- calls ----

static Proxy *proxy_of(Snapshotter *s)
{
	return (Proxy *)s;
}

static RpcCallOptions options_of(const Ctx *ctx)
{
	return (RpcCallOptions){.ns = ctx->ns, .lease = ctx->lease, .cancel = ctx->cancel};
}

static bool call(Snapshotter *self, const Ctx *ctx, const char *method, const void *request, void *ret,
                 GError **error)
{
	RpcCallOptions options = options_of(ctx);
	return rpc_client_call(proxy_of(self)->client, SERVICE, method, &options, request, ret, error);
}

static SnapshotInfo *proxy_stat(Snapshotter *self, const Ctx *ctx, const char *key, GError **error)
{
	REQUEST(StatSnapshotRequest, stat_snapshot_request__descriptor, req);
	req.snapshotter = proxy_of(self)->peer_name;
	req.key = key;
	autopb Containerd__Services__Snapshots__V1__StatSnapshotResponse *resp = NULL;
	return call(self, ctx, "Stat", &req, &resp, error) ? required_info_in(resp->info, error) : NULL;
}

static SnapshotInfo *proxy_update(Snapshotter *self, const Ctx *ctx, const SnapshotInfo *info,
                                  const char *const *paths, GError **error)
{
	g_autoptr(Arena) arena = arena_new();
	REQUEST(UpdateSnapshotRequest, update_snapshot_request__descriptor, req);
	PbInfo *out = message_new(arena, &PB(info__descriptor));
	Google__Protobuf__FieldMask *mask = message_new(arena, &google__protobuf__field_mask__descriptor);
	out->name = info->name;
	out->parent = str_or(info->parent, "");
	out->kind = (Containerd__Services__Snapshots__V1__Kind)info->kind;
	out->labels =
	        message_labels_out(arena, info->labels, &PB(info__labels_entry__descriptor), &out->n_labels);
	if (paths != NULL) {
		mask->n_paths = g_strv_length((char **)paths);
		mask->paths = arena_memdup(arena, paths, (mask->n_paths + 1) * sizeof *paths);
	}
	req.snapshotter = proxy_of(self)->peer_name;
	req.info = out;
	req.update_mask = mask;
	autopb Containerd__Services__Snapshots__V1__UpdateSnapshotResponse *resp = NULL;
	return call(self, ctx, "Update", &req, &resp, error) ? required_info_in(resp->info, error) : NULL;
}

static bool proxy_usage(Snapshotter *self, const Ctx *ctx, const char *key, SnapshotUsage *ret,
                        GError **error)
{
	REQUEST(UsageRequest, usage_request__descriptor, req);
	req.snapshotter = proxy_of(self)->peer_name;
	req.key = key;
	autopb Containerd__Services__Snapshots__V1__UsageResponse *resp = NULL;
	if (!call(self, ctx, "Usage", &req, &resp, error))
		return false;
	*ret = (SnapshotUsage){resp->size, resp->inodes};
	return true;
}

static GPtrArray *proxy_mounts(Snapshotter *self, const Ctx *ctx, const char *key, GError **error)
{
	REQUEST(MountsRequest, mounts_request__descriptor, req);
	req.snapshotter = proxy_of(self)->peer_name;
	req.key = key;
	autopb Containerd__Services__Snapshots__V1__MountsResponse *resp = NULL;
	return call(self, ctx, "Mounts", &req, &resp, error) ? mounts_in(resp->n_mounts, resp->mounts) : NULL;
}

static GPtrArray *proxy_prepare(Snapshotter *self, const Ctx *ctx, SnapshotKind kind, const char *key,
                                const char *parent, GHashTable *labels, GError **error)
{
	g_autoptr(Arena) arena = arena_new();
	if (kind == SNAPSHOT_VIEW) {
		REQUEST(ViewSnapshotRequest, view_snapshot_request__descriptor, req);
		req.snapshotter = proxy_of(self)->peer_name;
		req.key = key;
		req.parent = parent;
		req.labels = message_labels_out(
		        arena, labels, &PB(view_snapshot_request__labels_entry__descriptor), &req.n_labels);
		autopb Containerd__Services__Snapshots__V1__ViewSnapshotResponse *resp = NULL;
		return call(self, ctx, "View", &req, &resp, error) ? mounts_in(resp->n_mounts, resp->mounts)
		                                                   : NULL;
	}
	REQUEST(PrepareSnapshotRequest, prepare_snapshot_request__descriptor, req);
	req.snapshotter = proxy_of(self)->peer_name;
	req.key = key;
	req.parent = parent;
	req.labels = message_labels_out(
	        arena, labels, &PB(prepare_snapshot_request__labels_entry__descriptor), &req.n_labels);
	autopb Containerd__Services__Snapshots__V1__PrepareSnapshotResponse *resp = NULL;
	return call(self, ctx, "Prepare", &req, &resp, error) ? mounts_in(resp->n_mounts, resp->mounts)
	                                                      : NULL;
}

static bool proxy_commit(Snapshotter *self, const Ctx *ctx, const char *name, const char *key,
                         const char *parent, GHashTable *labels, GError **error)
{
	g_autoptr(Arena) arena = arena_new();
	REQUEST(CommitSnapshotRequest, commit_snapshot_request__descriptor, req);
	req.snapshotter = proxy_of(self)->peer_name;
	req.name = name;
	req.key = key;
	req.parent = parent;
	req.labels = message_labels_out(arena, labels, &PB(commit_snapshot_request__labels_entry__descriptor),
	                                &req.n_labels);
	autopb Google__Protobuf__Empty *resp = NULL;
	return call(self, ctx, "Commit", &req, &resp, error);
}

static bool proxy_remove(Snapshotter *self, const Ctx *ctx, const char *key, GError **error)
{
	REQUEST(RemoveSnapshotRequest, remove_snapshot_request__descriptor, req);
	req.snapshotter = proxy_of(self)->peer_name;
	req.key = key;
	autopb Google__Protobuf__Empty *resp = NULL;
	return call(self, ctx, "Remove", &req, &resp, error);
}

static bool proxy_walk(Snapshotter *self, const Ctx *ctx, const char *const *filters, SnapshotWalkFn fn,
                       void *data, GError **error)
{
	REQUEST(ListSnapshotsRequest, list_snapshots_request__descriptor, req);
	RpcCallOptions options = options_of(ctx);
	req.snapshotter = proxy_of(self)->peer_name;
	req.n_filters = filters != NULL ? g_strv_length((char **)filters) : 0;
	req.filters = (const char **)filters;
	g_autoptr(RpcStream) stream = rpc_client_stream(proxy_of(self)->client, SERVICE, "List",
	                                                RPC_SERVER_STREAM, &options, &req, error);
	if (stream == NULL)
		return false;
	for (;;) {
		autopb Containerd__Services__Snapshots__V1__ListSnapshotsResponse *resp = NULL;
		if (!rpc_stream_recv(stream, &resp, error))
			return false;
		if (resp == NULL)
			return true;
		for (size_t i = 0; i < resp->n_info; i++) {
			g_autoptr(SnapshotInfo) info = info_in(resp->info[i]);
			if (!fn(info, data, error))
				return false;
		}
	}
}

static bool proxy_cleanup(Snapshotter *self, const Ctx *ctx, GError **error)
{
	REQUEST(CleanupRequest, cleanup_request__descriptor, req);
	req.snapshotter = proxy_of(self)->peer_name;
	autopb Google__Protobuf__Empty *resp = NULL;
	return call(self, ctx, "Cleanup", &req, &resp, error);
}

static void proxy_free(Snapshotter *self)
{
	Proxy *p = proxy_of(self);
	rpc_client_unref(p->client);
	g_strfreev(p->capabilities);
	g_free(p->peer_name);
	g_free(p->base.name);
	g_free(p);
}

static const SnapshotterOps proxy_ops = {
        .stat = proxy_stat,
        .update = proxy_update,
        .usage = proxy_usage,
        .mounts = proxy_mounts,
        .prepare = proxy_prepare,
        .commit = proxy_commit,
        .remove = proxy_remove,
        .walk = proxy_walk,
        .cleanup = proxy_cleanup,
        .free = proxy_free,
};

Snapshotter *snapshotter_proxy_new(RpcClient *client, const char *name, const char *const *capabilities)
{
	Proxy *p = g_new0(Proxy, 1);
	p->capabilities = capabilities != NULL ? g_strdupv((char **)capabilities) : g_new0(char *, 1);
	p->base = (Snapshotter){.ops = &proxy_ops,
	                        .name = g_strdup(name),
	                        .capabilities = (const char *const *)p->capabilities};
	p->peer_name = g_strdup(name);
	p->client = rpc_client_ref(client);
	return &p->base;
}
