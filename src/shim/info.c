// SPDX-License-Identifier: Apache-2.0

#include "shim/info.h"

#include "base/error.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/process.h"
#include "base/time.h"
#include "base/util.h"
#include "message.h"
#include "rpc/call.h"
#include "shim/options.h"
#include "shim/shim-name.h"
#include "types/introspection.pb-c.h"
#include <stdio.h>
#include <string.h>

#define INPUT_MAX (10 * 1024 * 1024)
#define FEATURES_TYPE "types.containerd.io/opencontainers/runtime-spec/1/features/Features"

/* Compact JSON, or NULL: youki and older crun do not know the command. */
static char *features(const char *binary)
{
	const char *argv[] = {binary, "features", NULL};
	const ProcessSpec spec = {.argv = argv, .timeout_ns = 5 * NS_PER_SEC};
	g_auto(ProcessResult) result = {0};
	if (!process_run(&spec, &result, NULL) || result.status != 0)
		return NULL;
	g_autoptr(JsonObject) json = json_parse(result.out, result.out_len, 0, NULL);
	return json != NULL ? json_to_text(json) : NULL;
}

bool info_run(GError **error)
{
	g_autofree char *input = NULL;
	size_t len = 0;
	if (!isatty(0) && !fd_read_all(0, INPUT_MAX, &input, &len, error))
		return error_prefix(error, "failed to read config bytes from stdin");
	autopb ProtobufCMessage *any = NULL;
	g_auto(RuncOptions) options = {0};
	if (len > 0) {
		any = api_unpack(&google__protobuf__any__descriptor, NULL, input, len, error);
		if (any == NULL || !runc_options_parse((const Google__Protobuf__Any *)any, &options, error))
			return error_prefix(error, "failed to read runtime options (*options.Options)");
	}
	const char *name = str_or(options.binary_name, RUNC_DEFAULT_BINARY);
	g_autofree char *binary = process_lookup(name, error);
	if (binary == NULL)
		return error_prefix(error, "failed to look up the path of %s", Q(name));

	Containerd__Types__RuntimeVersion version = CONTAINERD__TYPES__RUNTIME_VERSION__INIT;
	version.version = CTRD_VERSION;
	Containerd__Types__RuntimeInfo info = CONTAINERD__TYPES__RUNTIME_INFO__INIT;
	info.name = SHIM_NAME;
	info.version = &version;
	info.options = (Google__Protobuf__Any *)any;
	Google__Protobuf__Any features_any = GOOGLE__PROTOBUF__ANY__INIT;
	g_autofree char *text = features(binary);
	if (text != NULL) {
		features_any.type_url = (char *)FEATURES_TYPE;
		features_any.value.data = (uint8_t *)text;
		features_any.value.len = strlen(text);
		info.features = &features_any;
	}
	size_t n = protobuf_c_message_get_packed_size(&info.base);
	g_autofree uint8_t *data = g_malloc(n);
	protobuf_c_message_pack(&info.base, data);
	return fd_write_all(1, data, n, error);
}

void version_print(const char *argv0)
{
	g_autofree char *name = g_path_get_basename(argv0);
	g_autofree char *text =
	        g_strdup_printf("%s:\n  Version:  %s\n  Revision: %s\n\n", name, CTRD_VERSION, "");
	fd_write_all(1, text, strlen(text), NULL);
}
