// SPDX-License-Identifier: Apache-2.0

/*
 * Kinds of [proxy_plugins]: what speaks gRPC to a plugin in another process (upstream
 * cmd/containerd/server/server.go, LoadPlugins). Nothing connects here: the first call does, and each call
 * after the peer went away tries again, so that neither a peer that starts later nor one that restarts needs
 * the daemon's attention.
 */

#include "base/error.h"
#include "daemon/daemon.h"
#include "daemon/metadata.h"
#include "services/proxies.h"
#include "store/content-proxy.h"
#include "store/snapshots-proxy.h"

static RpcClient *dial(PluginInit *init)
{
	return rpc_client_new(plugin_loop(init), RPC_PROTO_GRPC, plugin_proxy_address(init));
}

/* The metadata plugin takes it, and gives its names our namespaces. */
static bool snapshot_init(PluginInit *init, void **ret_instance, GError **error)
{
	RpcClient *client = dial(init);
	g_auto(GStrv) capabilities = plugin_proxy_capabilities(init);

	*ret_instance = snapshotter_proxy_new(client, plugin_id(init), (const char *const *)capabilities);
	rpc_client_unref(client);
	return true;
}

static bool content_init(PluginInit *init, void **ret_instance, GError **error)
{
	RpcClient *client = dial(init);

	*ret_instance = content_proxy_new(client);
	rpc_client_unref(client);
	return true;
}

static void content_close(void *instance)
{
	content_store_free(instance);
}

static bool sandbox_init(PluginInit *init, void **ret_instance, GError **error)
{
	RpcClient *client = dial(init);

	*ret_instance = sandbox_proxy_new(plugin_loop(init), client, plugin_id(init));
	rpc_client_unref(client);
	return true;
}

static void sandbox_close(void *instance)
{
	SandboxController *c = instance;

	c->free(c);
}

static bool diff_init(PluginInit *init, void **ret_instance, GError **error)
{
	RpcClient *client = dial(init);

	*ret_instance = differ_proxy_new(client);
	rpc_client_unref(client);
	return true;
}

static void diff_close(void *instance)
{
	differ_free(instance);
}

const PluginProxyKind daemon_proxy_kinds[] = {
        {PLUGIN_SNAPSHOT, "snapshot", snapshot_init, NULL},
        {PLUGIN_CONTENT, "content", content_init, content_close},
        {PLUGIN_SANDBOX_CONTROLLER, "sandbox", sandbox_init, sandbox_close},
        {PLUGIN_DIFF, "diff", diff_init, diff_close},
};
const size_t daemon_n_proxy_kinds = G_N_ELEMENTS(daemon_proxy_kinds);
