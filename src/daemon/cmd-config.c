// SPDX-License-Identifier: Apache-2.0
#include "base/fs.h"
#include "daemon/daemon.h"
#include "daemon/flags.h"
#include <stdio.h>
#include <string.h>

static void print_usage(void)
{
	fputs("NAME:\n"
	      "   containerd config - Information on the containerd config\n"
	      "\n"
	      "USAGE:\n"
	      "   containerd config command [command options]\n"
	      "\n"
	      "COMMANDS:\n"
	      "   default  See the output of the default config\n"
	      "   dump     See the output of the final main config with imported in subconfig files\n"
	      "   migrate  Migrate the current configuration file to the latest version (does not migrate "
	      "subconfig files)\n"
	      "   help, h  Shows a list of commands or help for one command\n",
	      stdout);
}

static bool print_config(Config *config, GError **error)
{
	g_autoptr(GString) text = g_string_new(NULL);

	if (!config_dump(config, text, error))
		return false;
	for (guint i = 0; i < config_warnings(config)->len; i++)
		fprintf(stderr, "containerd: warning: %s\n", (char *)config_warnings(config)->pdata[i]);
	return fd_write_all(STDOUT_FILENO, text->str, text->len, error);
}

/* dump and migrate are the same in upstream; a file that is missing, the first or an imported one, is none
 * there. */
static bool run(const DaemonOptions *options, const char *command, GError **error)
{
	g_autoptr(Config) config = config_new();
	g_autoptr(GError) failed = NULL;

	if (strcmp(command, "default") != 0 && !config_load(config, options->config_path, &failed)) {
		if (!config_file_missing(config)) {
			g_propagate_error(error, g_steal_pointer(&failed));
			return false;
		}
		if (options->config_given || path_exists(options->config_path))
			config_add_warning(config, "%s", failed->message);
	}
	return print_config(config, error);
}

int cmd_config(const DaemonOptions *options, int argc, char **argv)
{
	static const char *const commands[] = {"default", "dump", "migrate", NULL};
	g_autoptr(GError) error = NULL;
	int index = 0;

	if (argc == 0 || strcmp(argv[0], "help") == 0 || strcmp(argv[0], "h") == 0 ||
	    strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
		print_usage();
		return 0;
	}
	if (!g_strv_contains(commands, argv[0])) {
		print_usage();
		fprintf(stderr, "containerd: No help topic for '%s'\n", argv[0]);
		return 3;
	}
	if (!flags_parse(NULL, 0, argc - 1, argv + 1, &index, &error) || !run(options, argv[0], &error)) {
		fprintf(stderr, "containerd: %s\n", error->message);
		return 1;
	}
	return 0;
}
