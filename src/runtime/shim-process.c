// SPDX-License-Identifier: Apache-2.0
#include "runtime/shim-process.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>

enum {
	CMDLINE_MAX = 16 * 1024 // bytes; a shim's are some hundred
};
#define KILL_WAIT NS_PER_SEC

/* The value after the flag, with one dash or two. */
static const char *flag_value(const char *cmdline, size_t len, const char *flag)
{
	const char *end = cmdline + len;
	for (const char *arg = cmdline; arg < end; arg += strlen(arg) + 1) {
		const char *name = arg + (*arg == '-');
		name += *name == '-';
		const char *next = arg + strlen(arg) + 1;
		if (*arg == '-' && strcmp(name, flag) == 0 && next < end)
			return next;
	}
	return NULL;
}

bool shim_process_matches(const char *cmdline, size_t len, const char *binary, const char *ns, const char *id,
                          const char *grpc_address)
{
	if (len == 0 || cmdline[len - 1] != '\0')
		return false;
	g_autofree char *name = g_path_get_basename(binary);
	g_autofree char *argv0 = g_path_get_basename(cmdline);
	return strcmp(name, argv0) == 0 && g_strcmp0(flag_value(cmdline, len, "namespace"), ns) == 0 &&
	       g_strcmp0(flag_value(cmdline, len, "id"), id) == 0 &&
	       g_strcmp0(flag_value(cmdline, len, "address"), grpc_address) == 0;
}

/* A pidfd of the process where it is that shim, else -1. Opened before the look: it cannot be another's. */
static int open_match(pid_t pid, const char *binary, const char *ns, const char *id, const char *grpc_address)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", (int)pid);
	g_autofree char *cmdline = NULL;
	size_t len = 0;
	autofd fd = pidfd_open(pid, 0);
	if (fd < 0 || !file_read(path, CMDLINE_MAX, &cmdline, &len, NULL))
		return -1;
	return shim_process_matches(cmdline, len, binary, ns, id, grpc_address) ? fd_steal(&fd) : -1;
}

unsigned shim_process_kill(const char *binary, const char *ns, const char *id, const char *grpc_address)
{
	unsigned n = 0;
	DIR *proc = opendir("/proc");
	for (struct dirent *e; proc != NULL && (e = readdir(proc)) != NULL;) {
		int64_t pid;
		if (!parse_i64(e->d_name, &pid) || pid <= 0)
			continue;
		autofd fd = open_match((pid_t)pid, binary, ns, id, grpc_address);
		if (fd < 0 || pidfd_send_signal(fd, SIGKILL, NULL, 0) != 0)
			continue;
		struct pollfd p = {.fd = fd, .events = POLLIN};
		RETRY_EINTR(poll(&p, 1, (int)(KILL_WAIT / NS_PER_MS)));
		log_warn("killed a shim that does not answer", "id", id, "namespace", ns, "pid", e->d_name,
		         NULL);
		n++;
	}
	if (proc != NULL)
		closedir(proc);
	return n;
}
