// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The daemon: from a loaded configuration to a served socket and back. Source: upstream
 * cmd/containerd/command/main.go and cmd/containerd/server/server.go.
 *
 * Threads: the main thread waits for signals and nothing else, so that it answers them while plugins start. A
 * boot thread makes directories' lock, loop, pool and plugins and then ends. Sockets belong to the loop's
 * thread, blocking work to the pool.
 */

#include "plugin/config.h"
#include "plugin/plugin.h"

#define DAEMON_PACKAGE "github.com/containerd/containerd/v2"

typedef struct {
	const char *config_path;
	bool config_given;     // by flag: then it must exist
	const char *log_level; // NULL: as configured
	const char *address, *root, *state;
} DaemonOptions;

/* Loads the configuration and puts the flags over it. */
Config *daemon_config(const DaemonOptions *options, GError **error);
/* Level and format of the log: the flag, else the configuration. `unknown log format: x`. */
bool daemon_setup_log(const DaemonOptions *options, const Config *config, GError **error);
/* Runs until a signal ends it. Returns the exit code. */
int daemon_run(const DaemonOptions *options);

/* root 0700, state 0711, temp 0700 (and TMPDIR); older releases' 0711 of root and temp is corrected. Texts:
 * `root must be specified`, `state must be specified`, `root and state must be different paths`. */
bool daemon_make_dirs(const Config *config, GError **error);
/* The lock that keeps a second daemon off the same root. Returns the fd that holds it, or -1: with an error,
 * or without where another process has it (*ret_pid is that process, 0 where unknown). */
int daemon_try_lock(const char *root, pid_t *ret_pid, GError **error);

/* What the operating system shall think of this process: oom_score (a failure is logged), cgroup, open files.
 */
bool daemon_apply_process(const Config *config, GError **error);

/* sd_notify(3): state such as "READY=1". Nothing without NOTIFY_SOCKET. */
bool daemon_notify(const char *state, GError **error);

/* The built-in plugins (builtins.c). */
void daemon_register_builtins(PluginSet *set);
/* Kinds of proxy plugins (plugins-proxy.c). */
extern const PluginProxyKind daemon_proxy_kinds[];
extern const size_t daemon_n_proxy_kinds;

/* Writes a line for each call that is running into the log (plugins-server.c). Any thread. */

/* Subcommands; argv without the names of the program and of the command. */
int cmd_config(const DaemonOptions *options, int argc, char **argv);
int cmd_publish(const DaemonOptions *options, int argc, char **argv);
int cmd_oci_hook(const DaemonOptions *options, int argc, char **argv);
