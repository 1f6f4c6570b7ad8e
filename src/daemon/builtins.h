// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/daemon.h"
#include "loop/metrics.h"

/* plugins-internal.c */
extern const PluginRegistration plugin_internal_opt, plugin_tracing, plugin_tracing_otlp;
/* plugins-server.c */
extern const PluginRegistration plugin_server_grpc, plugin_server_ttrpc, plugin_server_grpc_tcp;
/* plugins-http.c */
extern const PluginRegistration plugin_server_debug, plugin_server_metrics, plugin_http_pprof;
/* plugins-monitor.c */
extern const PluginRegistration plugin_restart;
/* plugins-metrics.c */
extern const PluginRegistration plugin_metrics_grpc, plugin_task_monitor;
/* Of the process: a MetricCollect of the metrics server. */
void process_metrics_collect(MetricWriter *writer, void *data);
/* plugins-store.c */
extern const PluginRegistration plugin_content, plugin_overlayfs, plugin_native, plugin_exchange,
        plugin_metadata, plugin_gc, plugin_leases;
/* plugins-mounts.c */
extern const PluginRegistration plugin_mount_erofs, plugin_mount_manager;
/* plugins-runtime.c */
extern const PluginRegistration plugin_shim_manager, plugin_task_runtime, plugin_deprecations_store;
/* plugins-sandbox.c */
extern const PluginRegistration plugin_sandbox_store, plugin_sandboxes, plugin_sandbox_controller,
        plugin_sandbox_controllers;
/* plugins-cri.c: the instance is a RegistryCurrent */
extern const PluginRegistration plugin_cri_images;
/* plugins-transfer.c */
extern const PluginRegistration plugin_walking, plugin_streaming, plugin_image_verifier, plugin_transfer;
/* plugins-services.c: the in-process services and their gRPC twins, ended by an entry without a type */
extern const PluginRegistration plugins_services[];

/* "linux/amd64": this machine, as platforms are written. Static. */
const char *platform_default_text(void);
