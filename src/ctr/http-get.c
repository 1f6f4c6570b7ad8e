// SPDX-License-Identifier: Apache-2.0
#include "ctr/http-get.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#define ANSWER_MAX (64 * 1024 * 1024)
#define TIMEOUT_SECONDS 10

static int dial(const char *path, GError **error)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(sun.sun_path)) {
		error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "socket path %s is too long", Q(path));
		return -1;
	}
	strcpy(sun.sun_path, path);
	autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct timeval timeout = {.tv_sec = TIMEOUT_SECONDS};
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) != 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) != 0 ||
	    connect(fd, (struct sockaddr *)&sun, sizeof(sun)) != 0) {
		error_set_errno(error, errno, "dial unix %s: connect", path);
		return -1;
	}
	return fd_steal(&fd);
}

/* Version 1.0: the answer is not chunked and ends with the connection. */
char *http_get(const char *socket_path, const char *path, GError **error)
{
	autofd fd = dial(socket_path, error);
	if (fd < 0)
		return NULL;
	g_autofree char *request = g_strdup_printf("GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", path);
	g_autofree char *answer = NULL;
	size_t len = 0;
	if (!fd_write_all(fd, request, strlen(request), error) ||
	    !fd_read_all(fd, ANSWER_MAX, &answer, &len, error)) {
		error_prefix(error, "GET %s", path);
		return NULL;
	}
	int status = 0;
	char *body = strstr(answer, "\r\n\r\n");
	if (sscanf(answer, "HTTP/1.%*c %d", &status) != 1 || body == NULL) {
		error_set(error, CTRD_ERR_UNKNOWN, "GET %s: %s answers no HTTP", path, socket_path);
		return NULL;
	}
	body += strlen("\r\n\r\n");
	if (status != 200) {
		error_set(error, CTRD_ERR_UNKNOWN, "unexpected status from server: %d %s", status,
		          g_strstrip(body));
		return NULL;
	}
	return g_strdup(body);
}
