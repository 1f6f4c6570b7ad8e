// SPDX-License-Identifier: Apache-2.0
/* containerd.services.leases.v1; upstream plugins/services/leases. */
#include "store/leases.h"
#include "services/convert.h"
#include "services/leases/v1/leases.pb-c.h"
#include "services/services.h"
#include <sys/random.h>

typedef Containerd__Services__Leases__V1__Lease PbLease;

typedef struct {
	MetaDb *db;
	Gc *gc;
} Impl;

static PbLease *lease_out(Arena *arena, const Lease *l)
{
	PbLease *out = pb_new(arena, &containerd__services__leases__v1__lease__descriptor);
	out->id = arena_strdup(arena, l->id);
	out->created_at = pb_time_out(arena, l->created_at);
	out->labels = pb_strmap_out(arena, l->labels,
	                            &containerd__services__leases__v1__lease__labels_entry__descriptor,
	                            &out->n_labels);
	return out;
}

/* "<nanoseconds of the second>-<4 random characters>" as upstream's WithRandomID. */
static char *random_id(void)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint8_t r[4] = {0};
	if (getrandom(r, sizeof(r), 0) != sizeof(r))
		g_error("getrandom: %s", g_strerror(errno));
	return g_strdup_printf("%d-%c%c%c%c", (int)(time_now() % NS_PER_SEC), alphabet[r[0] % 64],
	                       alphabet[r[1] % 64], alphabet[r[2] % 64], alphabet[r[3] % 64]);
}

static bool leases_create_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Leases__V1__CreateRequest *req = request;
	Containerd__Services__Leases__V1__CreateResponse *resp = response;
	Impl *impl = rpc_call_impl(call);
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	g_autoptr(GHashTable) labels = pb_strmap_in(req->n_labels, req->labels);
	g_autofree char *id = str_empty(req->id) ? random_id() : g_strdup(req->id);
	g_autoptr(Lease) lease = leases_create(impl->db, &ctx, id, labels, error);
	if (lease == NULL)
		return false;
	resp->lease = lease_out(rpc_call_arena(call), lease);
	return true;
}

static bool leases_delete_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Leases__V1__DeleteRequest *req = request;
	Impl *impl = rpc_call_impl(call);
	Ctx ctx;
	if (!call_ctx(call, &ctx, error) || !leases_delete(impl->db, &ctx, req->id, error))
		return false;
	return !req->sync || gc_run(impl->gc, &ctx, error);
}

static bool leases_list_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Leases__V1__ListRequest *req = request;
	Containerd__Services__Leases__V1__ListResponse *resp = response;
	Impl *impl = rpc_call_impl(call);
	Arena *arena = rpc_call_arena(call);
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	g_autoptr(GPtrArray) list =
	        leases_list(impl->db, &ctx, pb_strv_in(arena, req->n_filters, req->filters), error);
	if (list == NULL)
		return false;
	resp->n_leases = list->len;
	resp->leases = pb_vec(arena, list->len);
	for (guint i = 0; i < list->len; i++)
		resp->leases[i] = lease_out(arena, list->pdata[i]);
	return true;
}

static bool resource_in(LeaseResource *ret, const Containerd__Services__Leases__V1__Resource *in,
                        GError **error)
{
	if (in == NULL)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "lease resource must be set");
	*ret = (LeaseResource){.id = (char *)in->id, .type = (char *)in->type};
	return true;
}

static bool leases_add_resource_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Leases__V1__AddResourceRequest *req = request;
	Impl *impl = rpc_call_impl(call);
	LeaseResource resource;
	Ctx ctx;
	return call_ctx(call, &ctx, error) && resource_in(&resource, req->resource, error) &&
	       leases_add_resource(impl->db, &ctx, req->id, &resource, error);
}

static bool leases_delete_resource_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Leases__V1__DeleteResourceRequest *req = request;
	Impl *impl = rpc_call_impl(call);
	LeaseResource resource;
	Ctx ctx;
	return call_ctx(call, &ctx, error) && resource_in(&resource, req->resource, error) &&
	       leases_delete_resource(impl->db, &ctx, req->id, &resource, error);
}

static bool leases_list_resources_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Leases__V1__ListResourcesRequest *req = request;
	Containerd__Services__Leases__V1__ListResourcesResponse *resp = response;
	Impl *impl = rpc_call_impl(call);
	Arena *arena = rpc_call_arena(call);
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	g_autoptr(GPtrArray) list = leases_list_resources(impl->db, &ctx, req->id, error);
	if (list == NULL)
		return false;
	resp->n_resources = list->len;
	resp->resources = pb_vec(arena, list->len);
	for (guint i = 0; i < list->len; i++) {
		const LeaseResource *r = list->pdata[i];
		resp->resources[i] = pb_new(arena, &containerd__services__leases__v1__resource__descriptor);
		resp->resources[i]->id = arena_strdup(arena, r->id);
		resp->resources[i]->type = arena_strdup(arena, r->type);
	}
	return true;
}

RpcService leases_service_new(MetaDb *db, Gc *gc)
{
	static const RpcMethod methods[] = {
	        {"Create", RPC_UNARY, RPC_ON_WORKER, leases_create_},
	        {"Delete", RPC_UNARY, RPC_ON_WORKER, leases_delete_},
	        {"List", RPC_UNARY, RPC_ON_WORKER, leases_list_},
	        {"AddResource", RPC_UNARY, RPC_ON_WORKER, leases_add_resource_},
	        {"DeleteResource", RPC_UNARY, RPC_ON_WORKER, leases_delete_resource_},
	        {"ListResources", RPC_UNARY, RPC_ON_WORKER, leases_list_resources_},
	};
	Impl *impl = g_new0(Impl, 1);
	*impl = (Impl){db, gc};
	return (RpcService){
	        .descriptor = &containerd__services__leases__v1__leases__descriptor,
	        .methods = methods,
	        .n_methods = G_N_ELEMENTS(methods),
	        .impl = impl,
	        .impl_free = g_free,
	};
}
