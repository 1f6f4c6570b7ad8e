// SPDX-License-Identifier: Apache-2.0
#include "base/fs.h"
#include "base/error.h"
#include "base/util.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

static int openat2_(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {
	        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
	        .mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? mode : 0,
	        .resolve = resolve,
	};
	long fd;
	// EAGAIN: something was renamed or mounted meanwhile, so that the kernel could not vouch for ".."
	int tries = 0;
	do
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || (errno == EAGAIN && ++tries < 64)));
	return (int)fd;
}

int open_in_root(int rootfd, const char *path, int flags, mode_t mode, GError **error)
{
	int fd = openat2_(rootfd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
	if (fd < 0)
		error_set_errno(error, errno, "open %s", path);
	return fd;
}

int open_beneath(int dirfd, const char *path, int flags, mode_t mode, GError **error)
{
	int fd = openat2_(dirfd, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
	if (fd < 0)
		error_set_errno(error, errno, "open %s", path);
	return fd;
}

static bool read_all_named(int fd, const char *name, size_t max, char **ret_data, size_t *ret_len,
                           GError **error)
{
	struct stat st;
	size_t room = 4096;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
		room = MIN((size_t)st.st_size, max) + 1;
	g_autofree char *data = g_malloc(room + 1);
	size_t len = 0;
	for (;;) {
		// one byte more than max is asked for, to see whether there is more
		size_t want = MIN(room - len, max - len + 1);
		ssize_t n = RETRY_EINTR(read(fd, data + len, want));
		if (n < 0)
			return error_set_errno(error, errno, "read %s", name);
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max)
			return error_set_class(error, CTRD_ERR_RESOURCE_EXHAUSTED,
			                       "read %s: more than %zu bytes", name, max);
		if (len == room) {
			room *= 2;
			data = g_realloc(data, room + 1);
		}
	}
	data[len] = '\0';
	*ret_data = g_steal_pointer(&data);
	if (ret_len != NULL)
		*ret_len = len;
	return true;
}

bool fd_read_all(int fd, size_t max, char **ret_data, size_t *ret_len, GError **error)
{
	g_autofree char *name = g_strdup_printf("fd %d", fd);
	return read_all_named(fd, name, max, ret_data, ret_len, error);
}

bool file_read_at(int dirfd, const char *name, size_t max, char **ret_data, size_t *ret_len, GError **error)
{
	// O_NONBLOCK so that a FIFO does not hold us; it means nothing for regular files
	autofd fd = RETRY_EINTR(openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
	if (fd < 0)
		return error_set_errno(error, errno, "open %s", name);
	struct stat st;
	if (fstat(fd, &st) != 0)
		return error_set_errno(error, errno, "stat %s", name);
	if (S_ISDIR(st.st_mode))
		return error_set_errno(error, EISDIR, "read %s", name);
	if (!S_ISREG(st.st_mode))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "read %s: not a regular file", name);
	return read_all_named(fd, name, max, ret_data, ret_len, error);
}

bool file_read(const char *path, size_t max, char **ret_data, size_t *ret_len, GError **error)
{
	return file_read_at(AT_FDCWD, path, max, ret_data, ret_len, error);
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = RETRY_EINTR(write(fd, data, len));
		if (n < 0)
			return -1;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

bool fd_write_all(int fd, const void *data, size_t len, GError **error)
{
	return write_all(fd, data, len) == 0 || error_set_errno(error, errno, "write fd %d", fd);
}

/* A name that nobody guesses and few share: the caller retries on EEXIST. */
static char *temp_name(const char *dir, const char *prefix)
{
	return g_strdup_printf("%s/%s%08x%08x", dir, prefix, g_random_int(), g_random_int());
}

int file_temp(const char *dir, const char *prefix, char **ret_path, GError **error)
{
	for (int tries = 0;; tries++) {
		g_autofree char *path = temp_name(dir, prefix);
		int fd = RETRY_EINTR(open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
		if (fd >= 0) {
			*ret_path = g_steal_pointer(&path);
			return fd;
		}
		if (errno != EEXIST || tries == 100) {
			error_set_errno(error, errno, "open %s", path);
			return -1;
		}
	}
}

bool dir_fsync(const char *path, GError **error)
{
	autofd fd = RETRY_EINTR(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (fd < 0)
		return error_set_errno(error, errno, "open %s", path);
	if (fsync(fd) != 0)
		return error_set_errno(error, errno, "sync %s", path);
	return true;
}

/* A file that goes at the end of the scope, unless its path was set to NULL. */
static void unlink_cleanup(char **path)
{
	if (*path == NULL)
		return;
	unlink(*path);
	g_free(*path);
}

bool file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, bool durable,
                       GError **error)
{
	g_autofree char *dir = g_path_get_dirname(path);
	g_autofree char *base = g_path_get_basename(path);
	g_autofree char *prefix = g_strdup_printf(".tmp-%s-", base);
	__attribute__((cleanup(unlink_cleanup))) char *temp = NULL;

	autofd fd = file_temp(dir, prefix, &temp, error);
	if (fd < 0)
		return false;
	if (write_all(fd, data, len) != 0)
		return error_set_errno(error, errno, "write %s", temp);
	if (fchmod(fd, mode) != 0)
		return error_set_errno(error, errno, "chmod %s", temp);
	if (durable && fsync(fd) != 0)
		return error_set_errno(error, errno, "sync %s", temp);
	if (rename(temp, path) != 0)
		return error_set_errno(error, errno, "rename %s %s", temp, path);
	g_clear_pointer(&temp, g_free);
	return !durable || dir_fsync(dir, error);
}

/* mkdir with the exact mode. Returns 0, or an errno. */
static int make_dir(const char *path, mode_t mode)
{
	if (mkdir(path, mode) != 0)
		return errno;
	return chmod(path, mode) == 0 ? 0 : errno;
}

bool dir_make_all(const char *path, mode_t mode, GError **error)
{
	struct stat st;
	if (stat(path, &st) == 0)
		return S_ISDIR(st.st_mode) || error_set_errno(error, ENOTDIR, "mkdir %s", path);

	g_autofree char *prefix = g_strdup(path);
	for (char *p = prefix + 1; *prefix != '\0'; p++) {
		if (*p != '/' && *p != '\0')
			continue;
		bool last = *p == '\0';
		*p = '\0';
		int e = make_dir(prefix, mode);
		// EEXIST: it was there, or another thread made it; whatever else is there shows at the next
		// step
		if (e != 0 && e != EEXIST && !(e == EROFS && path_exists(prefix)))
			return error_set_errno(error, e, "mkdir %s", prefix);
		if (last)
			break;
		*p = '/';
	}
	if (stat(path, &st) != 0)
		return error_set_errno(error, errno, "mkdir %s", path);
	return S_ISDIR(st.st_mode) || error_set_errno(error, ENOTDIR, "mkdir %s", path);
}

bool dir_ensure(const char *path, mode_t mode, GError **error)
{
	if (!dir_make_all(path, mode, error))
		return false;
	struct stat st;
	if (stat(path, &st) != 0)
		return error_set_errno(error, errno, "stat %s", path);
	if ((st.st_mode & 07777) != mode && chmod(path, mode) != 0)
		return error_set_errno(error, errno, "chmod %s", path);
	return true;
}

static void dir_close_cleanup(DIR **dir)
{
	if (*dir != NULL)
		closedir(*dir);
}

static int compare_names(gconstpointer a, gconstpointer b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

GPtrArray *dir_list(const char *path, size_t max, GError **error)
{
	__attribute__((cleanup(dir_close_cleanup))) DIR *dir = opendir(path);
	if (dir == NULL) {
		error_set_errno(error, errno, "open %s", path);
		return NULL;
	}
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	for (;;) {
		errno = 0;
		struct dirent *e = readdir(dir);
		if (e == NULL && errno != 0) {
			error_set_errno(error, errno, "readdirent %s", path);
			return NULL;
		}
		if (e == NULL)
			break;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (max != 0 && names->len == max) {
			error_set_class(error, CTRD_ERR_RESOURCE_EXHAUSTED,
			                "readdirent %s: more than %zu entries", path, max);
			return NULL;
		}
		g_ptr_array_add(names, g_strdup(e->d_name));
	}
	g_ptr_array_sort(names, compare_names);
	return g_steal_pointer(&names);
}

bool path_exists(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0;
}

char *path_join(const char *a, const char *b)
{
	g_assert(*a != '\0' && *b != '\0');
	size_t len = strlen(a);
	while (len > 1 && a[len - 1] == '/')
		len--;
	while (*b == '/' && b[1] != '\0')
		b++;
	if (len == 1 && *a == '/')
		return g_strdup_printf("/%s", *b == '/' ? "" : b);
	return g_strdup_printf("%.*s/%s", (int)len, a, *b == '/' ? "" : b);
}

char *path_clean(const char *path)
{
	const bool rooted = *path == '/';
	GString *out = g_string_new(rooted ? "/" : "");
	gsize keep = out->len; // what ".." may not remove
	while (*path != '\0') {
		size_t len = strcspn(path, "/");
		if (len == 2 && path[0] == '.' && path[1] == '.') {
			if (out->len > keep) {
				while (out->len > keep && out->str[out->len - 1] != '/')
					g_string_truncate(out, out->len - 1);
				if (out->len > keep)
					g_string_truncate(out, out->len - 1);
			} else if (!rooted) {
				g_string_append(out, out->len > 0 ? "/.." : "..");
				keep = out->len;
			}
		} else if (len > 0 && !(len == 1 && *path == '.')) {
			if (out->len > (rooted ? 1U : 0U))
				g_string_append_c(out, '/');
			g_string_append_len(out, path, (gssize)len);
		}
		path += len;
		path += *path == '/';
	}
	if (out->len == 0)
		g_string_append_c(out, '.');
	return g_string_free(out, FALSE);
}
