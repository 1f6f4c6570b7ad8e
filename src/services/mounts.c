// SPDX-License-Identifier: Apache-2.0
/* containerd.services.mounts.v1; upstream plugins/services/mounts. */
#include "store/mounts.h"
#include "services/convert.h"
#include "services/mounts/v1/mounts.pb-c.h"
#include "services/services.h"

typedef Containerd__Types__ActivationInfo PbActivation;

static Containerd__Types__Mount *mount_out(Arena *arena, Mount *m)
{
	g_autoptr(GPtrArray) one = g_ptr_array_new();
	g_ptr_array_add(one, m);
	size_t n;
	return pb_mounts_out(arena, one, &n)[0];
}

static Containerd__Types__ActiveMount *active_out(Arena *arena, const ActiveMount *a)
{
	Containerd__Types__ActiveMount *out = pb_new(arena, &containerd__types__active_mount__descriptor);
	out->mount = mount_out(arena, a->mount);
	out->mounted_at = pb_time_out(arena, a->mounted_at);
	out->mount_point = arena_strdup(arena, a->point);
	out->data = pb_strmap_out(arena, a->data, &containerd__types__active_mount__data_entry__descriptor,
	                          &out->n_data);
	return out;
}

static PbActivation *activation_out(Arena *arena, const Activation *a)
{
	PbActivation *out = pb_new(arena, &containerd__types__activation_info__descriptor);
	out->name = arena_strdup(arena, a->name);
	out->n_active = a->active->len;
	out->active = pb_vec(arena, a->active->len);
	for (guint i = 0; i < a->active->len; i++)
		out->active[i] = active_out(arena, a->active->pdata[i]);
	out->system = pb_mounts_out(arena, a->system, &out->n_system);
	out->labels =
	        pb_strmap_out(arena, a->labels, &containerd__types__activation_info__labels_entry__descriptor,
	                      &out->n_labels);
	return out;
}

static bool mounts_activate(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Mounts__V1__ActivateRequest *req = request;
	Containerd__Services__Mounts__V1__ActivateResponse *resp = response;
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	g_autoptr(GPtrArray) mounts = pb_mounts_in(req->n_mounts, req->mounts);
	g_autoptr(GHashTable) labels = pb_strmap_in(req->n_labels, req->labels);
	ActivateOptions options = {.labels = labels, .temporary = req->temporary};
	g_autoptr(Activation) a =
	        mount_manager_activate(rpc_call_impl(call), &ctx, req->name, mounts, &options, error);
	if (a == NULL)
		return false;
	resp->info = activation_out(rpc_call_arena(call), a);
	return true;
}

static bool mounts_deactivate(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Mounts__V1__DeactivateRequest *req = request;
	Ctx ctx;
	return call_ctx(call, &ctx, error) &&
	       mount_manager_deactivate(rpc_call_impl(call), &ctx, req->name, error);
}

static bool mounts_info(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Mounts__V1__InfoRequest *req = request;
	Containerd__Services__Mounts__V1__InfoResponse *resp = response;
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	g_autoptr(Activation) a = mount_manager_info(rpc_call_impl(call), &ctx, req->name, error);
	if (a == NULL)
		return false;
	resp->info = activation_out(rpc_call_arena(call), a);
	return true;
}

static bool mounts_update(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Mounts__V1__UpdateRequest *req = request;
	Containerd__Services__Mounts__V1__UpdateResponse *resp = response;
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	if (req->info == NULL)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "mount info must be set");
	g_autoptr(GHashTable) labels = pb_strmap_in(req->info->n_labels, req->info->labels);
	Activation input = {.name = (char *)req->info->name, .labels = labels};
	g_autoptr(Activation) a = mount_manager_update(
	        rpc_call_impl(call), &ctx, &input, pb_mask_in(rpc_call_arena(call), req->update_mask), error);
	if (a == NULL)
		return false;
	resp->info = activation_out(rpc_call_arena(call), a);
	return true;
}

static bool mounts_list(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Mounts__V1__ListRequest *req = request;
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	g_autoptr(GPtrArray) list =
	        mount_manager_list(rpc_call_impl(call), &ctx,
	                           pb_strv_in(rpc_call_arena(call), req->n_filters, req->filters), error);
	bool ok = list != NULL;
	for (guint i = 0; ok && i < list->len; i++) {
		Containerd__Services__Mounts__V1__ListMessage message =
		        CONTAINERD__SERVICES__MOUNTS__V1__LIST_MESSAGE__INIT;
		g_autoptr(Arena) arena = arena_new();
		message.info = activation_out(arena, list->pdata[i]);
		ok = rpc_call_send(call, &message, error);
	}
	return ok;
}

RpcService mounts_service_new(MountManager *mounts)
{
	static const RpcMethod methods[] = {
	        {"Activate", RPC_UNARY, RPC_ON_WORKER, mounts_activate},
	        {"Deactivate", RPC_UNARY, RPC_ON_WORKER, mounts_deactivate},
	        {"Info", RPC_UNARY, RPC_ON_WORKER, mounts_info},
	        {"Update", RPC_UNARY, RPC_ON_WORKER, mounts_update},
	        {"List", RPC_SERVER_STREAM, RPC_ON_WORKER, mounts_list},
	};
	return (RpcService){
	        .descriptor = &containerd__services__mounts__v1__mounts__descriptor,
	        .methods = methods,
	        .n_methods = G_N_ELEMENTS(methods),
	        .impl = mounts,
	};
}
