// SPDX-License-Identifier: Apache-2.0
/* ctr content fetch-object, fetch-blob, push-object: between a registry and the terminal or the store,
 * without the daemon's Transfer service. */
#include "base/digest.h"
#include "base/fs.h"
#include "ctr/images.h"
#include "ctr/registry-flags.h"
#include "ctr/remote.h"
#include "ctr/util.h"
#include "services/content/v1/content.pb-c.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CONTENT &containerd__services__content__v1__content__descriptor

/* ---- fetch ---- */

static bool to_stdout(void *data, const void *buf, size_t len, GError **error)
{
	return fd_write_all(STDOUT_FILENO, buf, len, error);
}

static bool fetch_object_run(Cli *cli, GError **error)
{
	g_auto(CtrRegistry) registry = {0};
	g_auto(Descriptor) desc = {0};
	if (*cli_arg(cli, 0) == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "please provide a reference to fetch");
	return ctr_registry_open(cli, cli_arg(cli, 0), &registry, error) &&
	       resolver_resolve(registry.resolver, ctr_cancel(cli), &desc, error) &&
	       resolver_fetch(registry.resolver, ctr_cancel(cli), &desc, 0, to_stdout, NULL, error);
}

/* A blob, or a manifest where the media type says so or no blob has the digest. */
static bool fetch_digest(Cli *cli, CtrRegistry *registry, const char *digest, GError **error)
{
	const char *type = cli_string(cli, "media-type");
	g_autoptr(Descriptor) desc = descriptor_new(type, digest, 0);
	g_autoptr(GError) failed = NULL;
	if (resolver_fetch(registry->resolver, ctr_cancel(cli), desc, 0, to_stdout, NULL, &failed))
		return true;
	if (*type != '\0' || !error_is(failed, CTRD_ERR_NOT_FOUND)) {
		g_propagate_error(error, g_steal_pointer(&failed));
		return false;
	}
	g_autoptr(Descriptor) manifest =
	        descriptor_new("application/vnd.oci.image.manifest.v1+json", digest, 0);
	return resolver_fetch(registry->resolver, ctr_cancel(cli), manifest, 0, to_stdout, NULL, error);
}

static bool fetch_blob_run(Cli *cli, GError **error)
{
	g_auto(CtrRegistry) registry = {0};
	if (cli_n_args(cli) < 2)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "must specify digests");
	if (!ctr_registry_open(cli, cli_arg(cli, 0), &registry, error))
		return false;
	for (int i = 1; i < cli_n_args(cli); i++) {
		if (!digest_validate(cli_arg(cli, i), error) ||
		    !fetch_digest(cli, &registry, cli_arg(cli, i), error))
			return false;
	}
	return true;
}

/* ---- push ---- */

/* The store's bytes, in order; asked for an earlier offset it starts again. */
typedef struct {
	Cli *cli;
	const char *digest;
	RpcStream *stream;
	int64_t offset; // of the next byte
	Containerd__Services__Content__V1__ReadContentResponse *chunk;
	size_t used; // bytes of the chunk that were given
} StoreSource;

static void source_clear(StoreSource *s)
{
	if (s->chunk != NULL)
		protobuf_c_message_free_unpacked(&s->chunk->base, NULL);
	s->chunk = NULL;
	g_clear_pointer(&s->stream, rpc_stream_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(StoreSource, source_clear)

static bool source_seek(StoreSource *s, int64_t offset, GError **error)
{
	source_clear(s);
	Containerd__Services__Content__V1__ReadContentRequest req =
	        CONTAINERD__SERVICES__CONTENT__V1__READ_CONTENT_REQUEST__INIT;
	req.digest = s->digest;
	req.offset = offset;
	s->stream = ctr_stream(s->cli, CONTENT, "Read", RPC_SERVER_STREAM, &req, error);
	s->offset = offset;
	s->used = 0;
	return s->stream != NULL;
}

static ssize_t source_read(void *data, void *buf, size_t len, int64_t offset, GError **error)
{
	StoreSource *s = data;
	if ((s->stream == NULL || s->offset != offset) && !source_seek(s, offset, error))
		return -1;
	while (s->chunk == NULL || s->used == s->chunk->data.len) {
		if (s->chunk != NULL)
			protobuf_c_message_free_unpacked(&s->chunk->base, NULL);
		s->chunk = NULL;
		s->used = 0;
		if (!rpc_stream_recv(s->stream, &s->chunk, error))
			return -1;
		if (s->chunk == NULL)
			return 0;
	}
	size_t n = MIN(len, s->chunk->data.len - s->used);
	memcpy(buf, s->chunk->data.data + s->used, n);
	s->used += n;
	s->offset += (int64_t)n;
	return (ssize_t)n;
}

static bool push_object_run(Cli *cli, GError **error)
{
	const char *digest = cli_arg(cli, 1);
	Containerd__Services__Content__V1__InfoRequest req =
	        CONTAINERD__SERVICES__CONTENT__V1__INFO_REQUEST__INIT;
	autopb Containerd__Services__Content__V1__InfoResponse *info = NULL;
	g_auto(CtrRegistry) registry = {0};
	if (!digest_validate(digest, error))
		return false;
	req.digest = digest;
	if (!ctr_call(cli, CONTENT, "Info", &req, &info, error) ||
	    !ctr_registry_open(cli, cli_arg(cli, 0), &registry, error))
		return false;
	g_autoptr(Descriptor) desc = descriptor_new(cli_arg(cli, 2), digest, info->info->size);
	g_auto(StoreSource) source = {.cli = cli, .digest = digest};
	bool exists = false;
	if (!resolver_push(registry.resolver, ctr_cancel(cli), desc, source_read, &source, &exists, error))
		return false;
	if (exists)
		return error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "content %s on remote", digest);
	printf("Pushed %s %s\n", digest, cli_arg(cli, 2));
	return true;
}

static const CliFlag blob_flags[] = {
        {"media-type", FLAG_STRING, "Specify target mediatype for request header"},
        {0},
};
const CliCommand ctr_content_fetch_object = {
        .name = "fetch-object",
        .usage = "Retrieve objects from a remote",
        .arguments = "[flags] <remote> <object> [<hint>, ...]",
        .flags = {flags_registry},
        .run = fetch_object_run,
};
const CliCommand ctr_content_fetch_blob = {
        .name = "fetch-blob",
        .usage = "Retrieve blobs from a remote",
        .arguments = "[flags] <remote> [<digest>, ...]",
        .flags = {flags_registry, blob_flags},
        .run = fetch_blob_run,
};
const CliCommand ctr_content_push_object = {
        .name = "push-object",
        .usage = "Push an object to a remote",
        .arguments = "[flags] <remote> <object> <type>",
        .flags = {flags_registry},
        .run = push_object_run,
};
