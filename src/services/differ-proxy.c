// SPDX-License-Identifier: Apache-2.0
#include "services/convert.h"
#include "services/diff/v1/diff.pb-c.h"
#include "services/proxies.h"

typedef struct {
	Differ base;
	RpcClient *client;
} Proxy;

#define SERVICE (&containerd__services__diff__v1__diff__descriptor)

static bool call(Differ *self, const Ctx *ctx, const char *method, const void *request, void *ret,
                 GError **error)
{
	const RpcCallOptions options = {.ns = ctx->ns, .lease = ctx->lease, .cancel = ctx->cancel};

	return rpc_client_call(((Proxy *)self)->client, SERVICE, method, &options, request, ret, error);
}

static bool proxy_apply(Differ *self, const Ctx *ctx, const Descriptor *desc, GPtrArray *mounts,
                        const DifferApplyOptions *options, Descriptor *ret, GError **error)
{
	g_autoptr(Arena) arena = arena_new();
	Containerd__Services__Diff__V1__ApplyRequest request =
	        CONTAINERD__SERVICES__DIFF__V1__APPLY_REQUEST__INIT;
	autopb Containerd__Services__Diff__V1__ApplyResponse *response = NULL;

	request.diff = pb_descriptor_out(arena, desc);
	request.mounts = pb_mounts_out(arena, mounts, &request.n_mounts);
	request.sync_fs = options->sync_fs;
	if (!call(self, ctx, "Apply", &request, &response, error))
		return false;
	pb_descriptor_in(ret, response->applied);
	return true;
}

static bool proxy_compare(Differ *self, const Ctx *ctx, GPtrArray *lower, GPtrArray *upper,
                          const DifferCompareOptions *options, Descriptor *ret, GError **error)
{
	g_autoptr(Arena) arena = arena_new();
	Containerd__Services__Diff__V1__DiffRequest request =
	        CONTAINERD__SERVICES__DIFF__V1__DIFF_REQUEST__INIT;
	autopb Containerd__Services__Diff__V1__DiffResponse *response = NULL;

	request.left = pb_mounts_out(arena, lower, &request.n_left);
	request.right = pb_mounts_out(arena, upper, &request.n_right);
	request.media_type = str_or(options->media_type, "");
	request.ref = str_or(options->ref, "");
	request.labels = pb_strmap_out(
	        arena, options->labels,
	        &containerd__services__diff__v1__diff_request__labels_entry__descriptor, &request.n_labels);
	if (options->has_source_date_epoch)
		request.source_date_epoch = pb_time_out(arena, options->source_date_epoch);
	if (!call(self, ctx, "Diff", &request, &response, error))
		return false;
	pb_descriptor_in(ret, response->diff);
	return true;
}

static void proxy_free(Differ *self)
{
	rpc_client_unref(((Proxy *)self)->client);
	g_free(self);
}

Differ *differ_proxy_new(RpcClient *client)
{
	static const DifferOps ops = {.apply = proxy_apply, .compare = proxy_compare, .free = proxy_free};
	Proxy *p = g_new0(Proxy, 1);

	p->base.ops = &ops;
	p->client = rpc_client_ref(client);
	return &p->base;
}
