// SPDX-License-Identifier: Apache-2.0
#include "base/time.h"
#include "ctr/ctr.h"
#include "services/namespaces/v1/namespace.pb-c.h"
#include <errno.h>
#include <sys/stat.h>

/* One command runs in a process: its connection is the process's. */
static struct {
	Loop *loop;
	RpcClient *client;
	Cancel *cancel;
	char *lease;
} ctr;

Cancel *ctr_cancel(Cli *cli)
{
	if (ctr.cancel == NULL) {
		ctr.cancel = cancel_new(NULL);
		int64_t timeout = cli_duration(cli, "timeout");
		if (timeout > 0)
			cancel_set_deadline(ctr.cancel, time_mono() + timeout);
	}
	return ctr.cancel;
}

RpcClient *ctr_client(Cli *cli, GError **error)
{
	if (ctr.client != NULL)
		return ctr.client;
	const char *address = cli_string(cli, "address");
	const char *path = g_str_has_prefix(address, "unix://") ? address + 7 : address;
	struct stat st;
	if (stat(path, &st) != 0) {
		error_set_errno(error, errno, "cannot access socket %s: stat %s", path, path);
		return NULL;
	}
	ctr.loop = loop_start("ctr");
	ctr.client = rpc_client_new(ctr.loop, RPC_PROTO_GRPC, address);
	return ctr.client;
}

const char *ctr_ns(Cli *cli)
{
	return cli_string(cli, "namespace");
}

void ctr_set_lease(Cli *cli, const char *lease)
{
	g_free(ctr.lease);
	ctr.lease = g_strdup(lease);
}

bool ctr_lease_hold(Cli *cli, GError **error)
{
	g_autofree char *lease = NULL;
	g_autoptr(GHashTable) none = strmap_new();
	if (!ctr_lease_create(cli, "", 24 * 3600 * NS_PER_SEC, none, &lease, error))
		return false;
	ctr_set_lease(cli, lease);
	return true;
}

void ctr_lease_release(Cli *cli)
{
	g_autofree char *lease = g_steal_pointer(&ctr.lease);
	if (lease != NULL)
		ctr_lease_delete(cli, lease, false, NULL);
}

RpcCallOptions ctr_call_options(Cli *cli)
{
	return (RpcCallOptions){.ns = ctr_ns(cli), .lease = ctr.lease, .cancel = ctr_cancel(cli)};
}

RpcClientCall *ctr_call_begin(Cli *cli, const ProtobufCServiceDescriptor *service, const char *method,
                              const void *request, GError **error)
{
	RpcClient *client = ctr_client(cli, error);
	RpcCallOptions options = ctr_call_options(cli);
	return client != NULL ? rpc_client_call_begin(client, service, method, &options, request, error)
	                      : NULL;
}

bool ctr_call(Cli *cli, const ProtobufCServiceDescriptor *service, const char *method, const void *request,
              void *ret, GError **error)
{
	RpcClientCall *call = ctr_call_begin(cli, service, method, request, error);
	return call != NULL && rpc_client_call_wait(call, ret, error);
}

const char *ctr_namespace_default(Cli *cli, const char *what, const char *otherwise)
{
	Containerd__Services__Namespaces__V1__GetNamespaceRequest req =
	        CONTAINERD__SERVICES__NAMESPACES__V1__GET_NAMESPACE_REQUEST__INIT;
	autopb Containerd__Services__Namespaces__V1__GetNamespaceResponse *resp = NULL;
	g_autofree char *key = g_strdup_printf("containerd.io/defaults/%s", what);

	req.name = ctr_ns(cli);
	// No such namespace, or no answer: whatever is done next says so.
	if (!ctr_call(cli, &containerd__services__namespaces__v1__namespaces__descriptor, "Get", &req, &resp,
	              NULL) ||
	    resp->namespace_ == NULL)
		return otherwise;
	for (size_t i = 0; i < resp->namespace_->n_labels; i++) {
		if (g_str_equal(resp->namespace_->labels[i]->key, key) &&
		    !str_empty(resp->namespace_->labels[i]->value))
			return g_intern_string(resp->namespace_->labels[i]->value);
	}
	return otherwise;
}

RpcStream *ctr_stream(Cli *cli, const ProtobufCServiceDescriptor *service, const char *method, RpcKind kind,
                      const void *request, GError **error)
{
	RpcClient *client = ctr_client(cli, error);
	RpcCallOptions options = ctr_call_options(cli);
	return client != NULL ? rpc_client_stream(client, service, method, kind, &options, request, error)
	                      : NULL;
}

void ctr_close(void)
{
	g_clear_pointer(&ctr.client, rpc_client_unref);
	g_clear_pointer(&ctr.loop, loop_stop_join);
	g_clear_pointer(&ctr.cancel, cancel_unref);
	g_clear_pointer(&ctr.lease, g_free);
}
