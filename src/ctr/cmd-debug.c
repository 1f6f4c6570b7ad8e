// SPDX-License-Identifier: Apache-2.0
/* ctr debug: what the daemon's debug socket shows beyond upstream's. */
#include "ctr/http-get.h"
#include "ctr/util.h"
#include <stdio.h>
#include <string.h>

#define INFLIGHT_MAX (64 * 1024 * 1024)

static char *age_text(JsonObject *o, const char *key)
{
	int64_t ms = 0;
	json_get_int64(o, key, &ms);
	return duration_format(ms * NS_PER_MS);
}

static const char *text_of(JsonObject *o, const char *key)
{
	const char *text = json_get_string(o, key);
	return str_empty(text) ? "-" : text;
}

static void inflight_row(Table *t, JsonObject *o)
{
	int64_t child = 0;
	json_get_int64(o, "child", &child);
	g_autofree char *pid = child > 0 ? g_strdup_printf("%d", (int)child) : g_strdup("-");
	g_autofree char *age = age_text(o, "age_ms"), *stage_age = age_text(o, "stage_age_ms");
	table_row(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t", text_of(o, "method"), text_of(o, "namespace"),
	          text_of(o, "object"), age, text_of(o, "stage"), stage_age, pid);
}

static bool inflight_run(Cli *cli, GError **error)
{
	g_autofree char *text = http_get(cli_string(cli, "debug-socket"), "/debug/inflight", error);
	if (text == NULL)
		return error_prefix(error, "cannot ask the debug socket (debug.address in config.toml)");
	g_autoptr(JsonObject) list = json_parse(text, strlen(text), INFLIGHT_MAX, error);
	if (list == NULL)
		return false;
	if (ctr_wants_json(cli)) {
		print_json(g_steal_pointer(&list));
		return true;
	}
	Table *t = table_new(1, 2);
	table_row(t, "METHOD\tNAMESPACE\tOBJECT\tAGE\tSTAGE\tSINCE\tCHILD\t");
	for (size_t i = 0; i < json_object_array_length(list); i++)
		inflight_row(t, json_object_array_get_idx(list, i));
	table_print(t);
	return true;
}

static const CliFlag flags_socket[] = {
        {"debug-socket",
         FLAG_STRING,
         "Socket path for containerd's debug server",
         {"d"},
         "/run/containerd/debug.sock",
         "CONTAINERD_DEBUG_ADDRESS"},
        {0},
};

static const CliCommand cmd_inflight = {
        .name = "inflight",
        .aliases = {"in-flight"},
        .usage = "Show every call and job of the daemon: its age, its stage, the process that it waits for",
        .arguments = "[flags]",
        .flags = {flags_socket, flags_format},
        .run = inflight_run,
};

static const CliCommand *const commands[] = {&cmd_inflight, NULL};

const CliCommand cmd_debug = {
        .name = "debug",
        .usage = "Look into a running daemon",
        .commands = commands,
};
