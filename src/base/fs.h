// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Files and directories, fd-relative where a name comes from outside. All functions block; thread-safe.
 * Error texts follow Go's PathError: `open /x: no such file or directory`, class UNKNOWN, except where said.
 */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Read a whole file of at most max bytes; more is RESOURCE_EXHAUSTED with the limit in the text. Only regular
 * files (procfs' are: they report size 0 and are read until EOF); a FIFO or a device is INVALID_ARGUMENT. The
 * result is NUL-terminated past ret_len (which may be NULL). */
bool file_read(const char *path, size_t max, char **ret_data, size_t *ret_len, GError **error);
bool file_read_at(int dirfd, const char *name, size_t max, char **ret_data, size_t *ret_len, GError **error);
bool fd_read_all(int fd, size_t max, char **ret_data, size_t *ret_len, GError **error);

/* Write all; EINTR and short writes are handled. */
bool fd_write_all(int fd, const void *data, size_t len, GError **error);

/* Replace a file so that a crash leaves the old or the new content: temp file beside it, write, fsync,
 * rename, fsync of the directory. durable=false leaves out the two fsyncs (state on tmpfs). */
bool file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, bool durable,
                       GError **error);

/* mkdir -p; every missing component gets the mode exactly (independent of the umask). */
bool dir_make_all(const char *path, mode_t mode, GError **error);
/* The directory exists afterwards with exactly this mode (made, or chmod'ed). */
bool dir_ensure(const char *path, mode_t mode, GError **error);
bool dir_fsync(const char *path, GError **error);
/* rm -rf without following links, without crossing into mounts (EBUSY is an error), fd-relative. A path that
 * does not exist is no error. */
bool tree_remove(const char *path, GError **error);
bool tree_remove_at(int dirfd, const char *name, GError **error);
/* Bytes allocated (st_blocks*512, hard links once) and inodes below a directory; upstream's fs.DiskUsage. */
bool tree_usage(const char *path, int64_t *ret_bytes, int64_t *ret_inodes, GError **error);

/* Names in a directory without "." and "..", sorted; at most max entries (0: no limit). GPtrArray of char*.
 */
GPtrArray *dir_list(const char *path, size_t max, GError **error);

/* openat2(2) with RESOLVE_IN_ROOT: links are resolved as if root were "/". flags get O_CLOEXEC. Returns fd or
 * -1. */
int open_in_root(int rootfd, const char *path, int flags, mode_t mode, GError **error);
/* openat2(2) with RESOLVE_BENEATH|RESOLVE_NO_MAGICLINKS. */
int open_beneath(int dirfd, const char *path, int flags, mode_t mode, GError **error);

/* A file that is only ours: O_TMPFILE-like temp name in dir; the caller closes and unlinks. */
int file_temp(const char *dir, const char *prefix, char **ret_path, GError **error);

bool path_exists(const char *path);
/* Join with one slash; part must not be empty. Owned by the caller. */
char *path_join(const char *a, const char *b);
/* Lexical clean as Go's filepath.Clean. Owned by the caller. */
char *path_clean(const char *path);
