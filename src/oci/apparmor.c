// SPDX-License-Identifier: Apache-2.0
#include "oci/apparmor.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/process.h"
#include "base/time.h"
#include "base/util.h"
#include <string.h>

#define INCLUDES "/etc/apparmor.d"
#define PARSER "apparmor_parser"

/* What every container may do, and what not; @NAME@ and @DAEMON@ are filled in. */
static const char rules[] =
        "  network,\n"
        "  capability,\n"
        "  file,\n"
        "  umount,\n"
        "  # who may signal the processes: the host, the runtimes, the daemon and they themselves\n"
        "  signal (receive) peer=unconfined,\n"
        "  signal (receive) peer=runc,\n"
        "  signal (receive) peer=crun,\n"
        "  signal (receive) peer=@DAEMON@,\n"
        "  signal (send,receive) peer=@NAME@,\n"
        "@ROOTLESSKIT@"
        "\n"
        "  # files directly in /proc, and everything that is neither a process' nor below /proc/sys\n"
        "  deny @{PROC}/* w,\n"
        "  deny "
        "@{PROC}/{[^1-9/],[^1-9/][^0-9/],[^1-9s/][^0-9y/][^0-9s/],[^1-9/][^0-9/][^0-9/][^0-9/]*}/** w,\n"
        "  # of /proc/sys only kernel/shm*\n"
        "  deny @{PROC}/sys/[^k]** w,\n"
        "  deny @{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w,\n"
        "  deny @{PROC}/sysrq-trigger rwklx,\n"
        "  deny @{PROC}/kcore rwklx,\n"
        "\n"
        "  deny mount,\n"
        "\n"
        "  # of /sys only fs/cgroup\n"
        "  deny /sys/[^f]*/** wklx,\n"
        "  deny /sys/f[^s]*/** wklx,\n"
        "  deny /sys/fs/[^c]*/** wklx,\n"
        "  deny /sys/fs/c[^g]*/** wklx,\n"
        "  deny /sys/fs/cg[^r]*/** wklx,\n"
        "  deny /sys/firmware/** rwklx,\n"
        "  deny /sys/devices/virtual/powercap/** rwklx,\n"
        "  deny /sys/kernel/security/** rwklx,\n"
        "\n"
        "  # they may trace each other\n"
        "  ptrace (trace,tracedby,read,readby) peer=@NAME@,\n";

static bool include_exists(const char *name)
{
	g_autofree char *path = path_join(INCLUDES, name);
	return path_exists(path);
}

/* The name of our own profile; it is read as "name (enforce)". */
static char *daemon_profile(void)
{
	g_autofree char *text = NULL;
	if (!file_read("/proc/self/attr/current", 4096, &text, NULL, NULL))
		return g_strdup("unconfined");
	size_t len = strcspn(text, " \n");
	return len > 0 ? g_strndup(text, len) : g_strdup("unconfined");
}

char *apparmor_default_profile(const char *name)
{
	g_autofree char *daemon = daemon_profile(), *rootlesskit = process_lookup("rootlesskit", NULL);
	g_autoptr(GString) body = g_string_new(rules);
	g_autofree char *rootless = rootlesskit != NULL
	                                    ? g_strdup_printf("  signal (receive) peer=%s,\n", rootlesskit)
	                                    : g_strdup("");
	g_string_replace(body, "@DAEMON@", daemon, 0);
	g_string_replace(body, "@NAME@", name, 0);
	g_string_replace(body, "@ROOTLESSKIT@", rootless, 0);
	return g_strdup_printf(
	        "%s%s\nprofile %s flags=(attach_disconnected,mediate_deleted) {\n%s\n%s}\n",
	        include_exists("abi/3.0") ? "abi <abi/3.0>,\n" : "",
	        include_exists("tunables/global") ? "#include <tunables/global>" : "@{PROC}=/proc/", name,
	        include_exists("abstractions/base") ? "  #include <abstractions/base>\n" : "", body->str);
}

/* Whether a line `name (mode)` stands in the kernel's list. */
static bool is_loaded(const char *name, bool *ret, GError **error)
{
	g_autofree char *text = NULL;
	if (!file_read("/sys/kernel/security/apparmor/profiles", (size_t)16 << 20, &text, NULL, error))
		return false;
	g_autofree char *first = g_strconcat(name, " ", NULL), *other = g_strconcat("\n", name, " ", NULL);
	*ret = g_str_has_prefix(text, first) || strstr(text, other) != NULL;
	return true;
}

/* The name goes into a profile's text. */
static bool name_is_safe(const char *name)
{
	if (*name == '\0')
		return false;
	for (; *name != '\0'; name++)
		if (!g_ascii_isalnum(*name) && strchr("._-", *name) == NULL)
			return false;
	return true;
}

bool apparmor_load_default(const char *name, GError **error)
{
	bool loaded;
	if (!name_is_safe(name))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "apparmor profile name %s", Q(name));
	if (!is_loaded(name, &loaded, error))
		return false;
	if (loaded)
		return true;
	g_autofree char *text = apparmor_default_profile(name);
	g_autoptr(GBytes) input = g_bytes_new_static(text, strlen(text));
	g_auto(ProcessResult) result = {0};
	ProcessSpec spec = {
	        .argv = (const char *const[]){PARSER, "-Kr", NULL}, // reads the profile from stdin
	        .stdin_data = input,
	        .merge_stderr = true,
	        .timeout_ns = 60 * NS_PER_SEC,
	};
	if (!process_run(&spec, &result, error))
		return error_prefix(error, "load apparmor profile %s", name);
	if (result.status != 0) {
		g_autofree char *status = process_status_text(result.status);
		return error_set(error, CTRD_ERR_UNKNOWN, "load apparmor profile %s: parser error(%s): %s",
		                 name, Q(g_strstrip(result.out)), status);
	}
	return true;
}

bool apparmor_host_supports(void)
{
	g_autofree char *enabled = NULL;
	// not inside another container manager's container
	return path_exists("/sys/kernel/security/apparmor") && str_empty(getenv("container")) &&
	       path_exists("/sbin/" PARSER) &&
	       file_read("/sys/module/apparmor/parameters/enabled", 64, &enabled, NULL, NULL) &&
	       *enabled == 'Y';
}
