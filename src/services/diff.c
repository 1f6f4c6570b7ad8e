// SPDX-License-Identifier: Apache-2.0
/* containerd.services.diff.v1; upstream plugins/services/diff. */
#include "services/convert.h"
#include "services/diff/v1/diff.pb-c.h"
#include "services/services.h"

typedef struct {
	GPtrArray *differs; // of Differ*, in order of preference
	bool sync_fs;
} DiffService;

static bool diff_apply(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Diff__V1__ApplyRequest *req = request;
	Containerd__Services__Diff__V1__ApplyResponse *resp = response;
	DiffService *s = rpc_call_impl(call);
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	g_auto(Descriptor) desc = {0}, applied = {0};
	pb_descriptor_in(&desc, req->diff);
	g_autoptr(GPtrArray) mounts = pb_mounts_in(req->n_mounts, req->mounts);
	DifferApplyOptions options = {.sync_fs = req->sync_fs || s->sync_fs};
	for (guint i = 0; i < s->differs->len; i++) {
		g_clear_error(error);
		if (differ_apply(s->differs->pdata[i], &ctx, &desc, mounts, &options, &applied, error)) {
			resp->applied = pb_descriptor_out(rpc_call_arena(call), &applied);
			return true;
		}
		if (!error_is(*error, CTRD_ERR_NOT_IMPLEMENTED))
			return false;
	}
	return false;
}

static bool diff_diff(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Diff__V1__DiffRequest *req = request;
	Containerd__Services__Diff__V1__DiffResponse *resp = response;
	DiffService *s = rpc_call_impl(call);
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	g_autoptr(GPtrArray) left = pb_mounts_in(req->n_left, req->left);
	g_autoptr(GPtrArray) right = pb_mounts_in(req->n_right, req->right);
	g_autoptr(GHashTable) labels = pb_strmap_in(req->n_labels, req->labels);
	DifferCompareOptions options = {
	        .media_type = req->media_type,
	        .ref = req->ref,
	        .labels = labels,
	        .has_source_date_epoch = req->source_date_epoch != NULL,
	        .source_date_epoch = pb_time_in(req->source_date_epoch),
	};
	g_auto(Descriptor) diff = {0};
	for (guint i = 0; i < s->differs->len; i++) {
		g_clear_error(error);
		if (differ_compare(s->differs->pdata[i], &ctx, left, right, &options, &diff, error)) {
			resp->diff = pb_descriptor_out(rpc_call_arena(call), &diff);
			return true;
		}
		if (!error_is(*error, CTRD_ERR_NOT_IMPLEMENTED))
			return false;
	}
	return false;
}

static void diff_free(void *impl)
{
	DiffService *s = impl;
	g_ptr_array_unref(s->differs);
	g_free(s);
}

RpcService diff_service_new(GPtrArray *differs, bool sync_fs)
{
	static const RpcMethod methods[] = {
	        {"Apply", RPC_UNARY, RPC_ON_WORKER, diff_apply},
	        {"Diff", RPC_UNARY, RPC_ON_WORKER, diff_diff},
	};
	DiffService *s = g_new0(DiffService, 1);
	s->differs = g_ptr_array_ref(differs);
	s->sync_fs = sync_fs;
	return (RpcService){
	        .descriptor = &containerd__services__diff__v1__diff__descriptor,
	        .methods = methods,
	        .n_methods = G_N_ELEMENTS(methods),
	        .impl = s,
	        .impl_free = diff_free,
	};
}
