// SPDX-License-Identifier: Apache-2.0

/*
 * The configuration keys of the plugins in upstream's default Linux build, in the order in which `config
 * default` prints them. All are here, also those of plugins that are not built yet: a node's configuration
 * file must be known, checked and dumped whole. Source: the Config structs below plugins/, core/, internal/
 * and pkg/.
 */

#include "base/util.h"
#include "oci/platform.h"
#include "plugin/config.h"
#include "plugin/schemas-private.h"
#include <string.h>

#define END                                                                                                  \
	{                                                                                                    \
		.name = NULL                                                                                 \
	}

static char *effective_uid(void)
{
	return g_strdup_printf("%u", geteuid());
}

static char *effective_gid(void)
{
	return g_strdup_printf("%u", getegid());
}

static char *default_platforms(void)
{
	g_auto(Platform) here = {0};

	platform_default(&here);
	g_autofree char *text = platform_format(&here);
	return g_strdup_printf("['%s']", text);
}

static const ConfigKey none[] = {END};

static const ConfigKey root_path[] = {{"root_path", CONFIG_STRING}, END};

static const ConfigKey differ_erofs[] = {
        {"mkfs_options", CONFIG_STRINGS},
        {"enable_tar_index", CONFIG_BOOL},
        {"enable_dmverity", CONFIG_BOOL},
        END,
};

static const ConfigKey gc_scheduler[] = {
        {"pause_threshold", CONFIG_FLOAT, "0.02"},     {"deletion_threshold", CONFIG_INT, "0"},
        {"mutation_threshold", CONFIG_INT, "100"},     {"schedule_delay", CONFIG_DURATION, "'0s'"},
        {"startup_delay", CONFIG_DURATION, "'100ms'"}, END,
};

static const ConfigKey image_verifier[] = {
        {"bin_dir", CONFIG_STRING, "'/opt/containerd/image-verifier/bin'"},
        {"max_verifiers", CONFIG_INT, "10"},
        {"per_verifier_timeout", CONFIG_DURATION, "'10s'"},
        END,
};

static const ConfigKey internal_opt[] = {{"path", CONFIG_STRING, "'/opt/containerd'"}, END};

static const ConfigKey internal_tracing[] = {
        {"service_name", CONFIG_STRING, .omit_empty = true},
        {"sampling_ratio", CONFIG_FLOAT, .omit_empty = true},
        END,
};

static const ConfigKey metadata_bolt[] = {
        {"content_sharing_policy", CONFIG_STRING, "'shared'"},
        {"no_sync", CONFIG_BOOL},
        END,
};

static const ConfigKey metrics_prometheus[] = {{"grpc_histogram", CONFIG_BOOL}, END};

static const ConfigKey container_monitor[] = {{"interval", CONFIG_DURATION, "'10s'"}, END};

static const ConfigKey task_monitor[] = {{"no_prometheus", CONFIG_BOOL}, END};

static const ConfigKey nri_validator[] = {
        {"enable", CONFIG_BOOL},
        {"reject_oci_hook_adjustment", CONFIG_BOOL},
        {"reject_runtime_default_seccomp_adjustment", CONFIG_BOOL},
        {"reject_unconfined_seccomp_adjustment", CONFIG_BOOL},
        {"reject_custom_seccomp_adjustment", CONFIG_BOOL},
        {"reject_namespace_adjustment", CONFIG_BOOL},
        {"reject_sysctl_adjustment", CONFIG_BOOL},
        {"required_plugins", CONFIG_STRINGS},
        {"tolerate_missing_plugins_annotation", CONFIG_STRING},
        END,
};

static const ConfigKey nri[] = {
        {"disable", CONFIG_BOOL},
        {"socket_path", CONFIG_STRING, "'/var/run/nri/nri.sock'"},
        {"plugin_path", CONFIG_STRING, "'/opt/nri/plugins'"},
        {"plugin_config_path", CONFIG_STRING, "'/etc/nri/conf.d'"},
        {"plugin_registration_timeout", CONFIG_DURATION, "'5s'"},
        {"plugin_request_timeout", CONFIG_DURATION, "'2s'"},
        {"disable_connections", CONFIG_BOOL},
        {"default_validator", CONFIG_TABLE, .keys = nri_validator},
        END,
};

static const ConfigKey runtime_task[] = {
        {"platforms", CONFIG_STRINGS, .make_value = default_platforms},
        END,
};

static const ConfigKey server_debug[] = {
        {"address", CONFIG_STRING},
        {"uid", CONFIG_INT},
        {"gid", CONFIG_INT},
        END,
};

static const ConfigKey server_grpc[] = {
        {"address", CONFIG_STRING, "'" CONFIG_DEFAULT_ADDRESS "'"},
        {"uid", CONFIG_INT, .make_value = effective_uid},
        {"gid", CONFIG_INT, .make_value = effective_gid},
        {"max_recv_message_size", CONFIG_INT, "16777216"},
        {"max_send_message_size", CONFIG_INT, "16777216"},
        END,
};

static const ConfigKey server_grpc_tcp[] = {
        {"address", CONFIG_STRING},
        {"tls_ca", CONFIG_STRING},
        {"tls_cert", CONFIG_STRING},
        {"tls_key", CONFIG_STRING},
        {"tls_common_name", CONFIG_STRING},
        {"max_recv_message_size", CONFIG_INT, "16777216"},
        {"max_send_message_size", CONFIG_INT, "16777216"},
        END,
};

static const ConfigKey server_metrics[] = {{"address", CONFIG_STRING}, END};

static const ConfigKey server_ttrpc[] = {
        {"address", CONFIG_STRING, "'" CONFIG_DEFAULT_ADDRESS ".ttrpc'"},
        {"uid", CONFIG_INT, .make_value = effective_uid},
        {"gid", CONFIG_INT, .make_value = effective_gid},
        END,
};

static const ConfigKey service_diff[] = {
        {"default", CONFIG_STRINGS, "['walking']"},
        {"sync_fs", CONFIG_BOOL},
        END,
};

static const ConfigKey service_tasks[] = {
        {"blockio_config_file", CONFIG_STRING},
        {"rdt_config_file", CONFIG_STRING},
        END,
};

static const ConfigKey shim_manager[] = {
        {"env", CONFIG_STRINGS},
        {"socket_dir", CONFIG_STRING},
        END,
};

static const ConfigKey snapshotter_blockfile[] = {
        {"root_path", CONFIG_STRING},      {"scratch_file", CONFIG_STRING},   {"fs_type", CONFIG_STRING},
        {"mount_options", CONFIG_STRINGS}, {"recreate_scratch", CONFIG_BOOL}, END,
};

static const ConfigKey snapshotter_devmapper[] = {
        {"root_path", CONFIG_STRING},       {"pool_name", CONFIG_STRING},
        {"base_image_size", CONFIG_STRING}, {"async_remove", CONFIG_BOOL},
        {"discard_blocks", CONFIG_BOOL},    {"fs_type", CONFIG_STRING},
        {"fs_options", CONFIG_STRING},      END,
};

static const ConfigKey snapshotter_erofs[] = {
        {"root_path", CONFIG_STRING},
        {"ovl_mount_options", CONFIG_STRINGS},
        {"enable_fsverity", CONFIG_BOOL},
        {"set_immutable", CONFIG_BOOL},
        {"default_size", CONFIG_STRING},
        {"dmverity_mode", CONFIG_STRING},
        END,
};

static const ConfigKey snapshotter_overlayfs[] = {
        {"root_path", CONFIG_STRING}, {"upperdir_label", CONFIG_BOOL},   {"sync_remove", CONFIG_BOOL},
        {"slow_chown", CONFIG_BOOL},  {"mount_options", CONFIG_STRINGS}, END,
};

static const ConfigKey tracing_otlp[] = {
        {"endpoint", CONFIG_STRING, .omit_empty = true},
        {"protocol", CONFIG_STRING, .omit_empty = true},
        {"insecure", CONFIG_BOOL, .omit_empty = true},
        END,
};

static const ConfigKey unpack_config[] = {
        {"platform", CONFIG_STRING},
        {"snapshotter", CONFIG_STRING},
        {"differ", CONFIG_STRING},
        {"config_type", CONFIG_STRING},
        {"layer_types", CONFIG_STRINGS},
        {"optional", CONFIG_BOOL},
        END,
};

static const ConfigKey transfer_local[] = {
        {"max_concurrent_downloads", CONFIG_INT, "3"},
        {"concurrent_layer_fetch_buffer", CONFIG_INT},
        {"max_concurrent_uploaded_layers", CONFIG_INT, "3"},
        {"check_platform_supported", CONFIG_BOOL},
        {"unpack_config", CONFIG_TABLES, .keys = unpack_config, .omit_empty = true},
        {"config_path", CONFIG_STRING},
        {"max_concurrent_unpacks", CONFIG_INT, "1"},
        {"pull_referrers", CONFIG_BOOL, .omit_empty = true}, // ours
        END,
};

#define SCHEMA(plugin_uri, plugin_keys)                                                                      \
	&(const ConfigSchema)                                                                                \
	{                                                                                                    \
		.uri = "io.containerd." plugin_uri, .keys = (plugin_keys)                                    \
	}

static const ConfigSchema *const schemas[] = {
        &schema_cri_images,
        &schema_cri_runtime,
        &schema_cri_server,
        SCHEMA("differ.v1.erofs", differ_erofs),
        SCHEMA("gc.v1.scheduler", gc_scheduler),
        SCHEMA("image-verifier.v1.bindir", image_verifier),
        SCHEMA("internal.v1.opt", internal_opt),
        SCHEMA("internal.v1.tracing", internal_tracing),
        SCHEMA("metadata.v1.bolt", metadata_bolt),
        SCHEMA("metrics.v1.grpc-prometheus", metrics_prometheus),
        SCHEMA("monitor.container.v1.restart", container_monitor),
        SCHEMA("monitor.task.v1.cgroups", task_monitor),
        SCHEMA("mount-handler.v1.erofs", none),
        SCHEMA("nri.v1.nri", nri),
        SCHEMA("runtime.v2.task", runtime_task),
        SCHEMA("server.v1.debug", server_debug),
        SCHEMA("server.v1.grpc", server_grpc),
        SCHEMA("server.v1.grpc-tcp", server_grpc_tcp),
        SCHEMA("server.v1.metrics", server_metrics),
        SCHEMA("server.v1.ttrpc", server_ttrpc),
        SCHEMA("service.v1.diff-service", service_diff),
        SCHEMA("service.v1.tasks-service", service_tasks),
        SCHEMA("shim.v1.manager", shim_manager),
        SCHEMA("snapshotter.v1.blockfile", snapshotter_blockfile),
        SCHEMA("snapshotter.v1.btrfs", root_path),
        SCHEMA("snapshotter.v1.devmapper", snapshotter_devmapper),
        SCHEMA("snapshotter.v1.erofs", snapshotter_erofs),
        SCHEMA("snapshotter.v1.native", root_path),
        SCHEMA("snapshotter.v1.overlayfs", snapshotter_overlayfs),
        SCHEMA("snapshotter.v1.zfs", root_path),
        SCHEMA("tracing.processor.v1.otlp", tracing_otlp),
        SCHEMA("transfer.v1.local", transfer_local),
};

const ConfigSchema *const *config_schemas(size_t *ret_n)
{
	*ret_n = G_N_ELEMENTS(schemas);
	return schemas;
}

const ConfigSchema *config_schema(const char *uri)
{
	for (size_t i = 0; i < G_N_ELEMENTS(schemas); i++) {
		if (strcmp(schemas[i]->uri, uri) == 0)
			return schemas[i];
	}
	return NULL;
}
