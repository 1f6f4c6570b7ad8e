// SPDX-License-Identifier: Apache-2.0
#include "ctr/ctr.h"
#include <stdio.h>

static const CliFlag global_flags[] = {
        {"debug", FLAG_BOOL, "Enable debug output in logs", .value = "false"},
        {"address",
         FLAG_STRING,
         "Address for containerd's GRPC server",
         {"a"},
         "/run/containerd/containerd.sock",
         "CONTAINERD_ADDRESS"},
        {"timeout", FLAG_DURATION, "Total timeout for ctr commands", .value = "0s"},
        {"connect-timeout", FLAG_DURATION, "Timeout for connecting to containerd", .value = "0s"},
        {"namespace",
         FLAG_STRING,
         "Namespace to use with commands",
         {"n"},
         "default",
         "CONTAINERD_NAMESPACE"},
        {"version", FLAG_BOOL, "Print the version", {"v"}, "false"},
        {0},
};

static const CliCommand *const commands[] = {
        &cmd_plugins,   &cmd_version, &cmd_containers, &cmd_content,      &cmd_events,
        &cmd_images,    &cmd_leases,  &cmd_namespaces, &cmd_run,          &cmd_snapshots,
        &cmd_tasks,     &cmd_oci,     &cmd_info,       &cmd_deprecations, &cmd_debug,
        &cmd_sandboxes, &cmd_mounts,  &cmd_install,    &cmd_shim,         &cmd_registry,
        NULL,
};

static bool root_run(Cli *cli, GError **error)
{
	if (cli_bool(cli, "version")) {
		printf("ctr github.com/containerd/containerd/v2 v%s\n", CTRD_VERSION);
		return true;
	}
	return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "%s (see ctr --help)",
	                 cli_n_args(cli) > 0 ? "no such command" : "a command is needed");
}

static const CliCommand root = {
        .name = "ctr",
        .usage = "the administrative client of containerd",
        .flags = {global_flags},
        .commands = commands,
        .run = root_run,
};

int main(int argc, char **argv)
{
	int status = cli_main(&root, argc, argv);
	ctr_close();
	return status;
}
