// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/daemon.h"

/* plugins-internal.c */
extern const PluginRegistration plugin_internal_opt;
/* plugins-server.c */
extern const PluginRegistration plugin_server_grpc, plugin_server_ttrpc, plugin_server_grpc_tcp,
        plugin_server_debug, plugin_server_metrics;
