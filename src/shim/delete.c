// SPDX-License-Identifier: Apache-2.0

#include "shim/delete.h"

#include "base/error.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/process.h"
#include "base/util.h"
#include "cgroup/cgroup.h"
#include "mount/mount.h"
#include "rpc/server.h"
#include "runtime/task/v3/shim.pb-c.h"
#include "shim/container-private.h"
#include "shim/events.h"
#include "shim/options.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* The daemon gives us 5 s in all: a runtime that hangs must leave some for the rest. */
#define RUNC_TIMEOUT (4 * NS_PER_SEC)

static void runc_delete(const char *bundle, const Args *args, const RuncOptions *options)
{
	g_autofree char *root = path_join(str_or(options->root, RUNC_DEFAULT_ROOT), args->ns);
	g_autofree char *log = path_join(bundle, "log.json");
	const char *binary = str_or(options->binary_name, RUNC_DEFAULT_BINARY);
	const char *argv[] = {binary, "--root", root,      "--log",  log, "--log-format",
	                      "json", "delete", "--force", args->id, NULL};
	g_unsetenv("NOTIFY_SOCKET");
	const ProcessSpec spec = {.argv = argv, .timeout_ns = RUNC_TIMEOUT, .merge_stderr = true};
	g_auto(ProcessResult) result = {0};
	g_autoptr(GError) error = NULL;
	if (!process_run(&spec, &result, &error)) {
		log_warn("failed to remove runc container", "error", error->message, NULL);
	} else if (result.status != 0) {
		g_autofree char *status = process_status_text(result.status);
		log_warn("failed to remove runc container", "error", status, "output", result.out, NULL);
	}
}

/* The pod's shim may live on under the same address: only what nobody listens on goes. */
static void remove_dead_socket(const char *bundle)
{
	g_autofree char *file = path_join(bundle, "address");
	g_autofree char *address = NULL;
	size_t len;
	if (file_read(file, 256, &address, &len, NULL) && g_str_has_prefix(address, "unix:///"))
		rpc_remove_dead_socket(address + strlen("unix://"));
}

bool delete_run(const Args *args, GError **error)
{
	g_autofree char *cwd = g_get_current_dir();
	g_autofree char *parent = g_path_get_dirname(cwd);
	g_autofree char *bundle = path_join(parent, args->id);
	g_auto(RuncOptions) options = {0};
	if (!runc_options_read(bundle, &options, error))
		return false;

	if (!FAILPOINT("shim.cleanup.begin", error))
		return false;
	runc_delete(bundle, args, &options);
	cgroup_remove_left(bundle, args->id); // of a runtime that died with its shim
	if (!FAILPOINT("shim.cleanup.deleted", error))
		return false;
	g_autofree char *rootfs = path_join(bundle, "rootfs");
	GError *warning = NULL;
	if (!mount_unmount_recursive(rootfs, 0, &warning))
		log_error_take(LOG_WARN, g_steal_pointer(&warning), "failed to cleanup rootfs mount", NULL);
	remove_dead_socket(bundle);
	g_autofree char *pid_file = path_join(bundle, "init.pid");
	pid_t pid = 0;
	if (!pid_file_read(pid_file, &pid, &warning))
		log_error_take(LOG_WARN, g_steal_pointer(&warning), "failed to read init pid file", NULL);

	Google__Protobuf__Timestamp at = timestamp_of(time_now());
	Containerd__Task__V3__DeleteResponse r = CONTAINERD__TASK__V3__DELETE_RESPONSE__INIT;
	r.pid = (uint32_t)pid;
	r.exit_status = 128 + SIGKILL;
	r.exited_at = &at;
	size_t len = protobuf_c_message_get_packed_size(&r.base);
	g_autofree uint8_t *data = g_malloc(len);
	protobuf_c_message_pack(&r.base, data);
	return fd_write_all(1, data, len, error);
}
