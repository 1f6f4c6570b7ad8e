// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/util.h"
#include "daemon/daemon.h"
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

bool daemon_notify(const char *state, GError **error)
{
	const char *path = g_getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t len;

	if (str_empty(path))
		return true;
	len = strlen(path);
	if ((path[0] != '/' && path[0] != '@') || len >= sizeof(address.sun_path))
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "NOTIFY_SOCKET %s is not usable", Q(path));
	memcpy(address.sun_path, path, len);
	if (path[0] == '@') // systemd's way to write an abstract socket
		address.sun_path[0] = '\0';
	autofd fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_set_errno(error, errno, "socket");
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address,
	           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		return error_set_errno(error, errno, "write to %s", path);
	return true;
}
