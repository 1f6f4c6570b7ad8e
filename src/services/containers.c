// SPDX-License-Identifier: Apache-2.0
/* containerd.services.containers.v1; upstream plugins/services/containers. */
#include "store/containers.h"
#include "services/containers/v1/containers.pb-c.h"
#include "services/convert.h"
#include "services/services.h"

typedef Containerd__Services__Containers__V1__Container PbContainer;

static PbContainer *container_out(Arena *arena, const Container *c)
{
	PbContainer *out = pb_new(arena, &containerd__services__containers__v1__container__descriptor);
	out->id = arena_strdup(arena, c->id);
	out->labels = pb_strmap_out(
	        arena, c->labels, &containerd__services__containers__v1__container__labels_entry__descriptor,
	        &out->n_labels);
	out->image = arena_strdup(arena, c->image);
	out->runtime = pb_new(arena, &containerd__services__containers__v1__container__runtime__descriptor);
	out->runtime->name = arena_strdup(arena, c->runtime_name);
	out->runtime->options = pb_any_out(arena, &c->runtime_options);
	out->spec = pb_any_out(arena, &c->spec);
	out->snapshotter = arena_strdup(arena, c->snapshotter);
	out->snapshot_key = arena_strdup(arena, c->snapshot_key);
	out->created_at = pb_time_out(arena, c->created_at);
	out->updated_at = pb_time_out(arena, c->updated_at);
	out->sandbox = arena_strdup(arena, c->sandbox_id);
	g_autoptr(GPtrArray) keys = strmap_sorted_keys(c->extensions);
	out->n_extensions = keys->len;
	out->extensions = pb_vec(arena, keys->len);
	for (guint i = 0; i < keys->len; i++) {
		Containerd__Services__Containers__V1__Container__ExtensionsEntry *entry = pb_new(
		        arena,
		        &containerd__services__containers__v1__container__extensions_entry__descriptor);
		entry->key = arena_strdup(arena, keys->pdata[i]);
		entry->value = pb_any_out(arena, g_hash_table_lookup(c->extensions, keys->pdata[i]));
		out->extensions[i] = entry;
	}
	return out;
}

static void replace(char **field, const char *value)
{
	g_free(*field);
	*field = g_strdup(str_or(value, ""));
}

static Container *container_in(const PbContainer *in)
{
	Container *c = container_new();
	replace(&c->id, in->id);
	g_clear_pointer(&c->labels, g_hash_table_unref);
	c->labels = pb_strmap_in(in->n_labels, in->labels);
	replace(&c->image, in->image);
	replace(&c->runtime_name, in->runtime != NULL ? in->runtime->name : "");
	if (in->runtime != NULL)
		pb_any_in(&c->runtime_options, in->runtime->options);
	pb_any_in(&c->spec, in->spec);
	replace(&c->snapshotter, in->snapshotter);
	replace(&c->snapshot_key, in->snapshot_key);
	replace(&c->sandbox_id, in->sandbox);
	for (size_t i = 0; i < in->n_extensions; i++) {
		Any *any = g_new0(Any, 1);
		pb_any_in(any, in->extensions[i]->value);
		g_hash_table_insert(c->extensions, g_strdup(in->extensions[i]->key), any);
	}
	return c;
}

static bool containers_get_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Containers__V1__GetContainerRequest *req = request;
	Containerd__Services__Containers__V1__GetContainerResponse *resp = response;
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	g_autoptr(Container) c = containers_get(rpc_call_impl(call), &ctx, req->id, error);
	if (c == NULL)
		return false;
	resp->container = container_out(rpc_call_arena(call), c);
	return true;
}

/* The containers that match. */
static GPtrArray *list(RpcCall *call, const void *request, GError **error)
{
	const Containerd__Services__Containers__V1__ListContainersRequest *req = request;
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return NULL;
	return containers_list(rpc_call_impl(call), &ctx,
	                       pb_strv_in(rpc_call_arena(call), req->n_filters, req->filters), error);
}

static bool containers_list_(RpcCall *call, const void *request, void *response, GError **error)
{
	Containerd__Services__Containers__V1__ListContainersResponse *resp = response;
	g_autoptr(GPtrArray) found = list(call, request, error);
	if (found == NULL)
		return false;
	resp->n_containers = found->len;
	resp->containers = pb_vec(rpc_call_arena(call), found->len);
	for (guint i = 0; i < found->len; i++)
		resp->containers[i] = container_out(rpc_call_arena(call), found->pdata[i]);
	return true;
}

static bool containers_list_stream(RpcCall *call, const void *request, void *response, GError **error)
{
	g_autoptr(GPtrArray) found = list(call, request, error);
	if (found == NULL)
		return false;
	for (guint i = 0; i < found->len; i++) {
		g_autoptr(Arena) arena = arena_new();
		Containerd__Services__Containers__V1__ListContainerMessage *m = pb_new(
		        arena, &containerd__services__containers__v1__list_container_message__descriptor);
		m->container = container_out(arena, found->pdata[i]);
		if (!rpc_call_send(call, m, error))
			return false;
	}
	return true;
}

static bool require_container(const PbContainer *c, GError **error)
{
	if (c != NULL && !str_empty(c->id))
		return true;
	return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "Container.ID required");
}

static bool containers_create_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Containers__V1__CreateContainerRequest *req = request;
	Containerd__Services__Containers__V1__CreateContainerResponse *resp = response;
	Ctx ctx;
	if (!call_ctx(call, &ctx, error) || !require_container(req->container, error))
		return false;
	g_autoptr(Container) in = container_in(req->container);
	g_autoptr(Container) c = containers_create(rpc_call_impl(call), &ctx, in, error);
	if (c == NULL)
		return false;
	resp->container = container_out(rpc_call_arena(call), c);
	return true;
}

static bool containers_update_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Containers__V1__UpdateContainerRequest *req = request;
	Containerd__Services__Containers__V1__UpdateContainerResponse *resp = response;
	Ctx ctx;
	if (!call_ctx(call, &ctx, error) || !require_container(req->container, error))
		return false;
	g_autoptr(Container) in = container_in(req->container);
	g_autoptr(Container) c = containers_update(rpc_call_impl(call), &ctx, in,
	                                           pb_mask_in(rpc_call_arena(call), req->update_mask), error);
	if (c == NULL)
		return false;
	resp->container = container_out(rpc_call_arena(call), c);
	return true;
}

static bool containers_delete_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Containers__V1__DeleteContainerRequest *req = request;
	Ctx ctx;
	return call_ctx(call, &ctx, error) && containers_delete(rpc_call_impl(call), &ctx, req->id, error);
}

RpcService containers_service_new(MetaDb *db)
{
	static const RpcMethod methods[] = {
	        {"Get", RPC_UNARY, RPC_ON_WORKER, containers_get_},
	        {"List", RPC_UNARY, RPC_ON_WORKER, containers_list_},
	        {"ListStream", RPC_SERVER_STREAM, RPC_ON_WORKER, containers_list_stream},
	        {"Create", RPC_UNARY, RPC_ON_WORKER, containers_create_},
	        {"Update", RPC_UNARY, RPC_ON_WORKER, containers_update_},
	        {"Delete", RPC_UNARY, RPC_ON_WORKER, containers_delete_},
	};
	return (RpcService){
	        .descriptor = &containerd__services__containers__v1__containers__descriptor,
	        .methods = methods,
	        .n_methods = G_N_ELEMENTS(methods),
	        .impl = db,
	};
}
