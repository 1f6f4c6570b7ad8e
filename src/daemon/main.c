// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/failpoint.h"
#include "base/util.h"
#include "daemon/daemon.h"
#include "daemon/flags.h"
#include "revision.h"
#include <stdio.h>
#include <string.h>

typedef struct {
	const char *name, *usage;
	int (*run)(const DaemonOptions *options, int argc, char **argv);
} Command;

static const Command commands[] = {
        {"config", "Information on the containerd config", cmd_config},
        {"publish", "Binary to publish events to containerd", cmd_publish},
        {"oci-hook", "Provides a base for OCI runtime hooks to allow arguments to be injected.",
         cmd_oci_hook},
};

static void print_usage(const Flag *flags, size_t n)
{
	g_autoptr(GString) text =
	        g_string_new("NAME:\n   containerd - high performance container runtime\n\n"
	                     "USAGE:\n   containerd [global options] command [command options]\n\n"
	                     "VERSION:\n   " CTRD_VERSION "\n\n"
	                     "DESCRIPTION:\n   Without a command the daemon runs in the foreground.\n\n"
	                     "COMMANDS:\n");

	for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
		g_string_append_printf(text, "   %-8s  %s\n", commands[i].name, commands[i].usage);
	g_string_append(text,
	                "   help, h   Shows a list of commands or help for one command\n\nGLOBAL OPTIONS:\n");
	flags_usage(flags, n, text);
	fputs(text->str, stdout);
}

int main(int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	DaemonOptions options = {.config_path = CONFIG_DEFAULT_PATH};
	bool help = false, version = false;
	const Flag flags[] = {
	        {"config", "c", "Path to the configuration file (default: \"" CONFIG_DEFAULT_PATH "\")",
	         &options.config_path, &options.config_given},
	        {"log-level", "l", "Set the logging level [trace, debug, info, warn, error, fatal, panic]",
	         &options.log_level, NULL},
	        {"address", "a", "Address for containerd's GRPC server", &options.address, NULL},
	        {"root", NULL, "containerd root directory", &options.root, NULL},
	        {"state", NULL, "containerd state directory", &options.state, NULL},
	        {"help", "h", "Show help", NULL, &help},
	        {"version", "v", "Print the version", NULL, &version},
	};
	int index = 1;

	if (!failpoints_setup("daemon", &error)) {
		fprintf(stderr, "containerd: %s\n", error->message);
		return 1;
	}
	if (!flags_parse(flags, G_N_ELEMENTS(flags), argc, argv, &index, &error)) {
		printf("Incorrect Usage: %s\n\n", error->message);
		print_usage(flags, G_N_ELEMENTS(flags));
		fprintf(stderr, "containerd: %s\n", error->message);
		return 1;
	}
	const char *name = index < argc ? argv[index] : NULL;
	if (help || g_strcmp0(name, "help") == 0 || g_strcmp0(name, "h") == 0) {
		print_usage(flags, G_N_ELEMENTS(flags));
		return 0;
	}
	if (version) {
		printf("containerd %s v%s %s\n", DAEMON_PACKAGE, CTRD_VERSION, CTRD_REVISION);
		return 0;
	}
	if (name == NULL)
		return daemon_run(&options);
	for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return commands[i].run(&options, argc - index - 1, argv + index + 1);
	}
	fprintf(stderr, "containerd: No help topic for '%s'\n", name);
	return 3;
}
