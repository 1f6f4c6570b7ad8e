// SPDX-License-Identifier: Apache-2.0
/* Flags to a runtime spec, in the order in which upstream applies them (cmd/ctr/commands/run/run_unix.go). */
#include "base/fs.h"
#include "ctr/container.h"
#include "ctr/util.h"
#include "oci/apparmor.h"
#include "oci/runtime-spec.h"
#include "oci/seccomp.h"
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

const CliFlag flags_container[] = {
        {"config", FLAG_STRING, "Path to the runtime-specific spec config file", {"c"}},
        {"cwd", FLAG_STRING, "Specify the working directory of the process"},
        {"env", FLAG_STRINGS, "Specify additional container environment variables (e.g. FOO=bar)"},
        {"env-file", FLAG_STRING,
         "Specify additional container environment variables in a file(e.g. FOO=bar, one per line)"},
        {"label", FLAG_STRINGS, "Specify additional labels (e.g. foo=bar)"},
        {"annotation", FLAG_STRINGS, "Specify additional OCI annotations (e.g. foo=bar)"},
        {"mount", FLAG_STRINGS,
         "Specify additional container mount (e.g. type=bind,src=/tmp,dst=/host,options=rbind:ro)"},
        {"net-host", FLAG_BOOL, "Enable host networking for the container", .value = "false"},
        {"privileged", FLAG_BOOL, "Run privileged container", .value = "false"},
        {"privileged-without-host-devices", FLAG_BOOL, "Don't pass all host devices to privileged container",
         .value = "false"},
        {"read-only", FLAG_BOOL, "Set the containers filesystem as readonly", .value = "false"},
        {"sandbox", FLAG_STRING, "Create the container in the given sandbox"},
        {"tty", FLAG_BOOL, "Allocate a TTY for the container", {"t"}, "false"},
        {"with-ns", FLAG_STRINGS,
         "Specify existing Linux namespaces to join at container runtime (format '<nstype>:<path>')"},
        {"allow-new-privs", FLAG_BOOL, "Turn off OCI spec's NoNewPrivileges feature flag", .value = "false"},
        {"memory-limit", FLAG_UINT, "Memory limit (in bytes) for the container", .value = "0"},
        {"cap-add", FLAG_STRINGS, "Add Linux capabilities (Set capabilities with 'CAP_' prefix)"},
        {"cap-drop", FLAG_STRINGS, "Drop Linux capabilities (Set capabilities with 'CAP_' prefix)"},
        {"seccomp", FLAG_BOOL, "Enable the default seccomp profile", .value = "false"},
        {"seccomp-profile", FLAG_STRING,
         "File path to custom seccomp profile. seccomp must be set to true, before using seccomp-profile"},
        {"apparmor-default-profile", FLAG_STRING,
         "Enable AppArmor with the default profile with the specified name, e.g. "
         "\"cri-containerd.apparmor.d\""},
        {"apparmor-profile", FLAG_STRING, "Enable AppArmor with an existing custom profile"},
        {"gpus", FLAG_STRINGS, "Add gpus to the container"},
        {"blockio-config-file", FLAG_STRING,
         "File path to blockio class definitions. By default class definitions are not used."},
        {"blockio-class", FLAG_STRING, "Name of the blockio class to associate the container with"},
        {"rdt-class", FLAG_STRING,
         "Name of the RDT class to associate the container with. Specifies a Class of Service (CLOS) for "
         "cache and "
         "memory bandwidth management."},
        {"hostname", FLAG_STRING, "Set the container's host name"},
        {"user",
         FLAG_STRING,
         "Username or user id, group optional (format: <name|uid>[:<group|gid>])",
         {"u"}},
        {"rootfs", FLAG_BOOL, "Use custom rootfs that is not managed by containerd snapshotter",
         .value = "false"},
        {"rootfs-mount", FLAG_STRINGS,
         "With --rootfs: a mount that makes the root file system, several are done in order "
         "(type=T,src=S,dst=D,option=O)"},
        {"rootfs-propagation", FLAG_STRING, "Set the propagation of the container rootfs"},
        {"device", FLAG_STRINGS,
         "File path to a device to add to the container; or a path to a directory tree of devices to add to "
         "the container"},
        {"cgroup", FLAG_STRING, "Cgroup path (To disable use of cgroup, set to \"\" explicitly)"},
        {"platform", FLAG_STRING, "Run image for specific platform"},
        {"sync-fs", FLAG_BOOL,
         "Synchronize the underlying filesystem containing files when unpack images, false by default",
         .value = "false"},
        {"dump-config", FLAG_STRING, "Dump the generated OCI config to a file"},
        {"snapshotter-label", FLAG_STRINGS, "Labels added to the new snapshot for this container."},
        {"uidmap", FLAG_STRINGS,
         "Run inside a user namespace with the specified UID mapping ranges; specified with the format "
         "container-uid:host-uid:length",
         .value_name = "container-uid:host-uid:length"},
        {"gidmap", FLAG_STRINGS,
         "Run inside a user namespace with the specified GID mapping ranges; specified with the format "
         "container-gid:host-gid:length",
         .value_name = "container-gid:host-gid:length"},
        {"remap-labels", FLAG_BOOL,
         "Provide the user namespace ID remapping to the snapshotter via label options; requires snapshotter "
         "support",
         .value = "false"},
        {"cpu-quota", FLAG_INT, "Limit CPU CFS quota", .value = "-1"},
        {"cpu-period", FLAG_UINT, "Limit CPU CFS period", .value = "0"},
        {"cpu-burst", FLAG_UINT, "Set the CPU CFS burst", .value = "0"},
        {"cpus", FLAG_FLOAT, "Set the CFS cpu quota", .value = "0"},
        {"cpu-shares", FLAG_INT, "Set the cpu shares", .value = "1024"},
        {"cpuset-cpus", FLAG_STRING, "Set the CPUs the container will run in (e.g., 1-2,4)"},
        {"cpuset-mems", FLAG_STRING, "Set the memory nodes the container will run in (e.g., 1-2,4)"},
        {"rlimit-nofile", FLAG_STRING, "Set RLIMIT_NOFILE (soft:hard)"},
        {0},
};

enum {
	MAX_FILE = 8 * 1024 * 1024 // bytes of --config, --env-file, --seccomp-profile
};

static bool invalid(GError **error, const char *text)
{
	return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "%s", text);
}

static JsonObject *load_json(const char *path, GError **error)
{
	g_autofree char *data = NULL;
	size_t len = 0;
	if (!file_read(path, MAX_FILE, &data, &len, error))
		return NULL;
	JsonObject *o = json_parse(data, len, 0, error);
	if (o == NULL)
		error_prefix(error, "%s", path);
	return o;
}

static bool add_env(Cli *cli, JsonObject *spec, GError **error)
{
	const char *path = cli_string(cli, "env-file");
	if (*path != '\0') {
		g_autofree char *data = NULL;
		size_t len = 0;
		if (!file_read(path, MAX_FILE, &data, &len, error))
			return false;
		g_auto(GStrv) lines = g_strsplit(g_strchomp(data), "\n", -1);
		for (char **l = lines; *l != NULL; l++) {
			const char *const one[] = {*l, NULL};
			if (**l != '\0' && **l != '#')
				spec_add_env(spec, one);
		}
	}
	spec_add_env(spec, (const char *const *)cli_strings(cli, "env"));
	return true;
}

static bool add_mounts(Cli *cli, JsonObject *spec, GError **error)
{
	for (char **m = cli_strings(cli, "mount"); *m != NULL; m++) {
		if (!spec_add_mount_flag(spec, *m, error))
			return false;
	}
	return true;
}

static bool add_id_maps(JsonObject *spec, char **maps, bool gid, GError **error)
{
	for (; *maps != NULL; maps++) {
		g_auto(GStrv) parts = g_strsplit(*maps, ":", -1);
		uint64_t n[3] = {0};
		if (g_strv_length(parts) != 3)
			return invalid(
			        error,
			        "user namespace mappings require the format `container-id:host-id:size`");
		for (int i = 0; i < 3; i++) {
			static const char *const what[] = {"container id", "host id", "size"};
			if (!parse_u64(parts[i], &n[i]) || n[i] > UINT32_MAX)
				return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
				                 "invalid %s for user namespace remapping: %s", what[i],
				                 Q(parts[i]));
		}
		spec_add_id_map(spec, gid, (uint32_t)n[0], (uint32_t)n[1], (uint32_t)n[2]);
	}
	return true;
}

static bool add_privileges(Cli *cli, JsonObject *spec, GError **error)
{
	bool privileged = cli_bool(cli, "privileged"),
	     no_devices = cli_bool(cli, "privileged-without-host-devices");
	if (no_devices && !privileged)
		return invalid(error,
		               "can't use 'privileged-without-host-devices' without 'privileged' specified");
	if (privileged && !spec_set_privileged(spec, error))
		return false;
	if (privileged && !no_devices) {
		spec_allow_all_devices(spec);
		if (!spec_add_host_devices(spec, error))
			return false;
	}
	static const char *const flags[] = {"cap-add", "cap-drop"};
	for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
		for (char **c = cli_strings(cli, flags[i]); *c != NULL; c++) {
			if (!g_str_has_prefix(*c, "CAP_"))
				return invalid(error, "capabilities must be specified with 'CAP_' prefix");
		}
	}
	spec_add_caps(spec, (const char *const *)cli_strings(cli, "cap-add"));
	spec_drop_caps(spec, (const char *const *)cli_strings(cli, "cap-drop"));
	return true;
}

static bool add_seccomp(Cli *cli, JsonObject *spec, GError **error)
{
	const char *profile = cli_string(cli, "seccomp-profile");
	if (!cli_bool(cli, "seccomp"))
		return *profile == '\0' ||
		       invalid(error, "seccomp must be set to true, if using a custom seccomp-profile");
	JsonObject *o = *profile != '\0' ? load_json(profile, error) : seccomp_default_profile(spec);
	if (o == NULL)
		return false;
	json_set(json_get_object(spec, "linux"), "seccomp", o);
	return true;
}

static void add_host_network(JsonObject *spec)
{
	static const char *const ro[] = {"rbind", "ro", NULL};
	struct utsname u;
	spec_remove_namespace(spec, "network");
	spec_add_mount(spec, "bind", "/etc/hosts", "/etc/hosts", ro);
	spec_add_mount(spec, "bind", "/etc/resolv.conf", "/etc/resolv.conf", ro);
	if (uname(&u) == 0) {
		g_autofree char *env = g_strconcat("HOSTNAME=", u.nodename, NULL);
		const char *const one[] = {env, NULL};
		spec_add_env(spec, one);
	}
}

static bool add_limits(Cli *cli, JsonObject *spec, GError **error)
{
	double cpus = cli_float(cli, "cpus");
	int64_t quota = cli_int(cli, "cpu-quota"), shares = cli_int(cli, "cpu-shares");
	uint64_t period = cli_uint(cli, "cpu-period");
	if (cpus > 0)
		spec_set_cpu_cfs(spec, (int64_t)(cpus * 100000.0), 100000);
	if (*cli_string(cli, "cpuset-cpus") != '\0')
		spec_set_cpuset(spec, cli_string(cli, "cpuset-cpus"), NULL);
	if (*cli_string(cli, "cpuset-mems") != '\0')
		spec_set_cpuset(spec, NULL, cli_string(cli, "cpuset-mems"));
	if (shares > 0)
		spec_set_cpu_shares(spec, (uint64_t)shares);
	if (quota != -1 || period != 0) {
		if (cpus > 0)
			return invalid(error, "cpus and quota/period should be used separately");
		spec_set_cpu_cfs(spec, quota, period);
	}
	if (cli_uint(cli, "cpu-burst") != 0)
		spec_set_cpu_burst(spec, cli_uint(cli, "cpu-burst"));
	if (cli_uint(cli, "memory-limit") != 0)
		spec_set_memory_limit(spec, cli_uint(cli, "memory-limit"));
	const char *nofile = cli_string(cli, "rlimit-nofile");
	if (*nofile != '\0') {
		g_auto(GStrv) parts = g_strsplit(nofile, ":", 2);
		uint64_t soft = 0, hard = 0;
		if (!parse_u64(parts[0], &soft) || !parse_u64(parts[1] != NULL ? parts[1] : parts[0], &hard))
			return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "failed to parse rlimit-nofile %s",
			                 Q(nofile));
		spec_set_rlimit(spec, "RLIMIT_NOFILE", soft, hard);
	}
	return true;
}

static bool add_namespaces(Cli *cli, JsonObject *spec, GError **error)
{
	for (char **n = cli_strings(cli, "with-ns"); *n != NULL; n++) {
		g_auto(GStrv) parts = g_strsplit(*n, ":", 2);
		if (parts[1] == NULL)
			return invalid(error, "joining a Linux namespace using --with-ns requires the format "
			                      "'nstype:path'");
		if (!spec_namespace_type_valid(parts[0]))
			return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
			                 "the Linux namespace type specified in --with-ns is not valid: %s",
			                 parts[0]);
		spec_set_namespace(spec, parts[0], parts[1]);
	}
	return true;
}

static bool add_annotations(Cli *cli, JsonObject *spec, GError **error)
{
	for (char **a = cli_strings(cli, "annotation"); *a != NULL; a++) {
		if (strchr(*a, '=') == NULL)
			return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
			                 "invalid key=value format annotation: %s", *a);
	}
	g_autoptr(GHashTable) annotations = label_words(cli_strings(cli, "annotation"));
	spec_add_annotations(spec, annotations);
	return true;
}

/* Classes of block I/O come from a YAML configuration and GPUs from CDI specs, which ctr does not read. */
static bool add_classes(Cli *cli, JsonObject *spec, GError **error)
{
	const char *rdt = cli_string(cli, "rdt-class"), *blockio = cli_string(cli, "blockio-class");
	if (cli_is_set(cli, "blockio-config-file"))
		return error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED,
		                       "--blockio-config-file is not there yet");
	if (*blockio != '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "blockio-class error: no OCI BlockIO parameters for class %s", Q(blockio));
	if (*cli_strings(cli, "gpus") != NULL)
		return error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED,
		                       "--gpus is not there yet (give the device files with --device)");
	if (*rdt == '\0')
		return true;
	JsonObject *linux_ = json_get_object(spec, "linux"), *o = json_object_new_object();
	json_set_string(o, "closID", rdt);
	json_set(linux_, "intelRdt", o);
	return true;
}

static bool add_rest(Cli *cli, JsonObject *spec, GError **error)
{
	for (char **d = cli_strings(cli, "device"); *d != NULL; d++) {
		if (!spec_add_device(spec, *d, "rwm", error))
			return false;
	}
	const char *apparmor = cli_string(cli, "apparmor-default-profile");
	if (*apparmor != '\0') {
		if (*cli_string(cli, "apparmor-profile") != '\0')
			return invalid(error, "apparmor-profile conflicts with apparmor-default-profile");
		if (!apparmor_load_default(apparmor, error))
			return false;
		spec_set_apparmor(spec, apparmor);
	}
	if (*cli_string(cli, "apparmor-profile") != '\0')
		spec_set_apparmor(spec, cli_string(cli, "apparmor-profile"));
	if (cli_is_set(cli, "allow-new-privs"))
		spec_set_new_privileges(spec, true);
	if (cli_is_set(cli, "cgroup"))
		spec_set_cgroup(spec, cli_string(cli, "cgroup"));
	if (*cli_string(cli, "rootfs-propagation") != '\0')
		spec_set_rootfs_propagation(spec, cli_string(cli, "rootfs-propagation"));
	if (*cli_string(cli, "hostname") != '\0')
		spec_set_hostname(spec, cli_string(cli, "hostname"));
	return true;
}

static bool fill(Cli *cli, JsonObject *spec, const ImageConfig *config, const CtrRootfs *rootfs, char **args,
                 GError **error)
{
	if (!add_env(cli, spec, error) || !add_mounts(cli, spec, error))
		return false;
	if (config != NULL)
		spec_set_image(spec, config, NULL);
	if (cli_bool(cli, "rootfs")) {
		// with mounts of its own the root is the bundle's, where the shim mounts them
		g_autofree char *root = *cli_strings(cli, "rootfs-mount") != NULL
		                                ? g_strdup("rootfs")
		                                : g_canonicalize_filename(cli_arg(cli, 0), NULL);
		spec_set_root(spec, root, false);
	}
	if (!add_id_maps(spec, cli_strings(cli, "uidmap"), false, error) ||
	    !add_id_maps(spec, cli_strings(cli, "gidmap"), true, error))
		return false;
	if (cli_bool(cli, "read-only"))
		spec_set_root(spec, NULL, true);
	if (*args != NULL)
		spec_set_args(spec, (const char *const *)args);
	if (*cli_string(cli, "cwd") != '\0')
		spec_set_cwd(spec, cli_string(cli, "cwd"));
	const char *user = cli_string(cli, "user");
	if ((config != NULL || *user != '\0') &&
	    !ctr_set_user(spec, *user != '\0' ? user : config->user, rootfs, error))
		return false;
	if (cli_bool(cli, "tty"))
		spec_set_terminal(spec);
	if (!add_privileges(cli, spec, error))
		return false;
	if (cli_bool(cli, "net-host"))
		add_host_network(spec);
	return add_annotations(cli, spec, error) && add_seccomp(cli, spec, error) &&
	       add_limits(cli, spec, error) && add_namespaces(cli, spec, error) &&
	       add_classes(cli, spec, error) && add_rest(cli, spec, error);
}

JsonObject *ctr_spec_build(Cli *cli, const char *id, const ImageConfig *config, const CtrRootfs *rootfs,
                           char **args, GError **error)
{
	g_autoptr(GHashTable) labels = label_words(cli_strings(cli, "label"));
	const char *file = cli_string(cli, "config");
	g_autoptr(JsonObject) spec = *file != '\0' ? load_json(file, error) : spec_new(ctr_ns(cli), id);
	if (spec == NULL || (*file == '\0' && !fill(cli, spec, config, rootfs, args, error)))
		return NULL;
	spec_add_annotations(spec, labels);
	return g_steal_pointer(&spec);
}

static uint32_t first_host_id(JsonObject *linux_, const char *key)
{
	int64_t id = 0;
	JsonObject *maps = json_get_array(linux_, key);
	if (maps != NULL && json_object_array_length(maps) > 0)
		json_get_int64(json_object_array_get_idx(maps, 0), "hostID", &id);
	return (uint32_t)id;
}

void ctr_spec_io_owner(JsonObject *spec, uint32_t *ret_uid, uint32_t *ret_gid)
{
	JsonObject *linux_ = json_get_object(spec, "linux");
	*ret_uid = first_host_id(linux_, "uidMappings");
	*ret_gid = first_host_id(linux_, "gidMappings");
}
