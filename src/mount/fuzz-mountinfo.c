// SPDX-License-Identifier: Apache-2.0

/* The parser of /proc/<pid>/mountinfo: what people mount (names of FUSE sources, of directories) is in it. */

#include "base/error.h"
#include "base/util.h"
#include "mount/mount.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) all = mount_info_parse((const char *)data, size, NULL, &error);
	g_assert_true((all == NULL) == (error != NULL));
	if (all == NULL)
		return 0;
	for (guint i = 0; i < all->len; i++) {
		const MountInfo *info = all->pdata[i];
		g_assert_true(info->root != NULL && info->mountpoint != NULL && info->options != NULL &&
		              info->fstype != NULL && info->source != NULL && info->super_options != NULL);
		// each is found below itself
		g_autoptr(GPtrArray) below =
		        mount_info_parse((const char *)data, size, info->mountpoint, NULL);
		g_assert_true(below != NULL && below->len > 0 && below->len <= all->len);
		if (i > 3)
			break;
	}
	return 0;
}
