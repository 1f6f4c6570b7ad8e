// SPDX-License-Identifier: Apache-2.0
/* The parts of a spec that come from this host or from the image's files: users, devices, our own
 * capabilities. */
#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "oci/runtime-spec.h"
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum {
	USER_FILE_MAX = 10 * 1024 * 1024, // bytes of /etc/passwd or /etc/group: CVE-2026-47262
	DEVICES_MAX = 4096,               // below one directory
};

/* ---- users ---- */

/* The text of a file of the image; *ret NULL and true where it does not exist. */
static bool read_user_file(int rootfd, const char *path, char **ret, GError **error)
{
	*ret = NULL;
	autofd fd = open_in_root(rootfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, NULL);
	if (fd < 0)
		return true;
	struct stat st;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "%s is not a regular file", path);
	size_t len = 0;
	return fd_read_all(fd, USER_FILE_MAX, ret, &len, error) || error_prefix(error, "read %s", path);
}

/* Fields of the first line of an image's passwd or group file that matches, NULL where none does. */
typedef bool (*LineFn)(char **fields, guint n, const void *arg);

static char **find_line(const char *text, LineFn match, const void *arg)
{
	g_auto(GStrv) lines = g_strsplit(text != NULL ? text : "", "\n", -1);
	for (char **l = lines; *l != NULL; l++) {
		g_auto(GStrv) fields = g_strsplit(g_strstrip(*l), ":", -1);
		guint n = g_strv_length(fields);
		if (n >= 3 && match(fields, n, arg))
			return g_steal_pointer(&fields);
	}
	return NULL;
}

static bool name_matches(char **fields, guint n, const void *arg)
{
	return g_str_equal(fields[0], arg);
}

static bool id_matches(char **fields, guint n, const void *arg)
{
	uint64_t id = 0;
	return parse_u64(fields[2], &id) && id == *(const uint32_t *)arg;
}

static uint32_t id_field(char **fields, guint i)
{
	uint64_t id = 0;
	return i < g_strv_length(fields) && parse_u64(fields[i], &id) && id <= INT32_MAX ? (uint32_t)id : 0;
}

typedef enum {
	ID_NUMBER,
	ID_NAME,
	ID_OUT_OF_RANGE,
} IdKind;

/* As Go's strconv.Atoi sees it: a sign is fine, what is too large is no name. */
static IdKind parse_id(const char *s, uint32_t *ret)
{
	const char *digits = *s == '+' || *s == '-' ? s + 1 : s;
	if (*digits == '\0' || strspn(digits, "0123456789") != strlen(digits))
		return ID_NAME;
	uint64_t n = 0;
	if (!parse_u64(digits, &n) || n > INT32_MAX || (*s == '-' && n > 0))
		return ID_OUT_OF_RANGE;
	*ret = (uint32_t)n;
	return ID_NUMBER;
}

typedef struct {
	uint32_t uid, gid;
	char *name; // NULL: the uid has none
} User;

static bool no_users(GError **error)
{
	return error_set(error, CTRD_ERR_UNKNOWN, "no users found");
}

/* uid, or a name; its group is that of /etc/passwd, 0 where there is none. */
static bool lookup_user(const char *passwd, const char *user, IdKind kind, User *u, GError **error)
{
	g_auto(GStrv) line = kind == ID_NUMBER ? find_line(passwd, id_matches, &u->uid)
	                                       : find_line(passwd, name_matches, user);
	if (line == NULL)
		return kind == ID_NUMBER || no_users(error);
	u->uid = id_field(line, 2);
	u->gid = id_field(line, 3);
	u->name = g_strdup(line[0]);
	return true;
}

static bool lookup_group(const char *group, const char *name, IdKind kind, User *u, GError **error)
{
	if (kind == ID_NUMBER)
		return true;
	g_auto(GStrv) line = find_line(group, name_matches, name);
	if (line == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN, "no groups found");
	u->gid = id_field(line, 2);
	return true;
}

static bool out_of_range(const char *user, const char *what, GError **error)
{
	return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "invalid USER value %s: %s out of range", Q(user),
	                 what);
}

static bool resolve_user(const char *user, const char *passwd, const char *group, User *u, GError **error)
{
	g_auto(GStrv) parts = g_strsplit(user, ":", -1);
	guint n = g_strv_length(parts);
	if (n > 2)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "invalid USER value %s", user);
	uint32_t gid = 0;
	IdKind kind = parse_id(parts[0], &u->uid);
	if (kind == ID_OUT_OF_RANGE)
		return out_of_range(user, "uid", error);
	IdKind group_kind = n == 2 ? parse_id(parts[1], &gid) : ID_NUMBER;
	if (group_kind == ID_OUT_OF_RANGE)
		return out_of_range(user, "gid", error);
	if (!lookup_user(passwd, parts[0], kind, u, error))
		return false;
	if (n == 1)
		return true;
	u->gid = gid;
	return lookup_group(group, parts[1], group_kind, u, error);
}

/* The groups that list the user; its own group comes first. */
static JsonObject *additional_gids(const char *group, const User *u)
{
	JsonObject *gids = json_object_new_array();
	json_object_array_add(gids, json_object_new_int64(u->gid));
	g_auto(GStrv) lines = g_strsplit(group != NULL ? group : "", "\n", -1);
	for (char **l = lines; u->name != NULL && *l != NULL; l++) {
		g_auto(GStrv) fields = g_strsplit(g_strstrip(*l), ":", -1);
		if (g_strv_length(fields) < 4 || g_str_equal(fields[0], u->name))
			continue;
		g_auto(GStrv) members = g_strsplit(fields[3], ",", -1);
		uint32_t gid = id_field(fields, 2);
		if (g_strv_contains((const char *const *)members, u->name) && gid != u->gid)
			json_object_array_add(gids, json_object_new_int64(gid));
	}
	return gids;
}

bool spec_set_user(JsonObject *spec, const char *user, int rootfd, GError **error)
{
	g_autofree char *passwd = NULL, *group = NULL;
	if (rootfd >= 0 && (!read_user_file(rootfd, "/etc/passwd", &passwd, error) ||
	                    !read_user_file(rootfd, "/etc/group", &group, error)))
		return false;
	User u = {0};
	bool ok = true;
	if (str_empty(user))
		u.name = g_strdup("root");
	else
		ok = resolve_user(user, passwd, group, &u, error);
	if (ok) {
		JsonObject *process = json_get_object(spec, "process"), *o = json_object_new_object();
		json_set_int64(o, "uid", u.uid);
		json_set_int64(o, "gid", u.gid);
		json_set(o, "additionalGids", additional_gids(group, &u));
		if (process == NULL) {
			process = json_object_new_object();
			json_set(spec, "process", process);
		}
		json_set(process, "user", o);
	}
	g_free(u.name);
	return ok;
}

/* ---- devices ---- */

static void append_device(JsonObject *spec, const char *path, const struct stat *st, const char *access)
{
	JsonObject *linux_ = json_get_object(spec, "linux");
	JsonObject *devices = json_get_array(linux_, "devices");
	if (devices == NULL) {
		devices = json_object_new_array();
		json_set(linux_, "devices", devices);
	}
	const char *type = S_ISBLK(st->st_mode) ? "b" : "c";
	JsonObject *d = json_object_new_object();
	json_set_string(d, "path", path);
	json_set_string(d, "type", type);
	json_set_int64(d, "major", major(st->st_rdev));
	json_set_int64(d, "minor", minor(st->st_rdev));
	json_set_int64(d, "fileMode", st->st_mode & 07777);
	json_set_int64(d, "uid", st->st_uid);
	json_set_int64(d, "gid", st->st_gid);
	json_object_array_add(devices, d);
	JsonObject *rules = json_get_array(json_get_object(linux_, "resources"), "devices");
	if (access == NULL || rules == NULL)
		return;
	JsonObject *rule = json_object_new_object();
	json_set(rule, "allow", json_object_new_boolean(true));
	json_set_string(rule, "type", type);
	json_set_int64(rule, "major", major(st->st_rdev));
	json_set_int64(rule, "minor", minor(st->st_rdev));
	json_set_string(rule, "access", access);
	json_object_array_add(rules, rule);
}

/* Every device below the directory, but what a container gets of its own. */
static bool append_tree(JsonObject *spec, const char *dir, const char *access, int *left, GError **error)
{
	static const char *const skip[] = {"pts",         "shm",   "fd",      "mqueue", ".lxc",
	                                   ".lxd-mounts", ".udev", "console", NULL};
	g_autoptr(GPtrArray) names = dir_list(dir, DEVICES_MAX, error);
	if (names == NULL)
		return false;
	for (guint i = 0; i < names->len; i++) {
		if (g_strv_contains(skip, names->pdata[i]))
			continue;
		g_autofree char *path = path_join(dir, names->pdata[i]);
		struct stat st;
		if (lstat(path, &st) != 0)
			continue;
		if (S_ISDIR(st.st_mode) && !append_tree(spec, path, access, left, error))
			return false;
		if (!S_ISBLK(st.st_mode) && !S_ISCHR(st.st_mode))
			continue;
		if ((*left)-- == 0)
			return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED, "more than %d devices below %s",
			                 DEVICES_MAX, dir);
		append_device(spec, path, &st, access);
	}
	return true;
}

bool spec_add_device(JsonObject *spec, const char *path, const char *access, GError **error)
{
	struct stat st;
	int left = DEVICES_MAX;
	if (stat(path, &st) != 0)
		return error_set_errno(error, errno, "stat %s", path);
	if (S_ISDIR(st.st_mode))
		return append_tree(spec, path, access, &left, error);
	if (!S_ISBLK(st.st_mode) && !S_ISCHR(st.st_mode))
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "%s: not a device node", path);
	append_device(spec, path, &st, access);
	return true;
}

bool spec_add_host_devices(JsonObject *spec, GError **error)
{
	int left = DEVICES_MAX;
	return append_tree(spec, "/dev", NULL, &left, error);
}

/* ---- privileged ---- */

/* Names by number, linux/capability.h. */
static const char *const cap_names[] = {
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_DAC_READ_SEARCH",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETPCAP",
        "CAP_LINUX_IMMUTABLE",
        "CAP_NET_BIND_SERVICE",
        "CAP_NET_BROADCAST",
        "CAP_NET_ADMIN",
        "CAP_NET_RAW",
        "CAP_IPC_LOCK",
        "CAP_IPC_OWNER",
        "CAP_SYS_MODULE",
        "CAP_SYS_RAWIO",
        "CAP_SYS_CHROOT",
        "CAP_SYS_PTRACE",
        "CAP_SYS_PACCT",
        "CAP_SYS_ADMIN",
        "CAP_SYS_BOOT",
        "CAP_SYS_NICE",
        "CAP_SYS_RESOURCE",
        "CAP_SYS_TIME",
        "CAP_SYS_TTY_CONFIG",
        "CAP_MKNOD",
        "CAP_LEASE",
        "CAP_AUDIT_WRITE",
        "CAP_AUDIT_CONTROL",
        "CAP_SETFCAP",
        "CAP_MAC_OVERRIDE",
        "CAP_MAC_ADMIN",
        "CAP_SYSLOG",
        "CAP_WAKE_ALARM",
        "CAP_BLOCK_SUSPEND",
        "CAP_AUDIT_READ",
        "CAP_PERFMON",
        "CAP_BPF",
        "CAP_CHECKPOINT_RESTORE",
};

static bool our_caps(uint64_t *ret, GError **error)
{
	g_autofree char *status = NULL;
	size_t len = 0;
	if (!file_read("/proc/self/status", 64 * 1024, &status, &len, error))
		return false;
	const char *line = strstr(status, "\nCapEff:");
	*ret = line != NULL ? g_ascii_strtoull(line + strlen("\nCapEff:"), NULL, 16) : 0;
	return true;
}

static void writable_sysfs(JsonObject *spec)
{
	JsonObject *mounts = json_get_array(spec, "mounts");
	for (size_t i = 0; mounts != NULL && i < json_object_array_length(mounts); i++) {
		JsonObject *m = json_object_array_get_idx(mounts, i);
		const char *type = json_get_string(m, "type");
		JsonObject *options = json_get_array(m, "options");
		if (g_strcmp0(type, "sysfs") != 0 && g_strcmp0(type, "cgroup") != 0)
			continue;
		for (size_t k = 0; options != NULL && k < json_object_array_length(options); k++) {
			if (g_strcmp0(json_object_get_string(json_object_array_get_idx(options, k)), "ro") ==
			    0)
				json_object_array_put_idx(options, k, json_object_new_string("rw"));
		}
	}
}

bool spec_set_privileged(JsonObject *spec, GError **error)
{
	uint64_t ours = 0;
	if (!our_caps(&ours, error))
		return false;
	JsonObject *process = json_get_object(spec, "process"), *caps = json_object_new_object();
	static const char *const sets[] = {"bounding", "effective", "permitted"};
	for (size_t s = 0; s < G_N_ELEMENTS(sets); s++) {
		JsonObject *set = json_object_new_array();
		for (size_t i = 0; i < G_N_ELEMENTS(cap_names); i++) {
			if (ours & (UINT64_C(1) << i))
				json_object_array_add(set, json_object_new_string(cap_names[i]));
		}
		json_set(caps, sets[s], set);
	}
	json_set(process, "capabilities", caps);
	json_object_object_del(process, "selinuxLabel");
	json_object_object_del(process, "apparmorProfile");
	JsonObject *linux_ = json_get_object(spec, "linux");
	json_object_object_del(linux_, "maskedPaths");
	json_object_object_del(linux_, "readonlyPaths");
	json_object_object_del(linux_, "seccomp");
	writable_sysfs(spec);
	return true;
}
