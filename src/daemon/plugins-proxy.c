// SPDX-License-Identifier: Apache-2.0

/* Kinds of [proxy_plugins]: what speaks gRPC to a plugin in another process. */

#include "base/error.h"
#include "daemon/daemon.h"

static bool not_yet(PluginInit *init, void **ret_instance, GError **error)
{
	return error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED, "proxy plugin %s", Q(plugin_uri(init)));
}

const PluginProxyKind daemon_proxy_kinds[] = {
        {PLUGIN_SNAPSHOT, "snapshot", not_yet, NULL},
        {PLUGIN_CONTENT, "content", not_yet, NULL},
        {PLUGIN_SANDBOX_CONTROLLER, "sandbox", not_yet, NULL},
        {PLUGIN_DIFF, "diff", not_yet, NULL},
};
const size_t daemon_n_proxy_kinds = G_N_ELEMENTS(daemon_proxy_kinds);
