// SPDX-License-Identifier: Apache-2.0
/* containerd.services.sandbox.v1.Store; upstream plugins/services/sandbox/store_service.go. */
#include "store/sandboxes.h"
#include "base/error.h"
#include "services/sandbox-convert.h"
#include "services/sandbox/v1/sandbox.pb-c.h"
#include "services/services.h"

Containerd__Types__Sandbox *pb_sandbox_out(Arena *arena, const Sandbox *s)
{
	Containerd__Types__Sandbox *out = pb_new(arena, &containerd__types__sandbox__descriptor);
	out->sandbox_id = arena_strdup(arena, s->id);
	out->runtime = pb_new(arena, &containerd__types__sandbox__runtime__descriptor);
	out->runtime->name = arena_strdup(arena, str_or(s->runtime_name, ""));
	out->runtime->options = pb_any_out(arena, &s->runtime_options);
	out->spec = pb_any_out(arena, &s->spec);
	out->labels = pb_strmap_out(arena, s->labels, &containerd__types__sandbox__labels_entry__descriptor,
	                            &out->n_labels);
	out->created_at = pb_time_out(arena, s->created_at);
	out->updated_at = pb_time_out(arena, s->updated_at);
	out->sandboxer = arena_strdup(arena, str_or(s->sandboxer, ""));
	g_autoptr(GPtrArray) keys = strmap_sorted_keys(s->extensions);
	out->n_extensions = keys->len;
	out->extensions = pb_vec(arena, keys->len);
	for (guint i = 0; i < keys->len; i++) {
		Containerd__Types__Sandbox__ExtensionsEntry *entry =
		        pb_new(arena, &containerd__types__sandbox__extensions_entry__descriptor);
		entry->key = arena_strdup(arena, keys->pdata[i]);
		entry->value = pb_any_out(arena, g_hash_table_lookup(s->extensions, keys->pdata[i]));
		out->extensions[i] = entry;
	}
	return out;
}

Sandbox *pb_sandbox_in(const Containerd__Types__Sandbox *in)
{
	Sandbox *s = sandbox_new();
	s->id = g_strdup(in->sandbox_id);
	s->runtime_name = g_strdup(in->runtime != NULL ? in->runtime->name : "");
	if (in->runtime != NULL)
		pb_any_in(&s->runtime_options, in->runtime->options);
	pb_any_in(&s->spec, in->spec);
	s->sandboxer = g_strdup(in->sandboxer);
	g_hash_table_unref(s->labels);
	s->labels = pb_strmap_in(in->n_labels, in->labels);
	for (size_t i = 0; i < in->n_extensions; i++) {
		Any *any = g_new0(Any, 1);
		pb_any_in(any, in->extensions[i]->value);
		g_hash_table_insert(s->extensions, g_strdup(in->extensions[i]->key), any);
	}
	s->created_at = pb_time_in(in->created_at);
	s->updated_at = pb_time_in(in->updated_at);
	return s;
}

/* Upstream's service dies of a request without one. */
static Sandbox *required(const Containerd__Types__Sandbox *in, GError **error)
{
	if (in != NULL)
		return pb_sandbox_in(in);
	error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "sandbox can not be nil");
	return NULL;
}

static bool sandboxes_create_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Sandbox__V1__StoreCreateRequest *req = request;
	Containerd__Services__Sandbox__V1__StoreCreateResponse *resp = response;
	Ctx ctx;
	g_autoptr(Sandbox) input = required(req->sandbox, error);
	if (input == NULL || !call_ctx(call, &ctx, error))
		return false;
	g_autoptr(Sandbox) s = sandboxes_create(rpc_call_impl(call), &ctx, input, error);
	if (s == NULL)
		return false;
	resp->sandbox = pb_sandbox_out(rpc_call_arena(call), s);
	return true;
}

static bool sandboxes_update_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Sandbox__V1__StoreUpdateRequest *req = request;
	Containerd__Services__Sandbox__V1__StoreUpdateResponse *resp = response;
	Ctx ctx;
	g_autoptr(Sandbox) input = required(req->sandbox, error);
	if (input == NULL || !call_ctx(call, &ctx, error))
		return false;
	g_autoptr(Sandbox) s =
	        sandboxes_update(rpc_call_impl(call), &ctx, input,
	                         pb_strv_in(rpc_call_arena(call), req->n_fields, req->fields), error);
	if (s == NULL)
		return false;
	resp->sandbox = pb_sandbox_out(rpc_call_arena(call), s);
	return true;
}

static bool sandboxes_list_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Sandbox__V1__StoreListRequest *req = request;
	Containerd__Services__Sandbox__V1__StoreListResponse *resp = response;
	Arena *arena = rpc_call_arena(call);
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	g_autoptr(GPtrArray) found = sandboxes_list(rpc_call_impl(call), &ctx,
	                                            pb_strv_in(arena, req->n_filters, req->filters), error);
	if (found == NULL)
		return false;
	resp->n_list = found->len;
	resp->list = pb_vec(arena, found->len);
	for (guint i = 0; i < found->len; i++)
		resp->list[i] = pb_sandbox_out(arena, found->pdata[i]);
	return true;
}

static bool sandboxes_get_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Sandbox__V1__StoreGetRequest *req = request;
	Containerd__Services__Sandbox__V1__StoreGetResponse *resp = response;
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	g_autoptr(Sandbox) s = sandboxes_get(rpc_call_impl(call), &ctx, req->sandbox_id, error);
	if (s == NULL)
		return false;
	resp->sandbox = pb_sandbox_out(rpc_call_arena(call), s);
	return true;
}

static bool sandboxes_delete_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Sandbox__V1__StoreDeleteRequest *req = request;
	Ctx ctx;
	return call_ctx(call, &ctx, error) &&
	       sandboxes_delete(rpc_call_impl(call), &ctx, req->sandbox_id, error);
}

RpcService sandboxes_service_new(MetaDb *db)
{
	static const RpcMethod methods[] = {
	        {"Create", RPC_UNARY, RPC_ON_WORKER, sandboxes_create_},
	        {"Update", RPC_UNARY, RPC_ON_WORKER, sandboxes_update_},
	        {"Delete", RPC_UNARY, RPC_ON_WORKER, sandboxes_delete_},
	        {"List", RPC_UNARY, RPC_ON_WORKER, sandboxes_list_},
	        {"Get", RPC_UNARY, RPC_ON_WORKER, sandboxes_get_},
	};
	return (RpcService){
	        .descriptor = &containerd__services__sandbox__v1__store__descriptor,
	        .methods = methods,
	        .n_methods = G_N_ELEMENTS(methods),
	        .impl = db,
	};
}
