// SPDX-License-Identifier: Apache-2.0
#include "oci/runtime-spec.h"
#include "base/error.h"
#include "base/util.h"
#include <string.h>

static const char *const default_caps[] = {
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FSETID",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_NET_RAW",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETFCAP",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT",
        "CAP_KILL",
        "CAP_AUDIT_WRITE",
        NULL,
};
static const char *const masked_paths[] = {
        "/proc/acpi",          "/proc/asound",
        "/proc/kcore",         "/proc/keys",
        "/proc/latency_stats", "/proc/timer_list",
        "/proc/timer_stats",   "/proc/sched_debug",
        "/sys/firmware",       "/sys/devices/virtual/powercap",
        "/proc/scsi",          NULL,
};
static const char *const readonly_paths[] = {
        "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL,
};
static const char *const default_namespaces[] = {"pid", "ipc", "uts", "mount", "network", NULL};

static const struct {
	const char *destination, *type, *source;
	const char *options[7];
} default_mounts[] = {
        {"/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}},
        {"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}},
        {"/dev/pts",
         "devpts",
         "devpts",
         {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
        {"/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
        {"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}},
        {"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}},
        {"/run", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}},
};

/* Character devices that every container may use: null, random, full, tty, zero, urandom, console, pts (all
 * minors), ptmx. */
static const struct {
	int major, minor;
} default_devices[] = {{1, 3}, {1, 8}, {1, 7}, {5, 0}, {1, 5}, {1, 9}, {5, 1}, {136, -1}, {5, 2}};

/* Upstream writes 1.3.0. Nothing here needs more than 1.1.0, and crun before 1.9 (Debian 12's) refuses what
 * is newer: `unknown version specified`. */
#define SPEC_VERSION "1.1.0"

/* ---- parts, made where missing ---- */

static JsonObject *sub_object(JsonObject *o, const char *key)
{
	JsonObject *sub = json_get_object(o, key);
	if (sub == NULL) {
		sub = json_object_new_object();
		json_set(o, key, sub);
	}
	return sub;
}

static JsonObject *sub_array(JsonObject *o, const char *key)
{
	JsonObject *sub = json_get_array(o, key);
	if (sub == NULL) {
		sub = json_object_new_array();
		json_set(o, key, sub);
	}
	return sub;
}

static JsonObject *process_of(JsonObject *spec)
{
	return sub_object(spec, "process");
}

static JsonObject *linux_of(JsonObject *spec)
{
	return sub_object(spec, "linux");
}

static JsonObject *resources_of(JsonObject *spec)
{
	return sub_object(linux_of(spec), "resources");
}

static JsonObject *strings(const char *const *list)
{
	JsonObject *a = json_object_new_array();
	for (; list != NULL && *list != NULL; list++)
		json_object_array_add(a, json_object_new_string(*list));
	return a;
}

static void set_uint64(JsonObject *o, const char *key, uint64_t n)
{
	json_set(o, key, json_object_new_uint64(n));
}

static JsonObject *device_rule(bool allow, const char *type, int64_t major, int64_t minor, const char *access)
{
	JsonObject *rule = json_object_new_object();
	json_set(rule, "allow", json_object_new_boolean(allow));
	json_set_string(rule, "type", type);
	if (major >= 0)
		json_set_int64(rule, "major", major);
	if (minor >= 0)
		json_set_int64(rule, "minor", minor);
	json_set_string(rule, "access", access);
	return rule;
}

/* ---- the default ---- */

static JsonObject *new_process(void)
{
	JsonObject *process = json_object_new_object(), *user = json_object_new_object();
	JsonObject *caps = json_object_new_object();
	json_set_int64(user, "uid", 0);
	json_set_int64(user, "gid", 0);
	json_set(process, "user", user);
	json_set_string(process, "cwd", "/");
	json_set(caps, "bounding", strings(default_caps));
	json_set(caps, "effective", strings(default_caps));
	json_set(caps, "permitted", strings(default_caps));
	json_set(process, "capabilities", caps);
	json_set(process, "noNewPrivileges", json_object_new_boolean(true));
	return process;
}

static JsonObject *new_linux(const char *ns, const char *id)
{
	JsonObject *linux_ = json_object_new_object(), *resources = json_object_new_object();
	JsonObject *rules = json_object_new_array(), *namespaces = json_object_new_array();
	json_object_array_add(rules, device_rule(false, NULL, -1, -1, "rwm"));
	for (size_t i = 0; i < G_N_ELEMENTS(default_devices); i++)
		json_object_array_add(rules, device_rule(true, "c", default_devices[i].major,
		                                         default_devices[i].minor, "rwm"));
	json_set(resources, "devices", rules);
	json_set(linux_, "resources", resources);
	g_autofree char *cgroup = g_build_path("/", "/", ns, id, NULL);
	json_set_string(linux_, "cgroupsPath", cgroup);
	for (const char *const *n = default_namespaces; *n != NULL; n++) {
		JsonObject *o = json_object_new_object();
		json_set_string(o, "type", *n);
		json_object_array_add(namespaces, o);
	}
	json_set(linux_, "namespaces", namespaces);
	json_set(linux_, "maskedPaths", strings(masked_paths));
	json_set(linux_, "readonlyPaths", strings(readonly_paths));
	return linux_;
}

JsonObject *spec_new(const char *ns, const char *id)
{
	JsonObject *spec = json_object_new_object(), *root = json_object_new_object();
	json_set_string(spec, "ociVersion", SPEC_VERSION);
	json_set(spec, "process", new_process());
	spec_set_rlimit(spec, "RLIMIT_NOFILE", 1024, 1024);
	json_set_string(root, "path", "rootfs");
	json_set(spec, "root", root);
	for (size_t i = 0; i < G_N_ELEMENTS(default_mounts); i++)
		spec_add_mount(spec, default_mounts[i].type, default_mounts[i].source,
		               default_mounts[i].destination, default_mounts[i].options);
	json_set(spec, "linux", new_linux(ns, id));
	return spec;
}

/* ---- process ---- */

void spec_set_args(JsonObject *spec, const char *const *args)
{
	json_set(process_of(spec), "args", strings(args));
}

void spec_set_cwd(JsonObject *spec, const char *cwd)
{
	json_set_string(process_of(spec), "cwd", cwd);
}

/* The position of NAME in a list of NAME=value, or -1. */
static int env_find(GPtrArray *env, const char *name, size_t len)
{
	for (guint i = 0; i < env->len; i++) {
		const char *e = env->pdata[i];
		if (strncmp(e, name, len) == 0 && (e[len] == '=' || e[len] == '\0'))
			return (int)i;
	}
	return -1;
}

static void env_merge(GPtrArray *env, const char *const *overrides)
{
	for (; overrides != NULL && *overrides != NULL; overrides++) {
		const char *equals = strchr(*overrides, '=');
		int at = env_find(env, *overrides,
		                  equals != NULL ? (size_t)(equals - *overrides) : strlen(*overrides));
		if (equals == NULL) {
			if (at >= 0)
				g_ptr_array_remove_index(env, (guint)at);
		} else if (at >= 0) {
			g_free(env->pdata[at]);
			env->pdata[at] = g_strdup(*overrides);
		} else {
			g_ptr_array_add(env, g_strdup(*overrides));
		}
	}
}

static void env_store(JsonObject *spec, GPtrArray *env)
{
	g_ptr_array_add(env, NULL);
	json_set(process_of(spec), "env", strings((const char *const *)env->pdata));
}

static char **env_of(JsonObject *spec)
{
	char **env = NULL;
	if (!json_get_strv(process_of(spec), "env", &env, NULL) || env == NULL)
		env = g_new0(char *, 1);
	return env;
}

void spec_add_env(JsonObject *spec, const char *const *env)
{
	g_auto(GStrv) old = env_of(spec);
	g_autoptr(GPtrArray) merged = g_ptr_array_new_with_free_func(g_free);
	for (char **e = old; *e != NULL; e++)
		g_ptr_array_add(merged, g_strdup(*e));
	env_merge(merged, env);
	env_store(spec, merged);
}

void spec_set_image(JsonObject *spec, const ImageConfig *config, const char *const *args)
{
	static const char default_path[] =
	        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	/* what the spec has already wins over the image's */
	g_auto(GStrv) own = env_of(spec);
	g_autoptr(GPtrArray) env = g_ptr_array_new_with_free_func(g_free);
	for (char **e = config->env; *e != NULL; e++)
		g_ptr_array_add(env, g_strdup(*e));
	if (env->len == 0)
		g_ptr_array_add(env, g_strdup(default_path));
	env_merge(env, (const char *const *)own);
	env_store(spec, env);
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	for (char **e = config->entrypoint; *e != NULL; e++)
		g_ptr_array_add(argv, *e);
	const char *const *cmd = args != NULL && *args != NULL ? args : (const char *const *)config->cmd;
	for (; *cmd != NULL; cmd++)
		g_ptr_array_add(argv, (gpointer)*cmd);
	g_ptr_array_add(argv, NULL);
	spec_set_args(spec, (const char *const *)argv->pdata);
	spec_set_cwd(spec, str_empty(config->working_dir) ? "/" : config->working_dir);
}

void spec_set_terminal(JsonObject *spec)
{
	json_set(process_of(spec), "terminal", json_object_new_boolean(true));
	json_object_array_add(sub_array(process_of(spec), "env"), json_object_new_string("TERM=xterm"));
}

void spec_set_root(JsonObject *spec, const char *path, bool readonly)
{
	JsonObject *root = sub_object(spec, "root");
	if (path != NULL)
		json_set_string(root, "path", path);
	if (readonly)
		json_set(root, "readonly", json_object_new_boolean(true));
}

void spec_set_hostname(JsonObject *spec, const char *hostname)
{
	json_set_string(spec, "hostname", hostname);
}

void spec_add_annotations(JsonObject *spec, GHashTable *annotations)
{
	g_autoptr(GPtrArray) keys = strmap_sorted_keys(annotations);
	for (guint i = 0; i < keys->len; i++)
		json_set_string(sub_object(spec, "annotations"), keys->pdata[i],
		                strmap_get(annotations, keys->pdata[i]));
}

void spec_set_new_privileges(JsonObject *spec, bool allowed)
{
	json_set(process_of(spec), "noNewPrivileges", json_object_new_boolean(!allowed));
}

void spec_set_apparmor(JsonObject *spec, const char *profile)
{
	json_set_string(process_of(spec), "apparmorProfile", profile);
}

void spec_set_rlimit(JsonObject *spec, const char *type, uint64_t soft, uint64_t hard)
{
	JsonObject *list = sub_array(process_of(spec), "rlimits"), *limit = NULL;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		JsonObject *o = json_object_array_get_idx(list, i);
		if (g_strcmp0(json_get_string(o, "type"), type) == 0)
			limit = o;
	}
	if (limit == NULL) {
		limit = json_object_new_object();
		json_object_array_add(list, limit);
	}
	json_set_string(limit, "type", type);
	set_uint64(limit, "hard", hard);
	set_uint64(limit, "soft", soft);
}

/* ---- mounts ---- */

void spec_add_mount(JsonObject *spec, const char *type, const char *source, const char *destination,
                    const char *const *options)
{
	JsonObject *m = json_object_new_object();
	json_set_string(m, "destination", destination);
	json_set_string(m, "type", str_empty(type) ? NULL : type);
	json_set_string(m, "source", str_empty(source) ? NULL : source);
	if (options != NULL && *options != NULL)
		json_set(m, "options", strings(options));
	json_object_array_add(sub_array(spec, "mounts"), m);
}

static void remove_mount(JsonObject *spec, const char *destination)
{
	JsonObject *list = sub_array(spec, "mounts");
	for (size_t i = json_object_array_length(list); i-- > 0;) {
		if (g_strcmp0(json_get_string(json_object_array_get_idx(list, i), "destination"),
		              destination) == 0)
			json_object_array_del_idx(list, i, 1);
	}
}

bool spec_add_mount_flag(JsonObject *spec, const char *flag, GError **error)
{
	const char *type = NULL, *source = NULL, *destination = NULL;
	g_auto(GStrv) options = NULL;
	g_auto(GStrv) fields = g_strsplit(flag, ",", -1);
	for (char **f = fields; *f != NULL; f++) {
		char *value = strchr(*f, '=');
		if (value == NULL)
			return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
			                 "invalid mount specification: expected key=val");
		*value++ = '\0';
		if (g_str_equal(*f, "type")) {
			type = value;
		} else if (g_str_equal(*f, "source") || g_str_equal(*f, "src")) {
			source = value;
		} else if (g_str_equal(*f, "destination") || g_str_equal(*f, "dst")) {
			destination = value;
		} else if (g_str_equal(*f, "options")) {
			g_strfreev(options);
			options = g_strsplit(value, ":", -1);
		} else {
			return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "mount option %s not supported",
			                 Q(*f));
		}
	}
	if (str_empty(destination))
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "invalid mount specification %s: it needs dst=", Q(flag));
	remove_mount(spec, destination);
	spec_add_mount(spec, type, source, destination, (const char *const *)options);
	return true;
}

/* ---- namespaces ---- */

bool spec_namespace_type_valid(const char *type)
{
	static const char *const types[] = {"pid", "network", "uts", "mount", "user", "ipc", "cgroup", NULL};
	return g_strv_contains(types, type);
}

static int namespace_index(JsonObject *list, const char *type)
{
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		if (g_strcmp0(json_get_string(json_object_array_get_idx(list, i), "type"), type) == 0)
			return (int)i;
	}
	return -1;
}

void spec_remove_namespace(JsonObject *spec, const char *type)
{
	JsonObject *list = sub_array(linux_of(spec), "namespaces");
	int i = namespace_index(list, type);
	if (i >= 0)
		json_object_array_del_idx(list, (size_t)i, 1);
}

void spec_set_namespace(JsonObject *spec, const char *type, const char *path)
{
	JsonObject *list = sub_array(linux_of(spec), "namespaces"), *o = json_object_new_object();
	json_set_string(o, "type", type);
	json_set_string(o, "path", path);
	int i = namespace_index(list, type);
	if (i >= 0)
		json_object_array_put_idx(list, (size_t)i, o);
	else
		json_object_array_add(list, o);
}

void spec_add_id_map(JsonObject *spec, bool gid, uint32_t container, uint32_t host, uint32_t size)
{
	JsonObject *map = json_object_new_object();
	json_set_int64(map, "containerID", container);
	json_set_int64(map, "hostID", host);
	json_set_int64(map, "size", size);
	json_object_array_add(sub_array(linux_of(spec), gid ? "gidMappings" : "uidMappings"), map);
	if (namespace_index(sub_array(linux_of(spec), "namespaces"), "user") < 0)
		spec_set_namespace(spec, "user", NULL);
}

/* ---- capabilities ---- */

static const char *const cap_sets[] = {"bounding", "effective", "permitted", "inheritable"};
enum {
	CAP_SETS_ADD = 3, // not inheritable: CVE-2022-24769
	CAP_SETS_ALL = 4,
};

static int string_index(JsonObject *list, const char *s)
{
	for (size_t i = 0; list != NULL && i < json_object_array_length(list); i++) {
		if (g_strcmp0(json_object_get_string(json_object_array_get_idx(list, i)), s) == 0)
			return (int)i;
	}
	return -1;
}

void spec_add_caps(JsonObject *spec, const char *const *caps)
{
	JsonObject *all = sub_object(process_of(spec), "capabilities");
	for (; *caps != NULL; caps++) {
		for (size_t i = 0; i < CAP_SETS_ADD; i++) {
			JsonObject *set = sub_array(all, cap_sets[i]);
			if (string_index(set, *caps) < 0)
				json_object_array_add(set, json_object_new_string(*caps));
		}
	}
}

void spec_drop_caps(JsonObject *spec, const char *const *caps)
{
	JsonObject *all = sub_object(process_of(spec), "capabilities");
	for (; *caps != NULL; caps++) {
		for (size_t i = 0; i < CAP_SETS_ALL; i++) {
			JsonObject *set = json_get_array(all, cap_sets[i]);
			int at = string_index(set, *caps);
			if (at >= 0)
				json_object_array_del_idx(set, (size_t)at, 1);
		}
	}
}

/* ---- resources ---- */

void spec_set_cgroup(JsonObject *spec, const char *path)
{
	json_set_string(linux_of(spec), "cgroupsPath", path);
}

void spec_set_memory_limit(JsonObject *spec, uint64_t bytes)
{
	json_set_int64(sub_object(resources_of(spec), "memory"), "limit",
	               (int64_t)MIN(bytes, (uint64_t)INT64_MAX));
}

static JsonObject *cpu_of(JsonObject *spec)
{
	return sub_object(resources_of(spec), "cpu");
}

void spec_set_cpu_cfs(JsonObject *spec, int64_t quota, uint64_t period)
{
	json_set_int64(cpu_of(spec), "quota", quota);
	set_uint64(cpu_of(spec), "period", period);
}

void spec_set_cpu_burst(JsonObject *spec, uint64_t burst)
{
	set_uint64(cpu_of(spec), "burst", burst);
}

void spec_set_cpu_shares(JsonObject *spec, uint64_t shares)
{
	set_uint64(cpu_of(spec), "shares", shares);
}

void spec_set_cpuset(JsonObject *spec, const char *cpus, const char *mems)
{
	if (cpus != NULL)
		json_set_string(cpu_of(spec), "cpus", cpus);
	if (mems != NULL)
		json_set_string(cpu_of(spec), "mems", mems);
}

void spec_set_rootfs_propagation(JsonObject *spec, const char *propagation)
{
	json_set_string(linux_of(spec), "rootfsPropagation", propagation);
}

void spec_allow_all_devices(JsonObject *spec)
{
	JsonObject *rules = json_object_new_array();
	json_object_array_add(rules, device_rule(true, NULL, -1, -1, "rwm"));
	json_set(resources_of(spec), "devices", rules);
}
