// SPDX-License-Identifier: Apache-2.0
#include "services/services.h"
#include "services/version/v1/version.pb-c.h"

static bool version_version(RpcCall *call, const void *request, void *response, GError **error)
{
	Containerd__Services__Version__V1__VersionResponse *resp = response;
	resp->version = "v" CTRD_VERSION;
	resp->revision = rpc_call_impl(call);
	return true;
}

RpcService version_service_new(const char *revision)
{
	static const RpcMethod methods[] = {{"Version", RPC_UNARY, RPC_ON_LOOP, version_version}};
	return (RpcService){
	        .descriptor = &containerd__services__version__v1__version__descriptor,
	        .methods = methods,
	        .n_methods = G_N_ELEMENTS(methods),
	        .impl = g_strdup(revision),
	        .impl_free = g_free,
	};
}
