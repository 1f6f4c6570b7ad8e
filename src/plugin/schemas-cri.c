// SPDX-License-Identifier: Apache-2.0

/*
 * The three sections of CRI (internal/cri/config): keys, defaults, and the checks of its Validate functions
 * with their texts. They stand apart from cri/ so that a node's file is known and checked before the CRI
 * plugin runs, and because `config migrate` needs them.
 */

#include "base/error.h"
#include "base/time.h"
#include "base/util.h"
#include "plugin/schemas-private.h"
#include <string.h>

#define END                                                                                                  \
	{                                                                                                    \
		.name = NULL                                                                                 \
	}

#define DEPRECATION(id) ((gpointer) "io.containerd.deprecation/" id)

/* ---- images ---- */

static const ConfigKey platform_of_runtime[] = {
        {"platform", CONFIG_STRING},
        {"snapshotter", CONFIG_STRING},
        END,
};

static const ConfigKey mirror[] = {{"endpoint", CONFIG_STRINGS}, END};

static const ConfigKey auth[] = {
        {"username", CONFIG_STRING},
        {"password", CONFIG_STRING},
        {"auth", CONFIG_STRING},
        {"identitytoken", CONFIG_STRING},
        END,
};

/* Gone from upstream since 2.0; who upgrades has them all the same. */
static const ConfigKey tls[] = {
        {"ca_file", CONFIG_STRING},
        {"cert_file", CONFIG_STRING},
        {"key_file", CONFIG_STRING},
        {"insecure_skip_verify", CONFIG_BOOL},
        END,
};

static const ConfigKey registry_config[] = {
        {"auth", CONFIG_TABLE, .keys = auth, .optional = true},
        {"tls", CONFIG_TABLE, .keys = tls, .optional = true},
        END,
};

static const ConfigKey registry[] = {
        {"config_path", CONFIG_STRING},
        {"mirrors", CONFIG_TABLE_MAP, .keys = mirror},
        {"configs", CONFIG_TABLE_MAP, .keys = registry_config},
        {"auths", CONFIG_TABLE_MAP, .keys = auth},
        {"headers", CONFIG_STRINGS_MAP},
        END,
};

static const ConfigKey image_decryption[] = {{"key_model", CONFIG_STRING, "'node'"}, END};

static const ConfigKey images[] = {
        {"snapshotter", CONFIG_STRING, "'overlayfs'"},
        {"disable_snapshot_annotations", CONFIG_BOOL, "true"},
        {"discard_unpacked_layers", CONFIG_BOOL},
        {"pinned_images", CONFIG_STRING_MAP, "{sandbox = 'registry.k8s.io/pause:3.10.2'}"},
        {"runtime_platforms", CONFIG_TABLE_MAP, .keys = platform_of_runtime},
        {"registry", CONFIG_TABLE, .keys = registry},
        {"image_decryption", CONFIG_TABLE, .keys = image_decryption},
        {"max_concurrent_downloads", CONFIG_INT, "3"},
        {"concurrent_layer_fetch_buffer", CONFIG_INT},
        {"image_pull_progress_timeout", CONFIG_STRING, "'5m0s'"},
        {"image_pull_with_sync_fs", CONFIG_BOOL},
        {"stats_collect_period", CONFIG_INT, "10"},
        {"use_local_image_pull", CONFIG_BOOL},
        END,
};

/* A duration that upstream keeps as a string: empty is none, a bad one fails the plugin only. */
static bool check_duration(const TomlValue *view, const char *key, const char *text, GError **error)
{
	int64_t ns = 0;

	if (str_empty(conf_string(view, key)) || duration_parse(conf_string(view, key), &ns, error))
		return true;
	return error_prefix(error, "%s", text);
}

static bool has_entries(const TomlValue *view, const char *path)
{
	const TomlValue *table = conf_table(view, path);

	return table != NULL && toml_size(table) > 0;
}

/* What to write instead: the first mirror as it stands in a hosts.toml. */
static bool fail_mirrors(const TomlValue *view, GError **error)
{
	const TomlValue *mirrors = conf_table(view, "registry.mirrors");
	const char *name = toml_key_at(mirrors, 0);
	g_auto(GStrv) endpoints = conf_strings(toml_at(mirrors, 0), "endpoint");
	g_auto(GStrv) dirs = g_strsplit(conf_string(view, "registry.config_path"), ":", 2);
	g_autofree char *where = toml_where(toml_at(mirrors, 0));

	return error_set(error, CTRD_ERR_UNKNOWN,
	                 "invalid cri image config: `mirrors` cannot be set when `config_path` is provided: "
	                 "write [host.%s] into %s/%s/hosts.toml instead of what stands at %s",
	                 Q(endpoints[0] != NULL ? endpoints[0] : "https://mirror.example"), dirs[0],
	                 strcmp(name, "*") == 0 ? "_default" : name, where);
}

/* 1.x refused this too. */
static bool check_tls(const TomlValue *view, GError **error)
{
	const TomlValue *configs = conf_table(view, "registry.configs");

	for (size_t i = 0; configs != NULL && i < toml_size(configs); i++) {
		const TomlValue *keys = toml_get(toml_at(configs, i), "tls");
		if (keys == NULL)
			continue;
		g_auto(GStrv) dirs = g_strsplit(conf_string(view, "registry.config_path"), ":", 2);
		g_autofree char *where = toml_where(keys);
		return error_set(
		        error, CTRD_ERR_UNKNOWN,
		        "invalid cri image config: `configs.tls` cannot be set when `config_path` is "
		        "provided: write ca, client or skip_verify into %s/%s/hosts.toml instead of what "
		        "stands at %s",
		        dirs[0], toml_key_at(configs, i), where);
	}
	return true;
}

static bool validate_images(TomlValue *view, GPtrArray *deprecations, GError **error)
{
	TomlValue *registry_view = conf_table(view, "registry");

	if (!str_empty(conf_string(view, "registry.config_path")) && !check_tls(view, error))
		return false;
	if (str_empty(conf_string(view, "registry.config_path")) && !has_entries(view, "registry.mirrors"))
		toml_set(registry_view, "config_path",
		         toml_new_string("/etc/containerd/certs.d:/etc/docker/certs.d"));
	if (has_entries(view, "registry.mirrors")) {
		if (!str_empty(conf_string(view, "registry.config_path")))
			return fail_mirrors(view, error);
		g_ptr_array_add(deprecations, DEPRECATION("cri-registry-mirrors"));
	}
	if (has_entries(view, "registry.configs"))
		g_ptr_array_add(deprecations, DEPRECATION("cri-registry-configs"));
	if (has_entries(view, "registry.auths"))
		g_ptr_array_add(deprecations, DEPRECATION("cri-registry-auths"));
	return check_duration(view, "image_pull_progress_timeout",
	                      "invalid cri image config: invalid image pull progress timeout", error);
}

const ConfigSchema schema_cri_images = {
        .uri = "io.containerd.cri.v1.images",
        .keys = images,
        .validate = validate_images,
};

/* ---- runtime ---- */

static const ConfigKey runtime[] = {
        {"runtime_type", CONFIG_STRING},
        {"runtime_path", CONFIG_STRING},
        {"pod_annotations", CONFIG_STRINGS},
        {"container_annotations", CONFIG_STRINGS},
        {"options", CONFIG_ANY_MAP},
        {"privileged_without_host_devices", CONFIG_BOOL},
        {"privileged_without_host_devices_all_devices_allowed", CONFIG_BOOL},
        {"cgroup_writable", CONFIG_BOOL},
        {"base_runtime_spec", CONFIG_STRING},
        {"cni_conf_dir", CONFIG_STRING},
        {"cni_max_conf_num", CONFIG_INT},
        {"snapshotter", CONFIG_STRING},
        {"sandboxer", CONFIG_STRING},
        {"io_type", CONFIG_STRING},
        END,
};

#define DEFAULT_RUNTIMES                                                                                     \
	"{runc = {runtime_type = 'io.containerd.runc.v2', sandboxer = 'podsandbox', options = {"             \
	"BinaryName = '', CriuImagePath = '', CriuWorkPath = '', IoGid = 0, IoUid = 0, "                     \
	"NoNewKeyring = false, Root = '', ShimCgroup = '', SystemdCgroup = false}}}"

static const ConfigKey containerd[] = {
        {"default_runtime_name", CONFIG_STRING, "'runc'"},
        {"runtimes", CONFIG_TABLE_MAP, DEFAULT_RUNTIMES, .keys = runtime},
        {"ignore_blockio_not_enabled_errors", CONFIG_BOOL},
        {"ignore_rdt_not_enabled_errors", CONFIG_BOOL},
        END,
};

static const ConfigKey cni[] = {
        {"bin_dir", CONFIG_STRING},
        {"bin_dirs", CONFIG_STRINGS, "['/opt/cni/bin']"},
        {"conf_dir", CONFIG_STRING, "'/etc/cni/net.d'"},
        {"max_conf_num", CONFIG_INT, "1"},
        {"setup_serially", CONFIG_BOOL},
        {"conf_template", CONFIG_STRING},
        {"ip_pref", CONFIG_STRING},
        {"use_internal_loopback", CONFIG_BOOL},
        END,
};

static const ConfigKey cri_runtime[] = {
        {"containerd", CONFIG_TABLE, .keys = containerd},
        {"cni", CONFIG_TABLE, .keys = cni},
        {"enable_selinux", CONFIG_BOOL},
        {"selinux_category_range", CONFIG_INT, "1024"},
        {"max_container_log_line_size", CONFIG_INT, "16384"},
        {"disable_apparmor", CONFIG_BOOL},
        {"restrict_oom_score_adj", CONFIG_BOOL},
        {"disable_proc_mount", CONFIG_BOOL},
        {"unset_seccomp_profile", CONFIG_STRING},
        {"tolerate_missing_hugetlb_controller", CONFIG_BOOL, "true"},
        {"disable_hugetlb_controller", CONFIG_BOOL, "true"},
        {"device_ownership_from_security_context", CONFIG_BOOL},
        {"ignore_image_defined_volumes", CONFIG_BOOL},
        {"netns_mounts_under_state_dir", CONFIG_BOOL},
        {"enable_unprivileged_ports", CONFIG_BOOL, "true"},
        {"enable_unprivileged_icmp", CONFIG_BOOL, "true"},
        {"enable_cdi", CONFIG_BOOL, "true"},
        {"cdi_spec_dirs", CONFIG_STRINGS, "['/etc/cdi', '/var/run/cdi']"},
        {"drain_exec_sync_io_timeout", CONFIG_STRING, "'0s'"},
        {"ignore_deprecation_warnings", CONFIG_STRINGS},
        {"stats_collect_period", CONFIG_STRING},
        {"stats_retention_period", CONFIG_STRING},
        {"enable_criu", CONFIG_BOOL, "true"},
        {"enable_experimental_restore_via_create", CONFIG_BOOL},
        END,
};

static bool validate_runtimes(TomlValue *runtimes, GError **error)
{
	for (size_t i = 0; i < toml_size(runtimes); i++) {
		TomlValue *r = toml_at(runtimes, i);

		if (conf_bool(r, "privileged_without_host_devices_all_devices_allowed") &&
		    !conf_bool(r, "privileged_without_host_devices"))
			return error_set(error, CTRD_ERR_UNKNOWN,
			                 "invalid plugin config: "
			                 "`privileged_without_host_devices_all_devices_allowed` requires "
			                 "`privileged_without_host_devices` to be enabled");
		if (str_empty(conf_string(r, "sandboxer")))
			toml_set(r, "sandboxer", toml_new_string("podsandbox"));
		if (str_empty(conf_string(r, "io_type")))
			toml_set(r, "io_type", toml_new_string("fifo"));
		if (strcmp(conf_string(r, "io_type"), "fifo") != 0 &&
		    strcmp(conf_string(r, "io_type"), "streaming") != 0)
			return error_set(error, CTRD_ERR_UNKNOWN,
			                 "invalid plugin config: `io_type` can only be `streaming` or "
			                 "`named_pipe`");
	}
	return true;
}

/* bin_dir moves into bin_dirs, unless both are set to something. */
static bool validate_cni(TomlValue *view, GPtrArray *deprecations, GError **error)
{
	TomlValue *cni_view = conf_table(view, "cni");
	g_auto(GStrv) dirs = conf_strings(cni_view, "bin_dirs");
	static const char *const defaults[] = {"/opt/cni/bin", NULL};

	if (str_empty(conf_string(cni_view, "bin_dir")))
		return true;
	g_ptr_array_add(deprecations, DEPRECATION("cri-cni-bin-dir"));
	if (dirs[0] != NULL && !g_strv_equal((const gchar *const *)dirs, defaults))
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "invalid plugin config: `cni.bin_dir` and `cni.bin_dirs` cannot be set at "
		                 "the same time");
	TomlValue *moved = toml_new_array();
	toml_append(moved, toml_new_string(conf_string(cni_view, "bin_dir")));
	toml_set(cni_view, "bin_dirs", moved);
	toml_set(cni_view, "bin_dir", toml_new_string(""));
	return true;
}

static bool validate_runtime(TomlValue *view, GPtrArray *deprecations, GError **error)
{
	TomlValue *runtimes = conf_table(view, "containerd.runtimes");
	const char *name = conf_string(view, "containerd.default_runtime_name");

	if (str_empty(name))
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "invalid plugin config: `default_runtime_name` is empty");
	if (runtimes == NULL || toml_get(runtimes, name) == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "invalid plugin config: no corresponding runtime configured in "
		                 "`containerd.runtimes` for `containerd` `default_runtime_name = \"%s\"",
		                 name);
	if (!validate_cni(view, deprecations, error) || !validate_runtimes(runtimes, error))
		return false;
	if (!check_duration(view, "drain_exec_sync_io_timeout",
	                    "invalid plugin config: invalid `drain_exec_sync_io_timeout`", error) ||
	    !check_duration(view, "stats_collect_period",
	                    "invalid plugin config: invalid `stats_collect_period`", error) ||
	    !check_duration(view, "stats_retention_period",
	                    "invalid plugin config: invalid `stats_retention_period`", error))
		return false;
	if (!conf_bool(view, "enable_cdi"))
		g_ptr_array_add(deprecations, DEPRECATION("enable-cdi"));
	return true;
}

const ConfigSchema schema_cri_runtime = {
        .uri = "io.containerd.cri.v1.runtime",
        .keys = cri_runtime,
        .validate = validate_runtime,
};

/* ---- server ---- */

static const ConfigKey x509_key_pair[] = {
        {"tls_cert_file", CONFIG_STRING},
        {"tls_key_file", CONFIG_STRING},
        END,
};

static const ConfigKey cri_server[] = {
        {"disable_tcp_service", CONFIG_BOOL, "true"},
        {"stream_server_address", CONFIG_STRING, "'127.0.0.1'"},
        {"stream_server_port", CONFIG_STRING, "'0'"},
        {"stream_idle_timeout", CONFIG_STRING, "'4h0m0s'"},
        {"enable_tls_streaming", CONFIG_BOOL},
        {"x509_key_pair_streaming", CONFIG_TABLE, .keys = x509_key_pair},
        END,
};

static bool validate_server(TomlValue *view, GPtrArray *deprecations, GError **error)
{
	return check_duration(view, "stream_idle_timeout",
	                      "invalid cri image config: invalid stream idle timeout", error);
}

const ConfigSchema schema_cri_server = {
        .uri = "io.containerd.grpc.v1.cri",
        .keys = cri_server,
        .validate = validate_server,
};
