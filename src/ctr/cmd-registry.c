// SPDX-License-Identifier: Apache-2.0
/* ctr registry explain: beyond upstream. The daemon explains, since its configuration and its files count. */
#include "base/fs.h"
#include "base/json.h"
#include "ctr/registry-flags.h"
#include "message.h"
#include "oci/media-types.h"
#include "services/transfer/v1/transfer.pb-c.h"
#include "types/transfer/importexport.pb-c.h"
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ANSWER_MAX ((size_t)4 << 20)

static bool ask(Cli *cli, Registry *registry, bool attempt, int fd, GError **error)
{
	SideStream *stream = side_stream_receive(cli, fd, error);
	if (stream == NULL)
		return false;
	Containerd__Types__Transfer__ImageExportStream to =
	        CONTAINERD__TYPES__TRANSFER__IMAGE_EXPORT_STREAM__INIT;
	to.stream = side_stream_name(stream);
	to.media_type = attempt ? TRANSFER_EXPLAIN_ATTEMPT : TRANSFER_EXPLAIN;
	Containerd__Services__Transfer__V1__TransferRequest req =
	        CONTAINERD__SERVICES__TRANSFER__V1__TRANSFER_REQUEST__INIT;
	autopb Google__Protobuf__Any *source = api_any_pack(&registry->registry, NULL),
	                             *destination = api_any_pack(&to, NULL);
	autopb ProtobufCMessage *resp = NULL;
	req.source = source;
	req.destination = destination;
	bool ok = ctr_call(cli, &containerd__services__transfer__v1__transfer__descriptor, "Transfer", &req,
	                   &resp, error);
	return side_stream_end(stream, ok, ok ? error : NULL) && ok;
}

/* ---- as text ---- */

static void print_line(JsonObject *o, const char *key, const char *title)
{
	const char *text = json_get_string(o, key);
	if (text != NULL)
		printf("   %-13s %s\n", title, text);
}

static void print_list(JsonObject *o, const char *key, const char *title)
{
	g_auto(GStrv) words = NULL;
	if (!json_get_strv(o, key, &words, NULL) || words == NULL)
		return;
	g_autofree char *text = g_strjoinv(", ", words);
	printf("   %-13s %s\n", title, text);
}

static void print_host(JsonObject *h, size_t i)
{
	bool fallback = false;
	json_get_bool(h, "httpFallback", &fallback);
	printf("%zu. %s%s\n", i + 1, str_or(json_get_string(h, "url"), ""),
	       fallback ? "   (http where the peer speaks no TLS)" : "");
	print_line(h, "configured", "configured:");
	print_list(h, "capabilities", "capabilities:");
	print_line(h, "tls", "tls:");
	print_list(h, "headers", "headers:");
	print_line(h, "dialTimeout", "dial timeout:");
	print_line(h, "credentials", "credentials:");
	print_line(h, "credentialsError", "credentials:");
	print_line(h, "error", "not usable:");
	JsonObject *attempt = json_get_object(h, "attempt");
	if (attempt == NULL)
		return;
	print_line(attempt, "digest", "tried:");
	print_line(attempt, "error", "failed:");
}

static void print_text(JsonObject *o)
{
	JsonObject *hosts = json_get_array(o, "hosts");
	g_auto(GStrv) warnings = NULL;
	printf("%s\nregistry %s, repository %s\n", str_or(json_get_string(o, "reference"), ""),
	       str_or(json_get_string(o, "name"), ""), str_or(json_get_string(o, "repository"), ""));
	for (size_t i = 0; hosts != NULL && i < json_object_array_length(hosts); i++)
		print_host(json_object_array_get_idx(hosts, i), i);
	json_get_strv(o, "warnings", &warnings, NULL);
	for (size_t i = 0; warnings != NULL && warnings[i] != NULL; i++)
		printf("warning: %s\n", warnings[i]);
}

static bool explain_run(Cli *cli, GError **error)
{
	const char *ref = cli_arg(cli, 0);
	if (*ref == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "please provide an image reference to explain");
	g_auto(Registry) registry = {0};
	autofd fd = memfd_create("explanation", MFD_CLOEXEC);
	if (fd < 0)
		return error_set_errno(error, errno, "memfd_create");
	if (!registry_begin(cli, ref, &registry, error) ||
	    !ask(cli, &registry, cli_bool(cli, "try"), fd, error))
		return false;
	g_autofree char *text = NULL;
	size_t len = 0;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return error_set_errno(error, errno, "seek");
	if (!fd_read_all(fd, ANSWER_MAX, &text, &len, error))
		return false;
	g_autoptr(JsonObject) o = json_parse(text, len, ANSWER_MAX, error);
	if (o == NULL)
		return error_prefix(error, "the daemon's explanation");
	if (g_str_equal(cli_string(cli, "format"), "json")) {
		g_autofree char *pretty = json_to_text_pretty(o);
		puts(pretty);
	} else {
		print_text(o);
	}
	return true;
}

static const CliFlag explain_flags[] = {
        {"try", FLAG_BOOL, "Ask each host for the image and show what it says", .value = "false"},
        {0},
};
static const CliCommand explain = {
        .name = "explain",
        .usage = "Show which hosts a pull would use, in which order and with what",
        .arguments = "[flags] <ref>",
        .flags = {flags_registry, explain_flags, flags_format},
        .run = explain_run,
};
static const CliCommand *const commands[] = {&explain, NULL};
const CliCommand cmd_registry = {
        .name = "registry",
        .usage = "Look into the configuration of registries",
        .commands = commands,
};
