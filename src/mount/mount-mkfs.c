// SPDX-License-Identifier: Apache-2.0

/* The `mkfs/` transformer. Upstream: core/mount/manager/mkfs.go. */

#include "base/error.h"
#include "base/fs.h"
#include "base/process.h"
#include "base/util.h"
#include "mount/mount-active.h"
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PREFIX "X-containerd.mkfs."
#define MKFS_TIMEOUT_NS (INT64_C(300) * NS_PER_SEC)

// ---- sizes ----

static bool bad_suffix(const char *suffix, GError **error)
{
	g_autofree char *lower = strlen(suffix) > 3 ? g_strdup(suffix) : g_ascii_strdown(suffix, -1);
	return error_set(error, CTRD_ERR_UNKNOWN, "invalid suffix: '%s'", lower);
}

static bool parse_suffix(const char *s, double *ret_factor, GError **error)
{
	static const char units[] = "kmgtp";
	size_t n = strlen(s);
	*ret_factor = 1;
	if (n == 0 || g_ascii_strcasecmp(s, "b") == 0)
		return true;
	const char *unit = strchr(units, g_ascii_tolower(*s));
	bool end = n == 1 || (n == 2 && g_ascii_strcasecmp(s + 1, "b") == 0) ||
	           (n == 3 && g_ascii_strcasecmp(s + 1, "ib") == 0);
	if (unit == NULL || !end)
		return bad_suffix(s, error);
	*ret_factor = (double)(INT64_C(1) << (10 * (unit - units + 1)));
	return true;
}

bool mount_size_parse(const char *text, int64_t *ret, GError **error)
{
	size_t n = strlen(text);
	while (n > 0 && !g_ascii_isdigit(text[n - 1]) && text[n - 1] != '.' && text[n - 1] != ' ')
		n--;
	if (n == 0)
		return error_set(error, CTRD_ERR_UNKNOWN, "invalid size: '%s'", text);
	g_autofree char *number = g_strndup(text, text[n - 1] == ' ' ? n - 1 : n);
	char *end = NULL;
	double value = g_ascii_strtod(number, &end);
	if (*number == '\0' || g_ascii_isspace(*number) || *end != '\0')
		return error_set(error, CTRD_ERR_UNKNOWN, "strconv.ParseFloat: parsing %s: invalid syntax",
		                 Q(number));
	double factor;
	if (!isfinite(value) || value < 0)
		return error_set(error, CTRD_ERR_UNKNOWN, "invalid size: '%s'", text);
	if (!parse_suffix(text + n, &factor, error))
		return false;
	if (value * factor >= (double)INT64_MAX)
		return error_set(error, CTRD_ERR_UNKNOWN, "invalid size: '%s'", text);
	*ret = (int64_t)(value * factor);
	return true;
}

// ---- options ----

typedef struct {
	int64_t size;
	const char *fs, *uuid;
} Mkfs;

static bool parse_option(const char *option, Mkfs *mkfs, GError **error)
{
	const char *key = option + strlen(PREFIX), *eq = strchr(key, '=');
	g_autofree char *name = eq != NULL ? g_strndup(key, (gsize)(eq - key)) : g_strdup(option);
	const char *value = eq != NULL ? eq + 1 : "true";
	if (g_str_equal(name, "size"))
		return mount_size_parse(value, &mkfs->size, error) ||
		       error_prefix(error, "bad option %s", name);
	if (g_str_equal(name, "fs"))
		mkfs->fs = value;
	else if (g_str_equal(name, "uuid"))
		mkfs->uuid = value;
	else
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "unknown mount option %s", name);
	return true;
}

/* Our options go, the others stay; what mkfs points to belongs to m. */
static Mount *take_options(const Mount *m, Mkfs *mkfs, GError **error)
{
	g_autoptr(GPtrArray) rest = g_ptr_array_new();
	for (char **o = m->options; *o != NULL; o++) {
		if (!g_str_has_prefix(*o, PREFIX))
			g_ptr_array_add(rest, *o);
		else if (!parse_option(*o, mkfs, error))
			return NULL;
	}
	g_ptr_array_add(rest, NULL);
	if (mkfs->size == 0) {
		error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "mkfs requires mkfs.size option");
		return NULL;
	}
	return mount_new(m->type, m->source, m->target, (const char *const *)rest->pdata);
}

// ---- making it ----

static bool run_mkfs(const Mkfs *mkfs, const char *file, GError **error)
{
	const char *argv[8] = {NULL, "-q"};
	g_autofree char *program = g_strconcat("mkfs.", mkfs->fs, NULL);
	g_autofree char *xfs_uuid = g_strconcat("uuid=", mkfs->uuid, NULL);
	bool xfs = g_str_equal(mkfs->fs, "xfs");
	size_t n = 2;
	argv[0] = program;
	if (mkfs->uuid != NULL) {
		argv[n++] = xfs ? "-m" : "-U";
		argv[n++] = xfs ? xfs_uuid : mkfs->uuid;
	}
	argv[n] = file;
	g_auto(ProcessResult) result = {0};
	ProcessSpec spec = {.argv = argv, .merge_stderr = true, .timeout_ns = MKFS_TIMEOUT_NS};
	if (!process_run(&spec, &result, error))
		return error_prefix(error, "%s failed: ", program);
	if (result.status == 0)
		return true;
	g_autofree char *status = process_status_text(result.status);
	return error_set(error, CTRD_ERR_UNKNOWN, "%s failed: %s: %s", program, result.out, status);
}

/* Under a name of its own until it is complete: a crash or a failing mkfs leaves no half of a file system for
 * the next call to take for a whole one. */
static bool make_file(int dir, const char *name, const char *shown, const Mkfs *mkfs, GError **error)
{
	g_autofree char *temp = g_strdup_printf(".%s.mkfs-%08x", name, g_random_int());
	autofd fd = openat(dir, temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (fd < 0)
		return error_set_errno(error, errno, "failed to create file %s", Q(shown));
	bool ok;
	// through our fd of the directory: nobody can put another one in its place meanwhile
	g_autofree char *path = g_strdup_printf("/proc/%d/fd/%d/%s", getpid(), dir, temp);
	if (ftruncate(fd, mkfs->size) != 0)
		ok = error_set_errno(error, errno, "failed to truncate file %s", Q(shown));
	else
		ok = run_mkfs(mkfs, path, error) || error_prefix(error, "failed format %s", Q(shown));
	if (ok && fsync(fd) != 0)
		ok = error_set_errno(error, errno, "failed to sync file %s", Q(shown));
	if (ok && renameat2(dir, temp, dir, name, RENAME_NOREPLACE) != 0)
		ok = error_set_errno(error, errno, "failed to create file %s", Q(shown));
	if (!ok)
		unlinkat(dir, temp, 0);
	return ok;
}

static bool make_below(int root, const char *rest, const char *shown, const Mkfs *mkfs, GError **error)
{
	g_autofree char *parent = g_path_get_dirname(rest);
	g_autofree char *name = g_path_get_basename(rest);
	// not O_PATH: mkfs reaches the file through it
	autofd dir = open_beneath(root, parent, O_RDONLY | O_DIRECTORY, 0, error);
	if (dir < 0)
		return error_prefix(error, "failed to stat %s", Q(shown));
	struct stat st;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (S_ISREG(st.st_mode))
			return true;
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "%s is not a regular file",
		                       Q(shown));
	}
	if (errno != ENOENT)
		return error_set_errno(error, errno, "failed to stat %s", Q(shown));
	static const char *const known[] = {"ext2", "ext3", "ext4", "xfs", NULL};
	if (!g_strv_contains(known, mkfs->fs))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "unsupported filesystem %s",
		                       Q(mkfs->fs));
	return make_file(dir, name, shown, mkfs, error);
}

Mount *mount_transform_mkfs(const Mount *m, const MountTransformEnv *env, GError **error)
{
	const char *source = str_or(m->source, "");
	g_autofree char *path = path_clean(source);
	const char *const *root = env->roots;
	size_t n = 0;
	for (; *root != NULL; root++) {
		n = strlen(*root);
		if (strncmp(path, *root, n) == 0 && path[n] == '/' && path[n + 1] != '\0')
			break;
	}
	if (*root == NULL) {
		error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED, "no root %s configured for mkfs", Q(source));
		return NULL;
	}
	Mkfs mkfs = {.fs = "ext4"};
	g_autoptr(Mount) rest = take_options(m, &mkfs, error);
	if (rest == NULL)
		return NULL;
	autofd fd = open(*root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		error_set_errno(error, errno, "open %s", *root);
		return NULL;
	}
	return make_below(fd, path + n + 1, source, &mkfs, error) ? g_steal_pointer(&rest) : NULL;
}
