// SPDX-License-Identifier: Apache-2.0

/* Loop devices. Upstream: core/mount/losetup_linux.go. LOOP_CONFIGURE is Linux 5.8. */

#include "base/error.h"
#include "base/util.h"
#include "mount/mount-private.h"
#include <fcntl.h>
#include <linux/loop.h>
#include <string.h>
#include <sys/ioctl.h>

#define LOOP_TRIES 100

static int free_device(GError **error)
{
	autofd control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (control < 0) {
		error_set_errno(error, errno, "could not open /dev/loop-control");
		return -1;
	}
	int n = ioctl(control, LOOP_CTL_GET_FREE);
	if (n < 0)
		error_set_errno(error, errno, "could not get free loop device");
	return n;
}

/* Somebody else took the device between LOOP_CTL_GET_FREE and now: *ret_busy, try another. */
static int attach(const char *file, int back, const char *device, const LoopParams *params, bool *ret_busy,
                  GError **error)
{
	autofd fd = open(device, (params->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (fd < 0) {
		*ret_busy = errno == EBUSY;
		error_set_errno(error, errno, "could not open loop device: %s", device);
		return -1;
	}
	struct loop_config config = {.fd = (uint32_t)back};
	config.info.lo_flags = (params->readonly ? LO_FLAGS_READ_ONLY : 0u) |
	                       (params->autoclear ? LO_FLAGS_AUTOCLEAR : 0u) |
	                       (params->direct ? LO_FLAGS_DIRECT_IO : 0u);
	g_strlcpy((char *)config.info.lo_file_name, str_or(params->label, file),
	          sizeof config.info.lo_file_name);
	if (ioctl(fd, LOOP_CONFIGURE, &config) != 0) {
		*ret_busy = errno == EBUSY;
		error_set_errno(error, errno, "failed to configure loop device: %s", device);
		return -1;
	}
	return fd_steal(&fd);
}

int mount_loop_setup(const char *file, const LoopParams *params, char **ret_device, GError **error)
{
	autofd back = open(file, (params->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (back < 0) {
		error_set_errno(error, errno, "could not open backing file: %s", file);
		return -1;
	}
	for (int i = 1; i < LOOP_TRIES; i++) {
		int n = free_device(error);
		if (n < 0)
			return -1;
		g_autofree char *device = g_strdup_printf("/dev/loop%d", n);
		g_autoptr(GError) failed = NULL;
		bool busy = false;
		int fd = attach(file, back, device, params, &busy, &failed);
		if (fd >= 0) {
			*ret_device = g_steal_pointer(&device);
			return fd;
		}
		if (!busy) {
			g_propagate_error(error, g_steal_pointer(&failed));
			return -1;
		}
		g_usleep((gulong)g_random_int_range(0, i * 10) * 1000);
	}
	error_set(error, CTRD_ERR_UNKNOWN, "timeout creating new loopback device");
	return -1;
}
