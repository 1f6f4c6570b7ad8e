// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The mounts of a bundle's config.json against the root file system that is mounted, before the OCI runtime
 * tries them: what cannot work is said with both sides, where the runtimes say `mount through procfd: not a
 * directory` or less. Only what every runtime refuses is an error here; a target that does not exist is made
 * by them. Nothing is mounted or changed, no link leads out of the root. Blocks as long as the sources'
 * file systems do: for a helper process.
 */

#include "base/error.h"

/* Texts, class INVALID_ARGUMENT:
 *   cannot mount "/dir" onto "/etc/hosts" (bind): the source is a directory, the target in the container is a
 *     file: not a directory: invalid argument
 *   cannot mount "/none" onto "/data" (bind): the source on the host: no such file or directory: invalid
 * argument cannot mount "tmpfs" onto "/etc/hosts" (tmpfs): the target in the container is a file: not a
 * directory: ... cannot mount "x" onto "/a/b" (bind): the target's parent in the container is a file: not a
 * directory: ... cannot mount "x" onto "/x" (nofs): the kernel does not know this type of file system: no
 * such device: ... cannot mount "/x" onto "/y" (bind): file system fuse does not support id-mapped mounts:
 * invalid argument: ...
 */
bool mount_check_spec(const char *bundle, GError **error);
