// SPDX-License-Identifier: Apache-2.0
/* containerd.services.namespaces.v1; upstream plugins/services/namespaces. These calls need no namespace of
 * their own. */
#include "store/namespaces.h"
#include "services/convert.h"
#include "services/namespaces/v1/namespace.pb-c.h"
#include "services/services.h"

typedef Containerd__Services__Namespaces__V1__Namespace PbNamespace;

static Ctx plain_ctx(RpcCall *call)
{
	return (Ctx){.cancel = rpc_call_cancel(call)};
}

static PbNamespace *namespace_out(Arena *arena, const Namespace *ns)
{
	PbNamespace *out = pb_new(arena, &containerd__services__namespaces__v1__namespace__descriptor);
	out->name = arena_strdup(arena, ns->name);
	out->labels = pb_strmap_out(
	        arena, ns->labels, &containerd__services__namespaces__v1__namespace__labels_entry__descriptor,
	        &out->n_labels);
	return out;
}

static bool require_namespace(const PbNamespace *ns, GError **error)
{
	if (ns != NULL)
		return true;
	return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "namespace must be set");
}

static bool namespaces_get_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Namespaces__V1__GetNamespaceRequest *req = request;
	Containerd__Services__Namespaces__V1__GetNamespaceResponse *resp = response;
	Ctx ctx = plain_ctx(call);
	g_autoptr(Namespace) ns = namespaces_get(rpc_call_impl(call), &ctx, req->name, error);
	if (ns == NULL)
		return false;
	resp->namespace_ = namespace_out(rpc_call_arena(call), ns);
	return true;
}

static bool namespaces_list_(RpcCall *call, const void *request, void *response, GError **error)
{
	Containerd__Services__Namespaces__V1__ListNamespacesResponse *resp = response;
	Ctx ctx = plain_ctx(call);
	g_autoptr(GPtrArray) list = namespaces_list(rpc_call_impl(call), &ctx, error);
	if (list == NULL)
		return false;
	resp->n_namespaces = list->len;
	resp->namespaces = pb_vec(rpc_call_arena(call), list->len);
	for (guint i = 0; i < list->len; i++)
		resp->namespaces[i] = namespace_out(rpc_call_arena(call), list->pdata[i]);
	return true;
}

static bool namespaces_create_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Namespaces__V1__CreateNamespaceRequest *req = request;
	Containerd__Services__Namespaces__V1__CreateNamespaceResponse *resp = response;
	if (!require_namespace(req->namespace_, error))
		return false;
	Ctx ctx = plain_ctx(call);
	g_autoptr(GHashTable) labels = pb_strmap_in(req->namespace_->n_labels, req->namespace_->labels);
	if (!namespaces_create(rpc_call_impl(call), &ctx, req->namespace_->name, labels, error))
		return false;
	resp->namespace_ = req->namespace_;
	return true;
}

static bool namespaces_update_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Namespaces__V1__UpdateNamespaceRequest *req = request;
	if (!require_namespace(req->namespace_, error))
		return false;
	Ctx ctx = plain_ctx(call);
	g_autoptr(GHashTable) labels = pb_strmap_in(req->namespace_->n_labels, req->namespace_->labels);
	/* upstream's response carries no namespace */
	return namespaces_update(rpc_call_impl(call), &ctx, req->namespace_->name, labels,
	                         pb_mask_in(rpc_call_arena(call), req->update_mask), NULL, error);
}

static bool namespaces_delete_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Namespaces__V1__DeleteNamespaceRequest *req = request;
	Ctx ctx = plain_ctx(call);
	return namespaces_delete(rpc_call_impl(call), &ctx, req->name, error);
}

RpcService namespaces_service_new(MetaDb *db)
{
	static const RpcMethod methods[] = {
	        {"Get", RPC_UNARY, RPC_ON_WORKER, namespaces_get_},
	        {"List", RPC_UNARY, RPC_ON_WORKER, namespaces_list_},
	        {"Create", RPC_UNARY, RPC_ON_WORKER, namespaces_create_},
	        {"Update", RPC_UNARY, RPC_ON_WORKER, namespaces_update_},
	        {"Delete", RPC_UNARY, RPC_ON_WORKER, namespaces_delete_},
	};
	return (RpcService){
	        .descriptor = &containerd__services__namespaces__v1__namespaces__descriptor,
	        .methods = methods,
	        .n_methods = G_N_ELEMENTS(methods),
	        .impl = db,
	};
}
