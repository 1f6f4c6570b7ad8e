// SPDX-License-Identifier: Apache-2.0

/* containerd-shim-runc-v2: one program, run by the daemon as `start` and `delete`, and by itself as the
 * server. */

#include "base/error.h"
#include "base/failpoint.h"
#include "base/util.h"
#include "shim/args.h"
#include "shim/bootstrap.h"
#include "shim/delete.h"
#include "shim/info.h"
#include "shim/serve.h"
#include "shim/shim-name.h"
#include <stdio.h>
#include <string.h>

static bool run(const Args *args, const char *argv0, GError **error)
{
	if (args->version) {
		version_print(argv0);
		return true;
	}
	if (args->info)
		return info_run(error);
	if (str_empty(args->ns))
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "shim namespace cannot be empty");
	if (strcmp(args->action, "start") == 0)
		return bootstrap_start(args, error);
	if (strcmp(args->action, "delete") == 0)
		return delete_run(args, error);
	return serve_run(args, error);
}

int main(int argc, char **argv)
{
	g_auto(Args) args = {0};
	g_autoptr(GError) error = NULL;
	if (!failpoints_setup("shim", &error) || !args_parse(argc, argv, &args, &error)) {
		fprintf(stderr, "%s\n", error->message);
		return 2;
	}
	if (!run(&args, argv[0], &error)) {
		fprintf(stderr, "%s: %s", SHIM_NAME, error->message);
		return 1;
	}
	return 0;
}
