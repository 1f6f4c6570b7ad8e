// SPDX-License-Identifier: Apache-2.0
#include "ctr/util.h"
#include "revision.h"
#include "services/introspection/v1/introspection.pb-c.h"
#include "services/version/v1/version.pb-c.h"
#include <stdio.h>

static bool server_info(Cli *cli, Containerd__Services__Introspection__V1__ServerResponse **ret,
                        GError **error)
{
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
	return ctr_call(cli, &containerd__services__introspection__v1__introspection__descriptor, "Server",
	                &empty, ret, error);
}

static bool version_run(Cli *cli, GError **error)
{
	if (cli_n_args(cli) > 0)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "extra arguments: %s", cli_arg(cli, 0));
	printf("Client:\n  Version:  v%s\n  Revision: %s\n\n", CTRD_VERSION, CTRD_REVISION);
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
	autopb Containerd__Services__Version__V1__VersionResponse *v = NULL;
	autopb Containerd__Services__Introspection__V1__ServerResponse *info = NULL;
	if (!ctr_call(cli, &containerd__services__version__v1__version__descriptor, "Version", &empty, &v,
	              error))
		return false;
	printf("Server:\n  Version:  %s\n  Revision: %s\n", v->version, v->revision);
	if (!server_info(cli, &info, error))
		return false;
	printf("  UUID: %s\n", info->uuid);
	fflush(stdout);
	if (!g_str_equal(v->version, "v" CTRD_VERSION))
		fputs("WARNING: version mismatch\n", stderr);
	if (!g_str_equal(v->revision, CTRD_REVISION))
		fputs("WARNING: revision mismatch\n", stderr);
	return true;
}

const CliCommand cmd_version = {
        .name = "version",
        .usage = "Print the client and server versions",
        .run = version_run,
};

static bool info_run(Cli *cli, GError **error)
{
	autopb Containerd__Services__Introspection__V1__ServerResponse *info = NULL;
	if (!server_info(cli, &info, error))
		return false;
	JsonObject *o = json_object_new_object();
	json_set(o, "server", message_to_json(&info->base));
	print_json(o);
	return true;
}

const CliCommand cmd_info = {
        .name = "info",
        .usage = "Print the server info",
        .run = info_run,
};

static bool deprecations_list_run(Cli *cli, GError **error)
{
	autopb Containerd__Services__Introspection__V1__ServerResponse *info = NULL;
	if (!server_info(cli, &info, error))
		return false;
	if (info->n_deprecations == 0)
		return true;
	bool json = g_str_equal(cli_string(cli, "format"), "json");
	JsonObject *list = json_object_new_array();
	Table *t = table_new(4, 4);
	table_row(t, "ID\tLAST OCCURRENCE\tMESSAGE\t");
	for (size_t i = 0; i < info->n_deprecations; i++) {
		const Containerd__Services__Introspection__V1__DeprecationWarning *d = info->deprecations[i];
		g_autofree char *last = time_format_rfc3339(time_in(d->last_occurrence));
		table_row(t, "%s\t%s\t%s", d->id, last, d->message);
		JsonObject *o = json_object_new_object();
		json_set_string(o, "id", d->id);
		json_set_string(o, "message", d->message);
		json_set_string(o, "lastOccurrence", last);
		json_object_array_add(list, o);
	}
	if (json) {
		print_json(list);
		table_free(t);
	} else {
		json_object_put(list);
		table_print(t);
	}
	return true;
}

static const CliFlag deprecations_flags[] = {
        {"format", FLAG_STRING, "output format to use (Examples: 'default', 'json')"},
        {0},
};
static const CliCommand deprecations_list = {
        .name = "list",
        .usage = "Print warnings for deprecations",
        .flags = {deprecations_flags},
        .run = deprecations_list_run,
};
static const CliCommand *const deprecations_commands[] = {&deprecations_list, NULL};
const CliCommand cmd_deprecations = {
        .name = "deprecations",
        .usage = "Deprecated features in use",
        .commands = deprecations_commands,
};
