// SPDX-License-Identifier: Apache-2.0
/*
 * ctr install (upstream client/install.go): the files in an image's /bin, and in its /lib where asked for, go
 * into the managed directory of the daemon's opt plugin. Upstream filters the layers' archives; here the
 * unpacked image is mounted read-only and copied from, which gives the same files (and none that a later
 * layer took away).
 */
#include "base/fs.h"
#include "ctr/container.h"
#include "ctr/image.h"
#include "ctr/snapshots.h"
#include "ctr/util.h"
#include "mount/mount.h"
#include "services/introspection/v1/introspection.pb-c.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static char *install_path(Cli *cli, GError **error)
{
	if (*cli_string(cli, "path") != '\0')
		return g_strdup(cli_string(cli, "path"));
	static const char *filters[] = {"id==opt"};
	Containerd__Services__Introspection__V1__PluginsRequest req =
	        CONTAINERD__SERVICES__INTROSPECTION__V1__PLUGINS_REQUEST__INIT;
	req.filters = filters;
	req.n_filters = 1;
	autopb Containerd__Services__Introspection__V1__PluginsResponse *resp = NULL;
	if (!ctr_call(cli, &containerd__services__introspection__v1__introspection__descriptor, "Plugins",
	              &req, &resp, error))
		return NULL;
	if (resp->n_plugins != 1) {
		error_set(error, CTRD_ERR_UNKNOWN, "opt service not enabled");
		return NULL;
	}
	for (size_t i = 0; i < resp->plugins[0]->n_exports; i++) {
		if (g_str_equal(resp->plugins[0]->exports[i]->key, "path"))
			return g_strdup(resp->plugins[0]->exports[i]->value);
	}
	error_set(error, CTRD_ERR_UNKNOWN, "opt path not exported");
	return NULL;
}

typedef struct {
	const char *to; // the managed directory
	bool libs, replace;
	GError *failed; // of what was copied
} Install;

static bool copy_bytes(int from, int to, off_t size)
{
	while (size > 0) {
		ssize_t n = RETRY_EINTR(sendfile(to, from, NULL, (size_t)MIN(size, 1 << 30)));
		if (n <= 0)
			return n == 0;
		size -= n;
	}
	return true;
}

/* One regular file, under a name of its own first. */
static bool copy_file(int from_dir, int to_dir, const char *name, const struct stat *st, const char *temp)
{
	autofd from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	autofd to = openat(to_dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return from >= 0 && to >= 0 && copy_bytes(from, to, st->st_size) &&
	       fchown(to, st->st_uid, st->st_gid) == 0 && fchmod(to, st->st_mode & 07777) == 0 &&
	       fsync(to) == 0;
}

static bool copy_link(int from_dir, int to_dir, const char *name, const char *temp)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from_dir, name, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	return symlinkat(target, to_dir, temp) == 0;
}

static bool install_entry(const Install *in, const char *dir, int from_dir, int to_dir, const char *name,
                          GError **error)
{
	struct stat st, there;
	if (fstatat(from_dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return error_set_errno(error, errno, "lstat /%s/%s", dir, name);
	if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
		return true;
	if (!in->replace && fstatat(to_dir, name, &there, AT_SYMLINK_NOFOLLOW) == 0)
		return error_set(error, CTRD_ERR_UNKNOWN, "cannot replace %s/%s in %s", dir, name, in->to);
	g_autofree char *temp = g_strdup_printf(".%s.%d", name, (int)getpid());
	bool ok = S_ISREG(st.st_mode) ? copy_file(from_dir, to_dir, name, &st, temp)
	                              : copy_link(from_dir, to_dir, name, temp);
	ok = ok && renameat(to_dir, temp, to_dir, name) == 0;
	int saved = errno;
	if (!ok)
		unlinkat(to_dir, temp, 0);
	return ok || error_set_errno(error, saved, "install %s/%s in %s", dir, name, in->to);
}

/* A directory that is none (or a symbolic link elsewhere) has nothing to install. */
static bool install_dir(const Install *in, const char *root, const char *dir, GError **error)
{
	g_autofree char *from = g_build_filename(root, dir, NULL), *to = g_build_filename(in->to, dir, NULL);
	autofd from_fd = open(from, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (from_fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ||
		       error_set_errno(error, errno, "open %s", from);
	if (!dir_make_all(to, 0755, error))
		return false;
	autofd to_fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (to_fd < 0)
		return error_set_errno(error, errno, "open %s", to);
	DIR *d = fdopendir(dup(from_fd));
	if (d == NULL)
		return error_set_errno(error, errno, "open %s", from);
	bool ok = true;
	const struct dirent *e;
	while (ok && (e = readdir(d)) != NULL)
		ok = g_str_equal(e->d_name, ".") || g_str_equal(e->d_name, "..") ||
		     install_entry(in, dir, from_fd, to_fd, e->d_name, error);
	closedir(d);
	return ok && (fsync(to_fd) == 0 || error_set_errno(error, errno, "sync %s", to));
}

static bool install_from(const char *root, void *data, GError **error)
{
	Install *in = data;
	if (install_dir(in, root, "bin", &in->failed) && in->libs)
		install_dir(in, root, "lib", &in->failed);
	return true;
}

static bool install(Cli *cli, Install *in, const char *key, GError **error)
{
	autopb Containerd__Services__Images__V1__GetImageResponse *image = NULL;
	autopb Containerd__Services__Snapshots__V1__ViewSnapshotResponse *view = NULL;
	g_autofree char *id = NULL;
	bool unpacked = false;
	const char *snapshotter = "overlayfs";
	if (!ctr_image_get(cli, cli_arg(cli, 0), &image, error))
		return false;
	g_autoptr(Descriptor) target = ctr_image_target(image->image);
	g_autoptr(PlatformMatcher) matcher = platform_matcher_default();
	g_autoptr(Manifest) m = ctr_manifest(cli, target, matcher, error);
	if (m == NULL || !ctr_image_unpack(cli, m, snapshotter, false, error) ||
	    !ctr_image_unpacked(cli, m, snapshotter, &unpacked, &id, error) ||
	    !ctr_snapshot_view(cli, snapshotter, key, id, &view, error))
		return false;
	g_autoptr(GPtrArray) mounts = ctr_mounts_in(view->n_mounts, view->mounts);
	bool ok = mounts_with_readonly_temp(mounts, NULL, install_from, in, error);
	ctr_snapshot_remove(cli, snapshotter, key, NULL);
	if (in->failed == NULL)
		return ok;
	g_clear_error(error);
	g_propagate_error(error, g_steal_pointer(&in->failed));
	return false;
}

static bool install_run(Cli *cli, GError **error)
{
	g_autofree char *path = install_path(cli, error);
	if (path == NULL || !ctr_lease_hold(cli, error))
		return false;
	Install in = {.to = path, .libs = cli_bool(cli, "libs"), .replace = cli_bool(cli, "replace")};
	g_autofree char *random = g_uuid_string_random(), *key = g_strconcat("install-", random, NULL);
	bool ok = install(cli, &in, key, error);
	ctr_lease_release(cli);
	return ok;
}

static const CliFlag install_flags[] = {
        {"libs", FLAG_BOOL, "Install libs from the image", {"l"}, "false"},
        {"replace", FLAG_BOOL, "Replace any binaries or libs in the opt directory", {"r"}, "false"},
        {"path", FLAG_STRING, "Set an optional install path other than the managed opt directory"},
        {0},
};
const CliCommand cmd_install = {
        .name = "install",
        .usage = "Install a new package",
        .arguments = "<ref>",
        .description = "   install a new package",
        .flags = {install_flags},
        .run = install_run,
};
