// SPDX-License-Identifier: Apache-2.0

/*
 * Configuration of older versions. Version 0 or 1 had short plugin names, 2 got full ones, 3 split CRI into
 * three plugins, 4 moved [grpc], [ttrpc], [metrics] and the debug socket into plugins. Upstream runs the
 * migrations of the file and of every plugin once for each version step; what they do is the same in one
 * pass, in this order: names, plugins, servers.
 *
 * Where upstream loses settings we keep them, on purpose: sched_core of a version 2 file (its second pass
 * overwrites the new section with an empty one), and a [shim.v1.manager] that stands beside
 * [runtime.v2.task]. Sections that are no tables are left as they are (upstream panics).
 */

#include "base/error.h"
#include "base/util.h"
#include "plugin/config-private.h"
#include <string.h>

#define URI(x) "io.containerd." x

/* ---- 1 to 2: names ---- */

static const struct {
	const char *name, *uri;
} v1_names[] = {
        {"cri", URI("grpc.v1.cri")},
        {"cgroups", URI("monitor.v1.cgroups")},
        {"linux", URI("runtime.v1.linux")},
        {"scheduler", URI("gc.v1.scheduler")},
        {"bolt", URI("metadata.v1.bolt")},
        {"task", URI("runtime.v2.task")},
        {"opt", URI("internal.v1.opt")},
        {"restart", URI("internal.v1.restart")},
        {"tracing", URI("internal.v1.tracing")},
        {"otlp", URI("tracing.processor.v1.otlp")},
        {"aufs", URI("snapshotter.v1.aufs")},
        {"btrfs", URI("snapshotter.v1.btrfs")},
        {"devmapper", URI("snapshotter.v1.devmapper")},
        {"native", URI("snapshotter.v1.native")},
        {"overlayfs", URI("snapshotter.v1.overlayfs")},
        {"zfs", URI("snapshotter.v1.zfs")},
};

static char *v1_uri(const char *name, Config *warnings)
{
	if (strchr(name, '.') != NULL)
		return g_strdup(name);
	for (size_t i = 0; i < G_N_ELEMENTS(v1_names); i++) {
		if (strcmp(v1_names[i].name, name) == 0)
			return g_strdup(v1_names[i].uri);
	}
	if (g_str_has_suffix(name, "-service"))
		return g_strconcat(URI("service.v1."), name, NULL);
	bool windows = strcmp(name, "windows") == 0 || strcmp(name, "windows-lcow") == 0;
	char *uri = g_strconcat(windows ? URI("snapshotter.v1.") : URI("grpc.v1."), name, NULL);
	config_add_warning(warnings, "Ambiguous %s plugin in v1 config, treating as %s", name, uri);
	return uri;
}

static void rename_list(TomlValue *table, const char *key, Config *warnings)
{
	const TomlValue *old = toml_get(table, key);

	if (old == NULL)
		return;
	TomlValue *renamed = toml_new_array();
	toml_set_position(renamed, old);
	for (size_t i = 0; i < toml_size(old); i++) {
		g_autofree char *uri = v1_uri(toml_string(toml_at(old, i)), warnings);

		toml_append(renamed, toml_new_string(uri));
	}
	toml_set(table, key, renamed);
}

static void migrate_names(TomlValue *table, Config *warnings)
{
	const TomlValue *old = toml_get(table, "plugins");

	if (old != NULL) {
		TomlValue *renamed = toml_new_table();

		toml_set_position(renamed, old);
		for (size_t i = 0; i < toml_size(old); i++) {
			g_autofree char *uri = v1_uri(toml_key_at(old, i), warnings);

			toml_set(renamed, uri, toml_copy(toml_at(old, i)));
		}
		toml_set(table, "plugins", renamed);
	}
	rename_list(table, "disabled_plugins", warnings);
	rename_list(table, "required_plugins", warnings);
}

/* ---- sections of plugins ---- */

/* A section, if it is a table. */
static TomlValue *section(TomlValue *plugins, const char *uri)
{
	return toml_get_typed(plugins, uri, TOML_TABLE);
}

static TomlValue *section_make(TomlValue *parent, const char *key, const TomlValue *position)
{
	TomlValue *v = toml_get_typed(parent, key, TOML_TABLE);

	if (v == NULL) {
		v = toml_new_table();
		toml_set_position(v, position);
		toml_set(parent, key, v);
	}
	return v;
}

static void move_section(TomlValue *plugins, const char *from, const char *to)
{
	TomlValue *v = toml_steal(plugins, from);

	if (v != NULL)
		toml_set(plugins, to, v);
}

/* [runtime.v2.task] sched_core = true is [shim.v1.manager] env = ["SCHED_CORE=1"]. */
static void migrate_shim(TomlValue *plugins, Config *warnings)
{
	TomlValue *task = section(plugins, URI("runtime.v2.task"));
	g_autoptr(TomlValue) sched_core = task != NULL ? toml_steal(task, "sched_core") : NULL;

	if (sched_core == NULL)
		return;
	if (toml_type(sched_core) != TOML_BOOLEAN) {
		g_autofree char *where = toml_where(sched_core);

		config_add_warning(warnings, "skipping migration for non-boolean 'sched_core' value at %s",
		                   where);
		return;
	}
	if (!toml_boolean(sched_core))
		return;
	TomlValue *manager = section_make(plugins, URI("shim.v1.manager"), sched_core);
	TomlValue *env = toml_get_typed(manager, "env", TOML_ARRAY);
	if (env == NULL) {
		env = toml_new_array();
		toml_set_position(env, sched_core);
		toml_set(manager, "env", env);
	}
	toml_append(env, toml_new_string("SCHED_CORE=1"));
}

static const char *const cri_image_keys[] = {
        "registry",
        "image_decryption",
        "max_concurrent_downloads",
        "image_pull_progress_timeout",
        "image_pull_with_sync_fs",
        "stats_collect_period",
        NULL,
};

static const char *const cri_image_containerd_keys[] = {
        "snapshotter",
        "disable_snapshot_annotations",
        "discard_unpacked_layers",
        NULL,
};

static const char *const cri_server_keys[] = {
        "disable_tcp_service",
        "stream_server_address",
        "stream_server_port",
        "stream_idle_timeout",
        "enable_tls_streaming",
        "x509_key_pair_streaming",
        NULL,
};

static void copy_keys(TomlValue *dst, const TomlValue *src, const char *const *keys)
{
	for (; *keys != NULL; keys++) {
		const TomlValue *v = toml_get(src, *keys);

		if (v != NULL)
			toml_set(dst, *keys, toml_copy(v));
	}
}

static void migrate_cri_images(TomlValue *plugins, const TomlValue *src)
{
	TomlValue *dst = section_make(plugins, URI("cri.v1.images"), src);
	const TomlValue *sandbox_image = toml_get(src, "sandbox_image");
	const TomlValue *containerd = toml_get_typed(src, "containerd", TOML_TABLE);

	if (sandbox_image != NULL)
		toml_set(section_make(dst, "pinned_images", sandbox_image), "sandbox",
		         toml_copy(sandbox_image));
	copy_keys(dst, src, cri_image_keys);
	if (containerd != NULL)
		copy_keys(dst, containerd, cri_image_containerd_keys);
}

static void set_missing(TomlValue *dst, const char *key, const TomlValue *v)
{
	if (toml_get(dst, key) == NULL)
		toml_set(dst, key, toml_copy(v));
}

/* bin_dir becomes bin_dirs unless that names something. */
static void migrate_cni(TomlValue *dst, const TomlValue *src)
{
	for (size_t i = 0; i < toml_size(src); i++) {
		if (strcmp(toml_key_at(src, i), "bin_dir") != 0)
			set_missing(dst, toml_key_at(src, i), toml_at(src, i));
	}
	const TomlValue *bin_dir = toml_get(src, "bin_dir");
	const TomlValue *bin_dirs = toml_get_typed(dst, "bin_dirs", TOML_ARRAY);
	if (bin_dir == NULL || (bin_dirs != NULL && toml_size(bin_dirs) > 0))
		return;
	TomlValue *moved = toml_new_array();
	toml_set_position(moved, bin_dir);
	toml_append(moved, toml_copy(bin_dir));
	toml_set(dst, "bin_dirs", moved);
}

static void migrate_runtimes(TomlValue *runtimes)
{
	for (size_t i = 0; i < toml_size(runtimes); i++) {
		TomlValue *r = toml_at(runtimes, i);

		if (toml_type(r) != TOML_TABLE || toml_get(r, "sandboxer") != NULL)
			continue;
		TomlValue *mode = toml_steal(r, "sandbox_mode");
		if (mode != NULL)
			toml_set(r, "sandboxer", mode);
	}
}

static void migrate_cri_containerd(TomlValue *dst, const TomlValue *src)
{
	for (size_t i = 0; i < toml_size(src); i++) {
		if (!g_strv_contains(cri_image_containerd_keys, toml_key_at(src, i)))
			set_missing(dst, toml_key_at(src, i), toml_at(src, i));
	}
	TomlValue *runtimes = toml_get_typed(dst, "runtimes", TOML_TABLE);
	if (runtimes != NULL)
		migrate_runtimes(runtimes);
}

static void migrate_cri_runtime(TomlValue *plugins, const TomlValue *src)
{
	TomlValue *dst = section_make(plugins, URI("cri.v1.runtime"), src);

	for (size_t i = 0; i < toml_size(src); i++) {
		const char *key = toml_key_at(src, i);
		const TomlValue *v = toml_at(src, i);

		if (g_strv_contains(cri_image_keys, key) || g_strv_contains(cri_server_keys, key) ||
		    strcmp(key, "sandbox_image") == 0)
			continue;
		// a cni or containerd that is no table is dropped, as upstream does
		if (strcmp(key, "cni") == 0) {
			if (toml_type(v) == TOML_TABLE)
				migrate_cni(section_make(dst, key, v), v);
		} else if (strcmp(key, "containerd") == 0) {
			if (toml_type(v) == TOML_TABLE)
				migrate_cri_containerd(section_make(dst, key, v), v);
		} else {
			set_missing(dst, key, v);
		}
	}
}

static void migrate_cri(TomlValue *plugins)
{
	const TomlValue *src = section(plugins, URI("grpc.v1.cri"));

	if (src == NULL)
		return;
	migrate_cri_runtime(plugins, src);
	migrate_cri_images(plugins, src);
	TomlValue *server = toml_new_table();
	toml_set_position(server, src);
	copy_keys(server, src, cri_server_keys);
	toml_set(plugins, URI("grpc.v1.cri"), server);
}

/* ---- 3 to 4: servers ---- */

/* A value of a top-level table unless it is empty: "", 0 and false count as not set. Borrowed. */
static const TomlValue *legacy(const TomlValue *table, const char *group, const char *key)
{
	const TomlValue *t = toml_get(table, group);
	const TomlValue *v = t != NULL ? toml_get(t, key) : NULL;

	return v != NULL && !toml_is_empty(v) ? v : NULL;
}

static void set_copy(TomlValue *dst, const char *key, const TomlValue *v)
{
	if (v != NULL)
		toml_set(dst, key, toml_copy(v));
}

static void set_copy_or_zero(TomlValue *dst, const char *key, const TomlValue *v)
{
	toml_set(dst, key, v != NULL ? toml_copy(v) : toml_new_integer(0));
}

static void remove_keys(TomlValue *table, const char *group, const char *const *keys)
{
	TomlValue *t = toml_get(table, group);

	for (; t != NULL && *keys != NULL; keys++)
		toml_remove(t, *keys);
}

static void migrate_debug(const TomlValue *table, TomlValue *plugins)
{
	const TomlValue *address = legacy(table, "debug", "address");

	if (address == NULL || toml_get(plugins, URI("server.v1.debug")) != NULL)
		return;
	TomlValue *dst = section_make(plugins, URI("server.v1.debug"), address);
	set_copy(dst, "address", address);
	set_copy_or_zero(dst, "uid", legacy(table, "debug", "uid"));
	set_copy_or_zero(dst, "gid", legacy(table, "debug", "gid"));
}

static void migrate_grpc(const TomlValue *table, TomlValue *plugins)
{
	const TomlValue *address = legacy(table, "grpc", "address");
	const TomlValue *uid = legacy(table, "grpc", "uid"), *gid = legacy(table, "grpc", "gid");
	const TomlValue *recv = legacy(table, "grpc", "max_recv_message_size");
	const TomlValue *send = legacy(table, "grpc", "max_send_message_size");
	const TomlValue *first = address != NULL ? address
	                         : uid != NULL   ? uid
	                         : gid != NULL   ? gid
	                         : recv != NULL  ? recv
	                                         : send;

	if (first == NULL || toml_get(plugins, URI("server.v1.grpc")) != NULL)
		return;
	TomlValue *dst = section_make(plugins, URI("server.v1.grpc"), first);
	set_copy(dst, "address", address);
	if (address != NULL) { // 0 and not set were the same
		set_copy_or_zero(dst, "uid", uid);
		set_copy_or_zero(dst, "gid", gid);
	} else {
		set_copy(dst, "uid", uid);
		set_copy(dst, "gid", gid);
	}
	set_copy(dst, "max_recv_message_size", recv);
	set_copy(dst, "max_send_message_size", send);
}

static void migrate_grpc_tcp(const TomlValue *table, TomlValue *plugins)
{
	static const char *const names[][2] = {
	        {"tcp_tls_ca", "tls_ca"},
	        {"tcp_tls_cert", "tls_cert"},
	        {"tcp_tls_key", "tls_key"},
	        {"tcp_tls_common_name", "tls_common_name"},
	        {"max_recv_message_size", "max_recv_message_size"},
	        {"max_send_message_size", "max_send_message_size"},
	};
	const TomlValue *address = legacy(table, "grpc", "tcp_address");

	if (address == NULL || toml_get(plugins, URI("server.v1.grpc-tcp")) != NULL)
		return;
	TomlValue *dst = section_make(plugins, URI("server.v1.grpc-tcp"), address);
	set_copy(dst, "address", address);
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		set_copy(dst, names[i][1], legacy(table, "grpc", names[i][0]));
}

/* Without an address of its own ttrpc's is derived from gRPC's, with the owner. */
static void migrate_ttrpc(const TomlValue *table, TomlValue *plugins)
{
	const TomlValue *address = legacy(table, "ttrpc", "address");
	const TomlValue *grpc_address = legacy(table, "grpc", "address");
	const TomlValue *uid = legacy(table, "ttrpc", "uid"), *gid = legacy(table, "ttrpc", "gid");

	if (toml_get(plugins, URI("server.v1.ttrpc")) != NULL)
		return;
	g_autoptr(TomlValue) derived = NULL;
	if (address == NULL && grpc_address != NULL) {
		g_autofree char *text = g_strconcat(toml_string(grpc_address), ".ttrpc", NULL);

		derived = toml_new_string(text);
		toml_set_position(derived, grpc_address);
		address = derived;
		uid = uid != NULL ? uid : legacy(table, "grpc", "uid");
		gid = gid != NULL ? gid : legacy(table, "grpc", "gid");
	}
	const TomlValue *first = address != NULL ? address : uid != NULL ? uid : gid;
	if (first == NULL)
		return;
	TomlValue *dst = section_make(plugins, URI("server.v1.ttrpc"), first);
	toml_set(dst, "address", address != NULL ? toml_copy(address) : toml_new_string(""));
	set_copy_or_zero(dst, "uid", uid);
	set_copy_or_zero(dst, "gid", gid);
}

static void migrate_metrics(const TomlValue *table, TomlValue *plugins)
{
	const TomlValue *histogram = legacy(table, "metrics", "grpc_histogram");
	const TomlValue *address = legacy(table, "metrics", "address");

	if (histogram != NULL && toml_get(plugins, URI("metrics.v1.grpc-prometheus")) == NULL)
		set_copy(section_make(plugins, URI("metrics.v1.grpc-prometheus"), histogram),
		         "grpc_histogram", histogram);
	if (address != NULL && toml_get(plugins, URI("server.v1.metrics")) == NULL)
		set_copy(section_make(plugins, URI("server.v1.metrics"), address), "address", address);
}

static void migrate_servers(TomlValue *table, TomlValue *plugins)
{
	migrate_debug(table, plugins);
	migrate_grpc(table, plugins);
	migrate_grpc_tcp(table, plugins);
	migrate_ttrpc(table, plugins);
	migrate_metrics(table, plugins);
	remove_keys(table, "debug", (const char *const[]){"address", "uid", "gid", NULL});
	toml_remove(table, "grpc");
	toml_remove(table, "ttrpc");
	toml_remove(table, "metrics");
}

/* What dst does not have. */
static void merge_missing(TomlValue *dst, const TomlValue *src)
{
	for (size_t i = 0; i < toml_size(src); i++) {
		const char *key = toml_key_at(src, i);
		TomlValue *there = toml_get(dst, key);

		if (there == NULL)
			toml_set(dst, key, toml_copy(toml_at(src, i)));
		else if (toml_type(there) == TOML_TABLE && toml_type(toml_at(src, i)) == TOML_TABLE)
			merge_missing(there, toml_at(src, i));
	}
}

/* [plugins.cri] is how version 1 calls CRI, and many a file of a later version does so, too. Upstream ignores
 * it there, and with it the mirrors that people think they have. */
static void take_short_cri(TomlValue *plugins, Config *warnings)
{
	if (section(plugins, "cri") == NULL)
		return;
	g_autoptr(TomlValue) src = toml_steal(plugins, "cri");
	g_autofree char *where = toml_where(src);

	config_add_warning(warnings,
	                   "[plugins.cri] at %s is a name of version 1, treating as "
	                   "[plugins.\"io.containerd.grpc.v1.cri\"]",
	                   where);
	merge_missing(section_make(plugins, URI("grpc.v1.cri"), src), src);
}

bool config_migrate(TomlValue *table, Config *warnings, GError **error)
{
	const TomlValue *version = toml_get(table, "version");
	int64_t from = version != NULL ? toml_integer(version) : 0;

	if (from < 0 || from >= CONFIG_VERSION)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "configuration version %" G_GINT64_FORMAT " cannot be migrated", from);
	if (from < 2)
		migrate_names(table, warnings);
	TomlValue *plugins = section_make(table, "plugins", table);
	if (from >= 2)
		take_short_cri(plugins, warnings);
	migrate_shim(plugins, warnings);
	move_section(plugins, URI("monitor.v1.cgroups"), URI("monitor.task.v1.cgroups"));
	move_section(plugins, URI("internal.v1.restart"), URI("monitor.container.v1.restart"));
	migrate_cri(plugins);
	migrate_servers(table, plugins);
	toml_set(table, "version", toml_new_integer(CONFIG_VERSION));
	return true;
}
