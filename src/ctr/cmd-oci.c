// SPDX-License-Identifier: Apache-2.0
#include "ctr/util.h"
#include "oci/platform.h"
#include "oci/runtime-spec.h"
#include <stdio.h>

static bool spec_run(Cli *cli, GError **error)
{
	const char *platform = cli_string(cli, "platform");
	g_auto(Platform) p = {0};
	if (*platform != '\0' && !platform_parse(platform, &p, error))
		return false;
	if (*platform != '\0' && !g_str_equal(p.os, "linux"))
		return error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED, "specs for %s", p.os);
	print_json(spec_new(ctr_ns(cli), ""));
	return true;
}

static const CliFlag spec_flags[] = {
        {"platform", FLAG_STRING, "Platform of the spec to print (Examples: 'linux/arm64', 'windows/amd64')"},
        {0}};
static const CliCommand spec = {
        .name = "spec",
        .usage = "See the output of the default OCI spec",
        .flags = {spec_flags},
        .run = spec_run,
};
static const CliCommand *const commands[] = {&spec, NULL};
const CliCommand cmd_oci = {
        .name = "oci",
        .usage = "OCI tools",
        .commands = commands,
};
