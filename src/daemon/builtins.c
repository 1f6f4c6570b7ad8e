// SPDX-License-Identifier: Apache-2.0

/*
 * The one list of built-in plugins. Each registration lives in src/daemon/plugins-<area>.c and is declared in
 * builtins.h; the order here is that of initialisation where the requirements leave a choice, and of `ctr
 * plugins ls`.
 */

#include "daemon/builtins.h"

static const PluginRegistration *const builtins[] = {
        &plugin_internal_opt,
        &plugin_tracing_otlp,
        &plugin_tracing,
        &plugin_deprecations_store,
        &plugin_content,
        &plugin_overlayfs,
        &plugin_native,
        &plugin_exchange,
        &plugin_metadata,
        &plugin_gc,
        &plugin_leases,
        &plugin_mount_erofs,
        &plugin_mount_manager,
        &plugin_walking,
        &plugin_streaming,
        &plugin_image_verifier,
        &plugin_cri_images,
        &plugin_transfer,
        &plugin_shim_manager,
        &plugin_task_runtime,
        &plugin_server_grpc,
        &plugin_server_ttrpc,
        &plugin_server_grpc_tcp,
        &plugin_server_debug,
        &plugin_server_metrics,
        &plugin_http_pprof,
        &plugin_metrics_grpc,
        &plugin_task_monitor,
        &plugin_restart,
        &plugin_sandbox_store,
        &plugin_sandboxes,
        &plugin_sandbox_controller,
        &plugin_sandbox_controllers,
};

void daemon_register_builtins(PluginSet *set)
{
	for (size_t i = 0; i < G_N_ELEMENTS(builtins); i++)
		plugins_register(set, builtins[i]);
	for (const PluginRegistration *r = plugins_services; r->type != NULL; r++)
		plugins_register(set, r);
}
