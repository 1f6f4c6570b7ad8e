// SPDX-License-Identifier: Apache-2.0
/* ctr images pull, push, import, export, tag: through the daemon's Transfer service, as upstream 2.x without
 * --local. */
#include "base/time.h"
#include "ctr/image.h"
#include "ctr/images.h"
#include "ctr/progress.h"
#include "ctr/registry-flags.h"
#include "ctr/snapshots.h"
#include "ctr/stream.h"
#include "ctr/util.h"
#include "message.h"
#include "oci/platform.h"
#include "oci/reference.h"
#include "services/transfer/v1/transfer.pb-c.h"
#include "types/platform.pb-c.h"
#include "types/transfer/imagestore.pb-c.h"
#include "types/transfer/importexport.pb-c.h"
#include "types/transfer/registry.pb-c.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef Containerd__Types__Transfer__ImageStore PbStore;

/* ---- the call ---- */

/* Progress goes to stdout, but to stderr where the image itself does. */
static bool transfer(Cli *cli, const void *source, const void *destination, FILE *out, GError **error)
{
	Containerd__Services__Transfer__V1__TransferRequest req =
	        CONTAINERD__SERVICES__TRANSFER__V1__TRANSFER_REQUEST__INIT;
	Containerd__Services__Transfer__V1__TransferOptions options =
	        CONTAINERD__SERVICES__TRANSFER__V1__TRANSFER_OPTIONS__INIT;
	autopb Google__Protobuf__Any *from = api_any_pack(source, NULL),
	                             *to = api_any_pack(destination, NULL);
	autopb ProtobufCMessage *resp = NULL;
	req.source = from;
	req.destination = to;
	ProgressView *view = NULL;
	SideStream *progress = NULL;
	if (out != NULL) {
		view = progress_view_new(out);
		progress = side_stream_progress(cli, progress_view_take, view, error);
		if (progress == NULL) {
			progress_view_end(view);
			return false;
		}
		options.progress_stream = side_stream_name(progress);
		req.options = &options;
	}
	bool ok = ctr_call(cli, &containerd__services__transfer__v1__transfer__descriptor, "Transfer", &req,
	                   &resp, error);
	side_stream_end(progress, ok, NULL);
	if (view != NULL)
		progress_view_end(view);
	return ok;
}

/* ---- platforms ---- */

/* Messages of platforms and what they borrow from. */
typedef struct {
	GPtrArray *platforms; // of Platform*
	GPtrArray *messages;  // of Containerd__Types__Platform*
} Platforms;

static void platforms_clear(Platforms *p)
{
	g_clear_pointer(&p->messages, g_ptr_array_unref);
	g_clear_pointer(&p->platforms, g_ptr_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Platforms, platforms_clear)

/* The flags' platforms; none: this machine's where or_default. */
static bool platforms_of(char **words, bool or_default, Platforms *ret, GError **error)
{
	ret->platforms = platforms_parse((const char *const *)words, error);
	if (ret->platforms == NULL)
		return false;
	if (ret->platforms->len == 0 && or_default) {
		g_auto(Platform) p = {0};
		platform_default(&p);
		g_ptr_array_add(ret->platforms, platform_new_copy(&p));
	}
	ret->messages = g_ptr_array_new_with_free_func(g_free);
	for (guint i = 0; i < ret->platforms->len; i++) {
		const Platform *p = ret->platforms->pdata[i];
		Containerd__Types__Platform *m = g_new0(Containerd__Types__Platform, 1);
		api_init(&containerd__types__platform__descriptor, m);
		m->os = str_or(p->os, "");
		m->architecture = str_or(p->architecture, "");
		m->variant = str_or(p->variant, "");
		m->os_version = str_or(p->os_version, "");
		g_ptr_array_add(ret->messages, m);
	}
	return true;
}

/* One entry for each platform: unpack it into the snapshotter. */
static GPtrArray *unpacks_of(const Platforms *p, const char *snapshotter)
{
	GPtrArray *out = g_ptr_array_new_with_free_func(g_free);
	for (guint i = 0; i < p->messages->len; i++) {
		Containerd__Types__Transfer__UnpackConfiguration *u =
		        g_new0(Containerd__Types__Transfer__UnpackConfiguration, 1);
		api_init(&containerd__types__transfer__unpack_configuration__descriptor, u);
		u->platform = p->messages->pdata[i];
		u->snapshotter = snapshotter;
		g_ptr_array_add(out, u);
	}
	return out;
}

/* ---- registries ---- */

static bool refuse(Cli *cli, const char *const *flags, GError **error)
{
	for (; *flags != NULL; flags++) {
		if (cli_is_set(cli, *flags))
			return error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED,
			                       "--%s goes around the transfer service; that is not there yet",
			                       *flags);
	}
	return true;
}

static bool need_local(Cli *cli, const char *const *flags, GError **error)
{
	for (; !cli_bool(cli, "local") && *flags != NULL; flags++) {
		if (cli_is_set(cli, *flags))
			return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
			                 "\"--%s\" requires \"--local\" flag", *flags);
	}
	return true;
}

/* ---- pull, push ---- */

/* The image's content into the store, under its name; snapshotter NULL: nothing is unpacked. */
static bool pull(Cli *cli, const char *ref, const Platforms *platforms, const char *snapshotter,
                 GError **error)
{
	g_auto(Registry) registry = {0};
	if (!registry_begin(cli, ref, &registry, error))
		return false;
	g_autoptr(GPtrArray) unpacks = unpacks_of(platforms, snapshotter);
	g_autoptr(GHashTable) labels = label_words(cli_strings(cli, "label"));
	g_autoptr(GPtrArray) entries =
	        label_entries(labels, &containerd__types__transfer__image_store__labels_entry__descriptor);
	PbStore store = CONTAINERD__TYPES__TRANSFER__IMAGE_STORE__INIT;
	store.name = ref;
	store.labels = (void *)entries->pdata;
	store.n_labels = entries->len;
	store.platforms = (void *)platforms->messages->pdata;
	store.n_platforms = platforms->messages->len;
	store.all_metadata = !cli_bool(cli, "skip-metadata");
	store.unpacks = snapshotter != NULL ? (void *)unpacks->pdata : NULL;
	store.n_unpacks = snapshotter != NULL ? unpacks->len : 0;
	return transfer(cli, &registry.registry, &store, stdout, error);
}

/* --local: the daemon fetches, and each platform is unpacked by calls of ours, as upstream's client does it.
 */
static bool unpack_local(Cli *cli, const char *ref, GPtrArray *names, GError **error)
{
	autopb Containerd__Services__Images__V1__GetImageResponse *image = NULL;
	if (!ctr_image_get(cli, ref, &image, error))
		return false;
	g_autoptr(Descriptor) target = ctr_image_target(image->image);
	int64_t begun = time_mono();
	for (guint i = 0; i < names->len; i++) {
		g_auto(Platform) platform = {0};
		g_autofree char *id = NULL;
		bool unpacked = false;
		printf("unpacking %s %s...\n", (char *)names->pdata[i], target->digest);
		fflush(stdout);
		if (!platform_parse(names->pdata[i], &platform, error))
			return false;
		g_autoptr(PlatformMatcher) matcher = platform_matcher_only(&platform);
		g_autoptr(Manifest) m = ctr_manifest(cli, target, matcher, error);
		if (m == NULL ||
		    !ctr_image_unpack(cli, m, ctr_snapshotter(cli), cli_bool(cli, "sync-fs"), error) ||
		    !ctr_image_unpacked(cli, m, ctr_snapshotter(cli), &unpacked, &id, error))
			return false;
		if (cli_bool(cli, "print-chainid"))
			printf("image chain ID: %s\n", id);
	}
	printf("done: %.3fs\t\n", (double)(time_mono() - begun) / (double)NS_PER_SEC);
	return true;
}

static bool pull_and_unpack(Cli *cli, const char *ref, const Platforms *platforms, GError **error)
{
	if (!pull(cli, ref, platforms, NULL, error))
		return false;
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	for (guint i = 0; i < platforms->platforms->len; i++)
		g_ptr_array_add(names, platform_format(platforms->platforms->pdata[i]));
	if (names->len > 0)
		return unpack_local(cli, ref, names, error);
	autopb Containerd__Services__Images__V1__GetImageResponse *image = NULL;
	if (!ctr_image_get(cli, ref, &image, error))
		return false;
	g_autoptr(Descriptor) target = ctr_image_target(image->image);
	g_autoptr(GPtrArray) all = ctr_image_platforms(cli, target, error);
	if (all == NULL)
		return error_prefix(error, "unable to resolve image platforms");
	return unpack_local(cli, ref, all, error);
}

static bool pull_local(Cli *cli, const char *ref, const Platforms *platforms, GError **error)
{
	if (!ctr_lease_hold(cli, error))
		return false;
	bool ok = pull_and_unpack(cli, ref, platforms, error);
	ctr_lease_release(cli);
	return ok;
}

static bool pull_run(Cli *cli, GError **error)
{
	const char *ref = cli_arg(cli, 0);
	bool all = cli_bool(cli, "all-platforms"), local = cli_bool(cli, "local");
	if (*ref == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "please provide an image reference to pull");
	if (all && *cli_strings(cli, "platform") != NULL)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "cannot specify both --platform and --all-platforms");
	static const char *const pull_only_local[] = {"print-chainid", "max-concurrent-downloads", NULL};
	g_auto(Platforms) platforms = {0};
	if (!need_local(cli, pull_only_local, error) ||
	    !platforms_of(cli_strings(cli, "platform"), !all, &platforms, error))
		return false;
	return local ? pull_local(cli, ref, &platforms, error)
	             : pull(cli, ref, &platforms, cli_string(cli, "snapshotter"), error);
}

/* ctr content fetch: a pull that unpacks nothing. */
static bool fetch_run(Cli *cli, GError **error)
{
	static char nothing[] = "none/none";
	char *none[] = {nothing, NULL};
	const char *ref = cli_arg(cli, 0);
	bool all = cli_bool(cli, "all-platforms"), metadata = cli_bool(cli, "metadata-only");
	g_auto(Platforms) platforms = {0};
	g_autoptr(GError) failed = NULL;
	if (!platforms_of(metadata ? none : cli_strings(cli, "platform"), !all, &platforms, error))
		return false;
	if (pull(cli, ref, &platforms, NULL, &failed))
		return true;
	/* what upstream's client says where its daemon says this */
	static const char daemons[] = "failed to resolve image: ";
	if (g_str_has_prefix(failed->message, daemons)) {
		g_autofree char *text = g_strdup_printf("failed to resolve reference %s: %s", Q(ref),
		                                        failed->message + strlen(daemons));
		g_free(failed->message);
		failed->message = g_steal_pointer(&text);
	}
	g_propagate_error(error, g_steal_pointer(&failed));
	return false;
}

static bool push_run(Cli *cli, GError **error)
{
	const char *ref = cli_arg(cli, 0), *local = *cli_arg(cli, 1) != '\0' ? cli_arg(cli, 1) : ref;
	if (*ref == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "please provide a remote image reference to push");
	g_auto(Platforms) platforms = {0};
	g_auto(Registry) registry = {0};
	if (!platforms_of(cli_strings(cli, "platform"), false, &platforms, error) ||
	    !registry_begin(cli, ref, &registry, error))
		return false;
	PbStore store = CONTAINERD__TYPES__TRANSFER__IMAGE_STORE__INIT;
	store.name = local;
	store.platforms = (void *)platforms.messages->pdata;
	store.n_platforms = platforms.messages->len;
	return transfer(cli, &store, &registry.registry, stdout, error);
}

/* ---- import, export ---- */

static bool import_run(Cli *cli, GError **error)
{
	static const char *const unsupported[] = {"discard-unpacked-layers", NULL};
	const char *in = cli_arg(cli, 0), *base = cli_string(cli, "base-name"),
	           *platform = cli_string(cli, "platform");
	if (*in == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "please provide an archive to import, or - for stdin");
	char *words[] = {(char *)(*platform != '\0' ? platform : NULL), NULL};
	g_auto(Platforms) platforms = {0};
	if (!refuse(cli, unsupported, error) || !platforms_of(words, true, &platforms, error))
		return false;
	autofd file = g_str_equal(in, "-") ? dup(STDIN_FILENO) : open(in, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return error_set_errno(error, errno, "open %s", in);
	time_t now = time(NULL);
	struct tm tm;
	char date[16];
	strftime(date, sizeof(date), "%Y-%m-%d", localtime_r(&now, &tm));
	g_autofree char *prefix = *base != '\0' ? g_strdup(base) : g_strdup_printf("import-%s", date);
	Containerd__Types__Transfer__ImageReference reference =
	        CONTAINERD__TYPES__TRANSFER__IMAGE_REFERENCE__INIT;
	Containerd__Types__Transfer__ImageReference *references[] = {&reference};
	reference.name = prefix;
	reference.is_prefix = true;
	reference.allow_overwrite = *base == '\0';
	reference.add_digest = cli_bool(cli, "digests");
	reference.skip_named_digest = cli_bool(cli, "digests") && cli_bool(cli, "skip-digest-for-named");
	g_autoptr(GPtrArray) unpacks = unpacks_of(&platforms, cli_string(cli, "snapshotter"));
	g_autoptr(GHashTable) labels = label_words(cli_strings(cli, "label"));
	g_autoptr(GPtrArray) entries =
	        label_entries(labels, &containerd__types__transfer__image_store__labels_entry__descriptor);
	PbStore store = CONTAINERD__TYPES__TRANSFER__IMAGE_STORE__INIT;
	store.name = cli_string(cli, "index-name");
	store.labels = (void *)entries->pdata;
	store.n_labels = entries->len;
	store.extra_references = references;
	store.n_extra_references = 1;
	if (!cli_bool(cli, "all-platforms")) {
		store.platforms = (void *)platforms.messages->pdata;
		store.n_platforms = platforms.messages->len;
	}
	if (!cli_bool(cli, "no-unpack")) {
		store.unpacks = (void *)unpacks->pdata;
		store.n_unpacks = unpacks->len;
	}
	SideStream *stream = side_stream_send(cli, file, error);
	if (stream == NULL)
		return false;
	Containerd__Types__Transfer__ImageImportStream source =
	        CONTAINERD__TYPES__TRANSFER__IMAGE_IMPORT_STREAM__INIT;
	source.stream = side_stream_name(stream);
	source.force_compress = cli_bool(cli, "compress-blobs");
	bool ok = transfer(cli, &source, &store, stdout, error);
	/* what the daemon says of a broken archive is more than what our end of the stream knows */
	return side_stream_end(stream, false, ok ? error : NULL) && ok;
}

static bool export_to(Cli *cli, int fd, FILE *progress, GError **error)
{
	g_auto(Platforms) platforms = {0};
	if (!platforms_of(cli_strings(cli, "platform"), false, &platforms, error))
		return false;
	g_autoptr(GPtrArray) references = g_ptr_array_new_with_free_func(g_free);
	for (int i = 1; i < cli_n_args(cli); i++) {
		Containerd__Types__Transfer__ImageReference *r =
		        g_new0(Containerd__Types__Transfer__ImageReference, 1);
		api_init(&containerd__types__transfer__image_reference__descriptor, r);
		r->name = cli_arg(cli, i);
		g_ptr_array_add(references, r);
	}
	PbStore store = CONTAINERD__TYPES__TRANSFER__IMAGE_STORE__INIT;
	store.extra_references = (void *)references->pdata;
	store.n_extra_references = references->len;
	SideStream *stream = side_stream_receive(cli, fd, error);
	if (stream == NULL)
		return false;
	Containerd__Types__Transfer__ImageExportStream destination =
	        CONTAINERD__TYPES__TRANSFER__IMAGE_EXPORT_STREAM__INIT;
	destination.stream = side_stream_name(stream);
	destination.platforms = (void *)platforms.messages->pdata;
	destination.n_platforms = platforms.messages->len;
	destination.all_platforms = cli_bool(cli, "all-platforms");
	destination.skip_compatibility_manifest = cli_bool(cli, "skip-manifest-json");
	destination.skip_non_distributable = cli_bool(cli, "skip-non-distributable");
	bool ok = transfer(cli, &store, &destination, progress, error);
	return side_stream_end(stream, ok, ok ? error : NULL) && ok;
}

static bool export_run(Cli *cli, GError **error)
{
	const char *out = cli_arg(cli, 0);
	if (cli_n_args(cli) < 2)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "please provide both an output filename and an image reference to export");
	bool to_stdout = g_str_equal(out, "-");
	autofd file =
	        to_stdout ? dup(STDOUT_FILENO) : open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (file < 0)
		return error_set_errno(error, errno, "open %s", out);
	bool ok = export_to(cli, file, to_stdout ? stderr : stdout, error);
	/* half an archive is nobody's friend */
	if (!ok && !to_stdout)
		unlink(out);
	return ok;
}

/* ---- tag ---- */

static bool tag_run(Cli *cli, GError **error)
{
	if (*cli_arg(cli, 0) == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "please provide an image reference to tag from");
	if (cli_n_args(cli) < 2)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "please provide an image reference to tag to");
	for (int i = 1; i < cli_n_args(cli); i++) {
		const char *target = cli_arg(cli, i);
		g_auto(DockerRef) ref = {0};
		g_autoptr(GError) failed = NULL;
		if (!cli_bool(cli, "skip-reference-check") && !docker_ref_parse_any(target, &ref, &failed))
			return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
			                 "error parsing reference: %s is not a valid repository/tag %s",
			                 Q(target), failed->message);
		PbStore from = CONTAINERD__TYPES__TRANSFER__IMAGE_STORE__INIT,
		        to = CONTAINERD__TYPES__TRANSFER__IMAGE_STORE__INIT;
		from.name = cli_arg(cli, 0);
		to.name = target;
		if (!transfer(cli, &from, &to, NULL, error))
			return false;
		puts(target);
	}
	return true;
}

static const CliFlag local_flags[] = {
        {"local", FLAG_BOOL, "Work from the client rather than using transfer service", .value = "false"},
        {0},
};
static const CliFlag pull_flags[] = {
        {"label", FLAG_STRINGS, "Labels to attach to the image"},
        {"platform", FLAG_STRINGS, "Pull content from a specific platform"},
        {"all-platforms", FLAG_BOOL, "Pull content and metadata from all platforms", .value = "false"},
        {"skip-metadata", FLAG_BOOL,
         "Skips metadata for unused platforms (Image may be unable to be pushed without metadata)",
         .value = "false"},
        {0},
};
static const CliFlag pull_local_flags[] = {
        {"print-chainid", FLAG_BOOL, "Print the resulting image's chain ID", .value = "false"},
        {"max-concurrent-downloads", FLAG_INT, "Set the max concurrent downloads for each pull",
         .value = "0"},
        {"sync-fs", FLAG_BOOL,
         "Synchronize the underlying filesystem containing files when unpack images, false by default",
         .value = "false"},
        {0},
};
static const CliFlag fetch_flags[] = {
        {"metadata-only", FLAG_BOOL, "Pull all metadata including manifests and configs", .value = "false"},
        {0},
};
static const CliFlag push_flags[] = {
        {"platform", FLAG_STRINGS, "Push content from a specific platform"},
        {0},
};
static const CliFlag import_flags[] = {
        {"base-name", FLAG_STRING,
         "Base image name for added images, when provided only images with this name prefix are imported"},
        {"digests", FLAG_BOOL, "Whether to create digest images", .value = "false"},
        {"skip-digest-for-named", FLAG_BOOL,
         "Skip applying --digests option to images named in the importing tar (use it in conjunction with "
         "--digests)",
         .value = "false"},
        {"index-name", FLAG_STRING, "Image name to keep index as, by default index is discarded"},
        {"all-platforms", FLAG_BOOL, "Imports content for all platforms", .value = "false"},
        {"platform", FLAG_STRING, "Imports content for specific platform"},
        {"no-unpack", FLAG_BOOL, "Skip unpacking the images", .value = "false"},
        {"compress-blobs", FLAG_BOOL,
         "Compress uncompressed blobs when creating manifest (Docker format only)", .value = "false"},
        {"discard-unpacked-layers", FLAG_BOOL, "Let layers go after unpacking", .value = "false"},
        {"label", FLAG_STRINGS, "Labels to attach to the image"},
        {0},
};
static const CliFlag export_flags[] = {
        {"skip-manifest-json", FLAG_BOOL, "Do not add Docker compatible manifest.json to archive",
         .value = "false"},
        {"skip-non-distributable", FLAG_BOOL,
         "Do not add non-distributable blobs such as Windows layers to archive", .value = "false"},
        {"platform", FLAG_STRINGS, "Export content of a specific platform"},
        {"all-platforms", FLAG_BOOL, "Exports content from all platforms", .value = "false"},
        {0},
};
static const CliFlag tag_flags[] = {
        {"force", FLAG_BOOL, "Force target_ref to be created, regardless if it already exists",
         .value = "false"},
        {"skip-reference-check", FLAG_BOOL, "Skip the strict check for reference names", .value = "false"},
        {0},
};

const CliCommand ctr_images_pull = {
        .name = "pull",
        .usage = "Pull an image from a remote",
        .arguments = "[flags] <ref>",
        .flags = {flags_registry, flags_snapshotter, pull_flags, pull_local_flags, local_flags},
        .run = pull_run,
};
const CliCommand ctr_content_fetch = {
        .name = "fetch",
        .usage = "Fetch all content for an image into containerd",
        .arguments = "[flags] <remote> <object>",
        .flags = {flags_registry, pull_flags, fetch_flags},
        .run = fetch_run,
};
const CliCommand ctr_images_push = {
        .name = "push",
        .usage = "Push an image to a remote",
        .arguments = "[flags] <remote> [<local>]",
        .flags = {flags_registry, push_flags, local_flags},
        .run = push_run,
};
const CliCommand ctr_images_import = {
        .name = "import",
        .usage = "Import images",
        .arguments = "[flags] <in>",
        .flags = {import_flags, flags_snapshotter, local_flags},
        .run = import_run,
};
const CliCommand ctr_images_export = {
        .name = "export",
        .usage = "Export images",
        .arguments = "[flags] <out> <image> ...",
        .flags = {export_flags, local_flags},
        .run = export_run,
};
const CliCommand ctr_images_tag = {
        .name = "tag",
        .usage = "Tag an image",
        .arguments = "[flags] <source_ref> <target_ref> [<target_ref>, ...]",
        .flags = {tag_flags},
        .run = tag_run,
};
