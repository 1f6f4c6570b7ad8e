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

#define PASSWD "etc/passwd" // below the image's root
#define GROUP "etc/group"

enum {
	USER_FILE_MAX = 10 * 1024 * 1024, // bytes of /etc/passwd or /etc/group: CVE-2026-47262
	DEVICES_MAX = 4096,               // below one directory
};

/* ---- users ---- */

/* The text of a file of the image; *ret NULL and true where it does not exist. Whatever else is wrong is an
 * error: a user must not become another because a file could not be read. */
static bool read_user_file(int rootfd, const char *path, char **ret, GError **error)
{
	*ret = NULL;
	autofd fd = open_in_root(rootfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, NULL);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || error_set_errno(error, errno, "open %s", path);
	struct stat st;
	if (fstat(fd, &st) != 0)
		return error_set_errno(error, errno, "stat %s", path);
	if (!S_ISREG(st.st_mode))
		return error_set(error, CTRD_ERR_UNKNOWN, "%s is not a regular file", path);
	g_autoptr(GError) why = NULL;
	if (fd_read_all(fd, USER_FILE_MAX, ret, NULL, &why))
		return true;
	if (error_is(why, CTRD_ERR_RESOURCE_EXHAUSTED))
		return error_set(error, CTRD_ERR_UNKNOWN, "%s exceeds %d bytes", Q(path), USER_FILE_MAX);
	return error_set(error, CTRD_ERR_UNKNOWN, "%s: %s", path, why->message);
}

/* An id in these files: decimal, as far as the runtimes go. */
static bool parse_field(char **fields, guint n, guint i, uint32_t *ret)
{
	uint64_t id;
	if (i >= n || !parse_u64(fields[i], &id) || id > INT32_MAX)
		return false;
	*ret = (uint32_t)id;
	return true;
}

/* A line of /etc/passwd or /etc/group. */
typedef struct {
	char **fields; // NULL: none
	uint32_t uid;  // of a group: its gid
	uint32_t gid;
} Entry;

static void entry_clear(Entry *e)
{
	g_strfreev(e->fields);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Entry, entry_clear)

/* The first line of that name (or of that id, where name is NULL). A line whose numbers are none, or too
 * large, is passed over: upstream reads 0 there, which would make a root of its user. */
static bool find_entry(const char *text, const char *name, uint32_t id, bool group, Entry *ret)
{
	g_auto(GStrv) lines = g_strsplit(text != NULL ? text : "", "\n", -1);
	for (char **l = lines; *l != NULL; l++) {
		g_auto(Entry) e = {.fields = g_strsplit(g_strstrip(*l), ":", -1)};
		guint n = g_strv_length(e.fields);
		if (!parse_field(e.fields, n, 2, &e.uid) || (!group && !parse_field(e.fields, n, 3, &e.gid)))
			continue;
		if (name != NULL ? strcmp(e.fields[0], name) == 0 : e.uid == id) {
			*ret = e;
			e = (Entry){0};
			return true;
		}
	}
	return false;
}

typedef enum {
	ID_NUMBER,
	ID_NAME,
	ID_OUT_OF_RANGE,
	ID_MALFORMED, // neither
} IdKind;

/* What looks like a number, but is none we take, is never looked up as a name: /etc/passwd is the image's,
 * and who checks the number elsewhere would be fooled (CVE-2026-46680). */
static IdKind parse_id(const char *s, uint32_t *ret)
{
	const char *digits = *s == '+' || *s == '-' ? s + 1 : s;
	uint64_t n = 0;
	if (*digits != '\0' && strspn(digits, "0123456789") == strlen(digits)) {
		if (!parse_u64(digits, &n) || n > INT32_MAX || (*s == '-' && n > 0))
			return ID_OUT_OF_RANGE;
		*ret = (uint32_t)n;
		return digits == s ? ID_NUMBER : ID_MALFORMED;
	}
	if (digits != s || (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')))
		return ID_MALFORMED;
	for (const char *c = s; *c != '\0'; c++)
		if (g_ascii_isspace(*c) || g_ascii_iscntrl(*c))
			return ID_MALFORMED;
	return ID_NAME;
}

typedef struct {
	uint32_t uid, gid;
	char *name; // NULL: the uid has none
} User;

/* The files of the image; text NULL: it has none. */
typedef struct {
	char *passwd, *group;
	bool rootfs; // there is a file system to look in
} UserFiles;

static bool not_found(const UserFiles *files, const char *text, const char *path, const char *what,
                      GError **error)
{
	if (!files->rootfs)
		return error_set(error, CTRD_ERR_UNKNOWN, "a root file system is required to look up a %s",
		                 what);
	if (text == NULL)
		return error_set_errno(error, ENOENT, "open %s", path);
	return error_set(error, CTRD_ERR_UNKNOWN, "no %ss found", what);
}

/* uid, or a name; its group is that of /etc/passwd, 0 where there is none. */
static bool lookup_user(const UserFiles *files, const char *user, IdKind kind, User *u, GError **error)
{
	g_auto(Entry) e = {0};
	if (!find_entry(files->passwd, kind == ID_NUMBER ? NULL : user, u->uid, false, &e))
		return kind == ID_NUMBER || not_found(files, files->passwd, PASSWD, "user", error);
	u->uid = e.uid;
	u->gid = e.gid;
	u->name = g_strdup(e.fields[0]);
	return true;
}

static bool lookup_group(const UserFiles *files, const char *name, IdKind kind, User *u, GError **error)
{
	g_auto(Entry) e = {0};
	if (kind == ID_NUMBER)
		return true;
	if (!find_entry(files->group, name, 0, true, &e))
		return not_found(files, files->group, GROUP, "group", error);
	u->gid = e.uid;
	return true;
}

/* One part of USER. An empty one is 0, as upstream has it where there are two. */
static bool parse_part(const char *user, const char *part, const char *what, IdKind *ret_kind, uint32_t *ret,
                       GError **error)
{
	*ret = 0;
	*ret_kind = *part == '\0' ? ID_NUMBER : parse_id(part, ret);
	if (*ret_kind == ID_OUT_OF_RANGE)
		return error_set(error, CTRD_ERR_UNKNOWN, "invalid USER value %s: %s out of range", Q(user),
		                 what);
	if (*ret_kind == ID_MALFORMED)
		return error_set(error, CTRD_ERR_UNKNOWN, "invalid USER value %s: neither a %s nor a name",
		                 Q(user), what);
	return true;
}

static bool resolve_user(const char *user, const UserFiles *files, User *u, GError **error)
{
	g_auto(GStrv) parts = g_strsplit(user, ":", 4);
	guint n = g_strv_length(parts);
	if (n > 2)
		return error_set(error, CTRD_ERR_UNKNOWN, "invalid USER value %s", user);
	uint32_t gid = 0;
	IdKind kind, group_kind = ID_NUMBER;
	if (!parse_part(user, parts[0], "uid", &kind, &u->uid, error) ||
	    (n == 2 && !parse_part(user, parts[1], "gid", &group_kind, &gid, error)) ||
	    !lookup_user(files, parts[0], kind, u, error))
		return false;
	if (n == 1)
		return true;
	u->gid = gid;
	return lookup_group(files, parts[1], group_kind, u, error);
}

/* The groups that list the user; its own group comes first. */
static JsonObject *additional_gids(const char *group, const User *u)
{
	JsonObject *gids = json_object_new_array();
	json_object_array_add(gids, json_object_new_int64(u->gid));
	g_auto(GStrv) lines = g_strsplit(group != NULL ? group : "", "\n", -1);
	for (char **l = lines; u->name != NULL && *l != NULL; l++) {
		g_auto(GStrv) fields = g_strsplit(g_strstrip(*l), ":", -1);
		guint n = g_strv_length(fields);
		uint32_t gid;
		if (n < 4 || strcmp(fields[0], u->name) == 0 || !parse_field(fields, n, 2, &gid) ||
		    gid == u->gid)
			continue;
		g_auto(GStrv) members = g_strsplit(fields[3], ",", -1);
		if (g_strv_contains((const char *const *)members, u->name))
			json_object_array_add(gids, json_object_new_int64(gid));
	}
	return gids;
}

bool spec_set_user(JsonObject *spec, const char *user, int rootfd, GError **error)
{
	g_autofree char *passwd = NULL, *group = NULL, *name = NULL;
	if (rootfd >= 0 && (!read_user_file(rootfd, PASSWD, &passwd, error) ||
	                    !read_user_file(rootfd, GROUP, &group, error)))
		return false;
	UserFiles files = {passwd, group, rootfd >= 0};
	User u = {0};
	if (str_empty(user))
		u.name = g_strdup("root");
	bool ok = str_empty(user) || resolve_user(user, &files, &u, error);
	name = u.name;
	if (!ok)
		return false;
	JsonObject *process = json_get_object(spec, "process"), *o = json_object_new_object();
	json_set_int64(o, "uid", u.uid);
	json_set_int64(o, "gid", u.gid);
	json_set(o, "additionalGids", additional_gids(group, &u));
	if (process == NULL) {
		process = json_object_new_object();
		json_set(spec, "process", process);
	}
	json_set(process, "user", o);
	return true;
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
