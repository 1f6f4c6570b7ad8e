// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Where the fields of a tar header lie. The same 512 bytes mean different things to V7, ustar, STAR and GNU.
 */

#include <stddef.h>

typedef struct {
	size_t offset, len;
} TarField;

#define TAR_F_NAME ((TarField){0, 100})
#define TAR_F_MODE ((TarField){100, 8})
#define TAR_F_UID ((TarField){108, 8})
#define TAR_F_GID ((TarField){116, 8})
#define TAR_F_SIZE ((TarField){124, 12})
#define TAR_F_MTIME ((TarField){136, 12})
#define TAR_F_CHKSUM ((TarField){148, 8})
#define TAR_F_TYPE ((TarField){156, 1})
#define TAR_F_LINKNAME ((TarField){157, 100})
#define TAR_F_MAGIC ((TarField){257, 6})
#define TAR_F_VERSION ((TarField){263, 2})
#define TAR_F_DEVMAJOR ((TarField){329, 8})
#define TAR_F_DEVMINOR ((TarField){337, 8})
#define TAR_F_PREFIX ((TarField){345, 155})
#define TAR_F_STAR_PREFIX ((TarField){345, 131})
#define TAR_F_STAR_ATIME ((TarField){476, 12})
#define TAR_F_STAR_CTIME ((TarField){488, 12})
#define TAR_F_STAR_TRAILER ((TarField){508, 4})
#define TAR_F_GNU_ATIME ((TarField){345, 12})
#define TAR_F_GNU_CTIME ((TarField){357, 12})
#define TAR_F_GNU_REALSIZE ((TarField){483, 12})
// the old GNU sparse map: pairs of 12-byte numbers, then a byte that says whether a block of more follows
#define TAR_GNU_SPARSE_OFFSET 386
#define TAR_GNU_SPARSE_ENTRIES 4
#define TAR_GNU_SPARSE_EXT_ENTRIES 21
