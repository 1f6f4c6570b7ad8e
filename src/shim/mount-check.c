// SPDX-License-Identifier: Apache-2.0

#include "shim/mount-check.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/util.h"
#include "mount/mount.h"
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define SPEC_MAX (8 * 1024 * 1024)

typedef enum {
	KIND_UNKNOWN,
	KIND_DIRECTORY,
	KIND_FILE, // whatever is no directory
} Kind;

/* A mount that comes before those that are looked at now. */
typedef struct {
	char *path; // in the root, links resolved
	Kind kind;
} Done;

static void done_clear(void *data)
{
	g_free(((Done *)data)->path);
}

typedef struct {
	int root;        // O_PATH
	char *root_path; // as /proc shows it
	GArray *done;    // of Done
	JsonObject *spec;
	bool hooks; // of the kind that may make sources, with some runtimes
} Check;

typedef struct {
	const char *source, *target, *type;
	char **options;
	bool bind;
	JsonObject *json;
} SpecMount;

static bool refuse(const SpecMount *m, int errnum, GError **error, const char *format, ...)
        G_GNUC_PRINTF(4, 5);
static bool refuse(const SpecMount *m, int errnum, GError **error, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	g_autofree char *why = g_strdup_vprintf(format, args);
	va_end(args);
	g_autofree char *cause = errno_text(errnum);
	return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "cannot mount %s onto %s (%s): %s: %s",
	                       Q(str_or(m->source, "")), Q(m->target), m->bind ? "bind" : str_or(m->type, ""),
	                       why, cause);
}

static Kind kind_of(const struct stat *st)
{
	return S_ISDIR(st->st_mode) ? KIND_DIRECTORY : KIND_FILE;
}

// ---- the target ----

typedef struct {
	bool covered; // below an earlier mount: what the root has there does not count
	Kind kind;    // UNKNOWN: does not exist, or covered
	char *path;   // where it is, or will be
} Target;

/* Below which earlier mount does path lie; exact: or is it that one itself? */
static const Done *covering(const Check *c, const char *path)
{
	for (guint i = c->done->len; i-- > 0;) {
		const Done *d = &g_array_index(c->done, Done, i);
		size_t n = strlen(d->path);
		bool root = n == 1; // "/"
		if (root || (strncmp(path, d->path, n) == 0 && (path[n] == '\0' || path[n] == '/')))
			return d;
	}
	return NULL;
}

/* The path of an fd below the root; NULL where it is not there any more. */
static char *path_in_root(const Check *c, int fd)
{
	g_autofree char *proc = g_strdup_printf("/proc/self/fd/%d", fd);
	char path[PATH_MAX];
	ssize_t n = readlink(proc, path, sizeof path - 1);
	size_t root = strlen(c->root_path);
	if (n <= 0)
		return NULL;
	path[n] = '\0';
	if (strncmp(path, c->root_path, root) != 0)
		return NULL;
	const char *rest = path + root;
	return *rest == '/' ? g_strdup(rest) : *rest == '\0' ? g_strdup("/") : NULL;
}

/* One more component of the target. false: nothing more can be learned, *ret is complete or *error set. */
static bool step(const Check *c, const SpecMount *m, const char *prefix, const char *rest, Target *ret,
                 GError **error)
{
	autofd fd = open_in_root(c->root, prefix, O_PATH, 0, NULL);
	struct stat st;
	if (fd < 0) {
		if (errno == ENOTDIR)
			return refuse(m, errno, error, "the target's parent in the container is a file");
		if (errno == ELOOP)
			return refuse(m, errno, error, "the target in the container");
		return false; // does not exist; or the runtime knows better
	}
	g_autofree char *path = path_in_root(c, fd);
	if (path == NULL || fstat(fd, &st) != 0)
		return false;
	const Done *d = covering(c, path);
	bool last = *rest == '\0';
	g_free(ret->path);
	ret->path = last ? g_strdup(path) : g_build_filename(path, rest, NULL);
	if (d != NULL) {
		ret->covered = true;
		ret->kind = last && g_str_equal(d->path, path) ? d->kind : KIND_UNKNOWN;
		return false;
	}
	ret->kind = last ? kind_of(&st) : KIND_UNKNOWN;
	return true;
}

/* From the root down, component by component: an earlier mount may hide what the root has below it. */
static bool find_target(const Check *c, const SpecMount *m, Target *ret, GError **error)
{
	g_autofree char *absolute = g_strconcat("/", m->target, NULL);
	g_autofree char *clean = path_clean(absolute);
	GError *failed = NULL;
	ret->path = g_strdup(clean);
	for (char *p = clean; *p != '\0';) {
		char *slash = strchr(p + 1, '/');
		if (slash != NULL)
			*slash = '\0';
		bool more = step(c, m, clean, slash != NULL ? slash + 1 : "", ret, &failed);
		if (slash == NULL || !more)
			break;
		*slash = '/';
		p = slash;
	}
	if (failed == NULL)
		return true;
	g_propagate_error(error, failed);
	return false;
}

// ---- the source ----

static char *source_path(const Check *c, const SpecMount *m, const char *bundle)
{
	return g_path_is_absolute(m->source) ? g_strdup(m->source)
	                                     : g_build_filename(bundle, m->source, NULL);
}

static bool check_source(const Check *c, const SpecMount *m, const char *path, Kind *ret, GError **error)
{
	struct stat st;
	*ret = KIND_UNKNOWN;
	if (stat(path, &st) == 0) {
		*ret = kind_of(&st);
		return true;
	}
	if (errno == ENOENT && c->hooks)
		return true;
	if (errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == ELOOP || errno == ENAMETOOLONG)
		return refuse(m, errno, error, "the source on the host");
	return true;
}

// ---- id maps ----

/* [{containerID, hostID, size}] as mount_userns_fd wants it. */
static char *map_text(JsonObject *map)
{
	g_autoptr(GString) s = g_string_new(NULL);
	for (size_t i = 0; map != NULL && i < json_object_array_length(map); i++) {
		JsonObject *e = json_object_array_get_idx(map, i);
		int64_t container = 0, host = 0, size = 0;
		json_get_int64(e, "containerID", &container);
		json_get_int64(e, "hostID", &host);
		json_get_int64(e, "size", &size);
		g_string_append_printf(s, "%s%" G_GINT64_FORMAT ":%" G_GINT64_FORMAT ":%" G_GINT64_FORMAT,
		                       i > 0 ? "," : "", container, host, size);
	}
	return g_string_free(g_steal_pointer(&s), FALSE);
}

static bool has_option(const SpecMount *m, const char *option)
{
	return m->options != NULL && g_strv_contains((const char *const *)m->options, option);
}

static bool check_idmap(const Check *c, const SpecMount *m, const char *path, GError **error)
{
	JsonObject *uids = json_get_array(m->json, "uidMappings");
	JsonObject *gids = json_get_array(m->json, "gidMappings");
	if (uids == NULL && gids == NULL) {
		if (!has_option(m, "idmap") && !has_option(m, "ridmap"))
			return true;
		JsonObject *os = json_get_object(c->spec, "linux");
		uids = os != NULL ? json_get_array(os, "uidMappings") : NULL;
		gids = os != NULL ? json_get_array(os, "gidMappings") : NULL;
	}
	if (uids == NULL || gids == NULL)
		return true; // the runtime knows a reason
	g_autofree char *uid_text = map_text(uids);
	g_autofree char *gid_text = map_text(gids);
	g_autofree char *fstype = NULL;
	bool supported = true;
	if (!mount_idmap_supported(path, uid_text, gid_text, &supported, &fstype, NULL) || supported)
		return true;
	return refuse(m, EINVAL, error, "file system %s does not support id-mapped mounts", fstype);
}

// ---- types ----

/* fsopen(2) loads the module as mount(2) does. */
static bool check_type(const SpecMount *m, GError **error)
{
	if (str_empty(m->type) || g_str_equal(m->type, "none") || g_str_has_prefix(m->type, "cgroup"))
		return true;
	autofd fs = fsopen(m->type, FSOPEN_CLOEXEC);
	if (fs >= 0 || errno != ENODEV)
		return true;
	return refuse(m, ENODEV, error, "the kernel does not know this type of file system");
}

// ---- one, and all ----

static bool check_kinds(const SpecMount *m, Kind source, Kind target, GError **error)
{
	if (source == KIND_UNKNOWN || target == KIND_UNKNOWN || source == target)
		return true;
	if (!m->bind)
		return refuse(m, ENOTDIR, error, "the target in the container is a file");
	return refuse(m, ENOTDIR, error, "the source is a %s, the target in the container is a %s",
	              source == KIND_DIRECTORY ? "directory" : "file",
	              target == KIND_DIRECTORY ? "directory" : "file");
}

static bool check_mount(Check *c, const SpecMount *m, const char *bundle, GError **error)
{
	if (has_option(m, "remount"))
		return true;
	Kind source = KIND_DIRECTORY;
	Target target = {.kind = KIND_UNKNOWN};
	bool ok = true;
	if (m->bind) {
		g_autofree char *path = source_path(c, m, bundle);
		ok = check_source(c, m, path, &source, error) && check_idmap(c, m, path, error);
	} else {
		ok = check_type(m, error);
	}
	ok = ok && find_target(c, m, &target, error) && check_kinds(m, source, target.kind, error);
	if (ok) {
		Done done = {g_steal_pointer(&target.path), source};
		g_array_append_val(c->done, done);
	}
	g_free(target.path);
	return ok;
}

static bool is_bind(const char *type, char **options)
{
	return g_strcmp0(type, "bind") == 0 ||
	       (options != NULL && (g_strv_contains((const char *const *)options, "bind") ||
	                            g_strv_contains((const char *const *)options, "rbind")));
}

static bool check_mounts(Check *c, const char *bundle, GError **error)
{
	JsonObject *mounts = json_get_array(c->spec, "mounts");
	for (size_t i = 0; mounts != NULL && i < json_object_array_length(mounts); i++) {
		JsonObject *o = json_object_array_get_idx(mounts, i);
		g_auto(GStrv) options = NULL;
		SpecMount m = {.source = json_get_string(o, "source"),
		               .target = json_get_string(o, "destination"),
		               .type = json_get_string(o, "type"),
		               .json = o};
		if (!json_get_strv(o, "options", &options, NULL) || str_empty(m.target))
			continue; // the runtime says what it thinks of that
		m.options = options;
		m.bind = is_bind(m.type, options);
		if (m.bind && str_empty(m.source))
			continue;
		if (!check_mount(c, &m, bundle, error))
			return false;
	}
	return true;
}

static bool has_hooks(JsonObject *spec, const char *name)
{
	JsonObject *hooks = json_get_object(spec, "hooks");
	JsonObject *list = hooks != NULL ? json_get_array(hooks, name) : NULL;
	return list != NULL && json_object_array_length(list) > 0;
}

static int open_root(JsonObject *spec, const char *bundle)
{
	JsonObject *root = json_get_object(spec, "root");
	const char *path = root != NULL ? json_get_string(root, "path") : NULL;
	if (str_empty(path))
		return -1;
	g_autofree char *full =
	        g_path_is_absolute(path) ? g_strdup(path) : g_build_filename(bundle, path, NULL);
	return open(full, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

bool mount_check_spec(const char *bundle, GError **error)
{
	g_autofree char *path = g_build_filename(bundle, "config.json", NULL);
	g_autofree char *text = NULL;
	size_t len = 0;
	if (!file_read(path, SPEC_MAX, &text, &len, NULL))
		return true;
	g_autoptr(JsonObject) spec = json_parse(text, len, SPEC_MAX, NULL);
	autofd root = spec != NULL ? open_root(spec, bundle) : -1;
	if (root < 0)
		return true;
	g_autofree char *proc = g_strdup_printf("/proc/self/fd/%d", root);
	g_autofree char *root_path = g_file_read_link(proc, NULL);
	if (root_path == NULL)
		return true;
	if (g_str_equal(root_path, "/"))
		*root_path = '\0';
	g_autoptr(GArray) done = g_array_new(FALSE, FALSE, sizeof(Done));
	g_array_set_clear_func(done, done_clear);
	Check c = {.root = root,
	           .root_path = root_path,
	           .done = done,
	           .spec = spec,
	           .hooks = has_hooks(spec, "prestart") || has_hooks(spec, "createRuntime")};
	return check_mounts(&c, bundle, error);
}
