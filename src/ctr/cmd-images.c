// SPDX-License-Identifier: Apache-2.0
/* ctr images: what works on records; pull, push, import and export are in cmd-images-transfer.c */
#include "ctr/container.h"
#include "ctr/image.h"
#include "ctr/images.h"
#include "ctr/snapshots.h"
#include "ctr/util.h"
#include "mount/mount.h"
#include "oci/media-types.h"
#include "services/containers/v1/containers.pb-c.h"
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define SERVICE &containerd__services__images__v1__images__descriptor
typedef Containerd__Services__Images__V1__Image PbImage;

/* A problem with one of several: said at once, the first one is also the command's error. */
static void note(GError **first, GError *failed)
{
	if (*first == NULL) {
		*first = failed;
		return;
	}
	fprintf(stderr, "ctr: %s\n", failed->message);
	g_error_free(failed);
}

static bool finish(GError *first, GError **error)
{
	if (first != NULL)
		g_propagate_error(error, first);
	return first == NULL;
}

/* ---- list ---- */

/* Size of the manifest with its config and layers; -1 and a line on stderr where it cannot be told. */
static int64_t image_size(Cli *cli, const PbImage *image, const Descriptor *target,
                          const PlatformMatcher *matcher)
{
	g_autoptr(GError) failed = NULL;
	g_autoptr(Manifest) m = ctr_manifest(cli, target, matcher, &failed);
	if (m == NULL) {
		fprintf(stderr, "ctr: failed calculating size for image %s: %s\n", image->name,
		        failed->message);
		return 0;
	}
	int64_t size = m->config.size;
	for (guint i = 0; i < m->layers->len; i++)
		size += ((const Descriptor *)m->layers->pdata[i])->size;
	return size + (media_type_is_index(target->media_type) ? 0 : target->size);
}

static char *platforms_text(Cli *cli, const PbImage *image, const Descriptor *target)
{
	g_autoptr(GError) failed = NULL;
	g_autoptr(GPtrArray) list = ctr_image_platforms(cli, target, &failed);
	if (list == NULL) {
		fprintf(stderr, "ctr: failed resolving platform for image %s: %s\n", image->name,
		        failed->message);
		return g_strdup("-");
	}
	if (list->len == 0)
		return g_strdup("-");
	g_ptr_array_add(list, NULL);
	return g_strjoinv(",", (char **)list->pdata);
}

static bool list_run(Cli *cli, GError **error)
{
	autopb Containerd__Services__Images__V1__ListImagesResponse *resp = NULL;
	if (!ctr_images_list(cli, &resp, error))
		return error_prefix(error, "failed to list images");
	bool quiet = cli_bool(cli, "quiet");
	JsonObject *json = ctr_wants_json(cli) ? json_object_new_array() : NULL;
	g_autoptr(PlatformMatcher) matcher = platform_matcher_default();
	Table *t = table_new(1, 1);
	if (!quiet)
		table_row(t, "REF\tTYPE\tDIGEST\tSIZE\tPLATFORMS\tLABELS\t");
	for (size_t i = 0; i < resp->n_images; i++) {
		const PbImage *image = resp->images[i];
		if (quiet) {
			table_row(t, "%s", image->name);
			continue;
		}
		g_autoptr(Descriptor) target = ctr_image_target(image);
		g_autoptr(GHashTable) labels = label_map(image->n_labels, image->labels);
		g_autofree char *text = labels_text(labels, ",");
		int64_t size = image_size(cli, image, target, matcher);
		g_autofree char *size_text = bytes_text(size);
		g_autofree char *platforms = platforms_text(cli, image, target);
		if (json != NULL) {
			JsonObject *o = message_to_json(&image->base);
			json_set_int64(o, "size", size);
			json_set_string(o, "platforms", platforms);
			json_object_array_add(json, o);
		} else {
			table_row(t, "%s\t%s\t%s\t%s\t%s\t%s\t", image->name, target->media_type,
			          target->digest, size_text, platforms, *text != '\0' ? text : "-");
		}
	}
	if (json != NULL) {
		table_free(t);
		print_json(json);
	} else {
		table_print(t);
	}
	return true;
}

/* ---- check ---- */

typedef struct {
	guint n_required, n_present;
	int64_t required, present;
	bool available; // the manifest is there
} Check;

static void check_blob(Cli *cli, Check *c, const Descriptor *d)
{
	c->n_required++;
	c->required += d->size;
	if (!ctr_blob_exists(cli, d->digest))
		return;
	c->n_present++;
	c->present += d->size;
}

static bool check_one(Cli *cli, const PbImage *image, const PlatformMatcher *matcher, Table *t,
                      GError **error)
{
	Check c = {0};
	bool unpacked = false, quiet = cli_bool(cli, "quiet");
	g_autoptr(Descriptor) target = ctr_image_target(image);
	g_autoptr(GError) failed = NULL;
	g_autoptr(Manifest) m = ctr_manifest(cli, target, matcher, &failed);
	if (m == NULL && !error_is(failed, CTRD_ERR_NOT_FOUND)) {
		g_propagate_error(error, g_steal_pointer(&failed));
		if (!quiet)
			table_row(t, "%s\t%s\t%s\terror\t-\tfalse", image->name, target->media_type,
			          target->digest);
		return error_prefix(error, "unable to check %s", image->name);
	}
	if (m != NULL) {
		c.available = true;
		check_blob(cli, &c, &m->config);
		for (guint i = 0; i < m->layers->len; i++)
			check_blob(cli, &c, m->layers->pdata[i]);
		if (c.n_present > 0 &&
		    !ctr_image_unpacked(cli, m, ctr_snapshotter(cli), &unpacked, NULL, error))
			return error_prefix(error, "unable to check unpack for %s", image->name);
	}
	bool complete = c.available && c.n_present == c.n_required;
	if (quiet) {
		if (complete && unpacked)
			table_row(t, "%s", image->name);
		return true;
	}
	g_autofree char *present = bytes_text(c.present), *required = bytes_text(c.required);
	g_autofree char *status =
	        c.available ? g_strdup_printf("%s (%u/%u)", complete ? "complete" : "incomplete", c.n_present,
	                                      c.n_required)
	                    : g_strdup_printf("unavailable (%u/?)", c.n_present);
	table_row(t, "%s\t%s\t%s\t%s\t%s/%s\t%s", image->name, target->media_type, target->digest, status,
	          present, c.available ? required : "?", unpacked ? "true" : "false");
	return true;
}

static bool check_run(Cli *cli, GError **error)
{
	autopb Containerd__Services__Images__V1__ListImagesResponse *resp = NULL;
	if (!ctr_images_list(cli, &resp, error))
		return error_prefix(error, "failed listing images");
	if (resp->n_images == 0)
		return true;
	g_autoptr(PlatformMatcher) matcher = platform_matcher_default();
	Table *t = table_new(1, 1);
	GError *first = NULL;
	if (!cli_bool(cli, "quiet"))
		table_row(t, "REF\tTYPE\tDIGEST\tSTATUS\tSIZE\tUNPACKED\t");
	for (size_t i = 0; i < resp->n_images; i++) {
		GError *failed = NULL;
		if (!check_one(cli, resp->images[i], matcher, t, &failed))
			note(&first, failed);
	}
	table_print(t);
	return finish(first, error);
}

/* ---- remove, prune ---- */

static bool remove_run(Cli *cli, GError **error)
{
	GError *first = NULL;
	for (int i = 0; i < cli_n_args(cli); i++) {
		const char *name = cli_arg(cli, i);
		GError *failed = NULL;
		if (ctr_image_delete(cli, name, cli_bool(cli, "sync") && i == cli_n_args(cli) - 1, &failed)) {
			puts(name);
		} else if (error_is(failed, CTRD_ERR_NOT_FOUND)) {
			fprintf(stderr, "ctr: %s: image not found\n", name);
			g_error_free(failed);
		} else {
			error_prefix(&failed, "unable to delete %s", name);
			note(&first, failed);
		}
	}
	return finish(first, error);
}

static bool prune_run(Cli *cli, GError **error)
{
	if (!cli_bool(cli, "all")) {
		fputs("ctr: No images pruned. `image prune` requires --all to be specified.\n", stderr);
		return true;
	}
	Containerd__Services__Containers__V1__ListContainersRequest req =
	        CONTAINERD__SERVICES__CONTAINERS__V1__LIST_CONTAINERS_REQUEST__INIT;
	autopb Containerd__Services__Containers__V1__ListContainersResponse *containers = NULL;
	autopb Containerd__Services__Images__V1__ListImagesResponse *images = NULL;
	if (!ctr_call(cli, &containerd__services__containers__v1__containers__descriptor, "List", &req,
	              &containers, error) ||
	    !ctr_images_list(cli, &images, error))
		return false;
	g_autoptr(GHashTable) used = g_hash_table_new(g_str_hash, g_str_equal);
	for (size_t i = 0; i < containers->n_containers; i++)
		g_hash_table_add(used, (gpointer)containers->containers[i]->image);
	g_autoptr(GPtrArray) unused = g_ptr_array_new();
	for (size_t i = 0; i < images->n_images; i++) {
		if (!g_hash_table_contains(used, images->images[i]->name))
			g_ptr_array_add(unused, (gpointer)images->images[i]->name);
	}
	GError *first = NULL;
	for (guint i = 0; i < unused->len; i++) {
		GError *failed = NULL;
		if (ctr_image_delete(cli, unused->pdata[i], i + 1 == unused->len, &failed))
			puts(unused->pdata[i]);
		else if (error_is(failed, CTRD_ERR_NOT_FOUND))
			g_error_free(failed);
		else
			note(&first, failed);
	}
	return finish(first, error);
}

/* ---- label ---- */

static bool label_run(Cli *cli, GError **error)
{
	if (*cli_arg(cli, 0) == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "please specify an image");
	g_autoptr(GHashTable) labels = label_args(cli, 1);
	g_autoptr(GPtrArray) paths = label_paths(labels);
	if (cli_bool(cli, "replace-all")) {
		g_ptr_array_set_size(paths, 0);
		g_ptr_array_add(paths, g_strdup("labels"));
	} else if (paths->len == 0) {
		/* without a mask the whole record would be replaced */
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "please give labels as key=value");
	}
	g_autoptr(GPtrArray) entries =
	        label_entries(labels, &containerd__services__images__v1__image__labels_entry__descriptor);
	PbImage image = CONTAINERD__SERVICES__IMAGES__V1__IMAGE__INIT;
	Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
	Containerd__Services__Images__V1__UpdateImageRequest req =
	        CONTAINERD__SERVICES__IMAGES__V1__UPDATE_IMAGE_REQUEST__INIT;
	image.name = cli_arg(cli, 0);
	image.labels = (void *)entries->pdata;
	image.n_labels = entries->len;
	mask.paths = (char **)paths->pdata;
	mask.n_paths = paths->len;
	req.image = &image;
	req.update_mask = &mask;
	autopb Containerd__Services__Images__V1__UpdateImageResponse *resp = NULL;
	if (!ctr_call(cli, SERVICE, "Update", &req, &resp, error))
		return false;
	g_autoptr(GHashTable) all = label_map(resp->image->n_labels, resp->image->labels);
	g_autofree char *text = labels_text(all, ",");
	puts(text);
	return true;
}

/* ---- usage ---- */

static bool usage_run(Cli *cli, GError **error)
{
	const char *ref = cli_arg(cli, 0), *snapshotter = ctr_snapshotter(cli);
	if (*ref == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "please provide an image reference");
	autopb Containerd__Services__Images__V1__GetImageResponse *image = NULL;
	if (!ctr_image_get(cli, ref, &image, error))
		return error_prefix(error, "failed to ensure if image %s exists", ref);
	g_autoptr(Descriptor) target = ctr_image_target(image->image);
	g_autoptr(PlatformMatcher) matcher = platform_matcher_default();
	g_autoptr(Manifest) m = ctr_manifest(cli, target, matcher, error);
	g_autofree char *id = NULL;
	bool unpacked = false;
	if (m == NULL || !ctr_image_unpacked(cli, m, snapshotter, &unpacked, &id, error))
		return error_prefix(error, "failed to ensure if image %s has been unpacked in snapshotter %s",
		                    ref, snapshotter);
	if (!unpacked)
		return error_set(error, CTRD_ERR_UNKNOWN, "image %s isn't unpacked in snapshotter %s", ref,
		                 snapshotter);
	Table *t = table_new(1, 1);
	table_row(t, "KEY\tSIZE\tINODES\t");
	while (!str_empty(id)) {
		autopb Containerd__Services__Snapshots__V1__UsageResponse *usage = NULL;
		autopb Containerd__Services__Snapshots__V1__StatSnapshotResponse *stat = NULL;
		Containerd__Services__Snapshots__V1__UsageRequest req =
		        CONTAINERD__SERVICES__SNAPSHOTS__V1__USAGE_REQUEST__INIT;
		req.snapshotter = snapshotter;
		req.key = id;
		if (!ctr_call(cli, &containerd__services__snapshots__v1__snapshots__descriptor, "Usage", &req,
		              &usage, error) ||
		    !ctr_snapshot_stat(cli, snapshotter, id, &stat, error)) {
			table_free(t);
			return error_prefix(error, "failed to get usage for snapshot %s", id);
		}
		g_autofree char *size = bytes_text(usage->size);
		table_row(t, "%s\t%s\t%" PRId64 "\t", id, size, usage->inodes);
		g_free(id);
		id = g_strdup(stat->info->parent);
	}
	table_print(t);
	return true;
}

/* ---- mount, unmount ---- */

/* The snapshot's mounts, made now or by an earlier mount with the same target. */
static GPtrArray *snapshot_for_mount(Cli *cli, const char *snapshotter, const char *key, const char *parent,
                                     GError **error)
{
	g_autoptr(GError) failed = NULL;
	autopb Containerd__Services__Snapshots__V1__PrepareSnapshotResponse *rw = NULL;
	autopb Containerd__Services__Snapshots__V1__ViewSnapshotResponse *ro = NULL;
	autopb Containerd__Services__Snapshots__V1__MountsResponse *old = NULL;
	g_autoptr(GHashTable) none = strmap_new();
	if (cli_bool(cli, "rw") ? ctr_snapshot_prepare(cli, snapshotter, key, parent, none, &rw, &failed)
	                        : ctr_snapshot_view(cli, snapshotter, key, parent, &ro, &failed))
		return rw != NULL ? ctr_mounts_in(rw->n_mounts, rw->mounts)
		                  : ctr_mounts_in(ro->n_mounts, ro->mounts);
	if (!error_is(failed, CTRD_ERR_ALREADY_EXISTS)) {
		g_propagate_error(error, g_steal_pointer(&failed));
		return NULL;
	}
	return ctr_snapshot_mounts(cli, snapshotter, key, &old, error)
	               ? ctr_mounts_in(old->n_mounts, old->mounts)
	               : NULL;
}

static bool mount_image(Cli *cli, const char *ref, const char *target, const char *snapshotter,
                        GError **error)
{
	autopb Containerd__Services__Images__V1__GetImageResponse *image = NULL;
	g_auto(Platform) platform = {0};
	const char *ps = cli_string(cli, "platform");
	if (*ps != '\0' && !platform_parse(ps, &platform, error))
		return error_prefix(error, "unable to parse platform %s", ps);
	if (!ctr_image_get(cli, ref, &image, error))
		return false;
	g_autoptr(PlatformMatcher) matcher =
	        *ps != '\0' ? platform_matcher_only(&platform) : platform_matcher_default();
	g_autoptr(Descriptor) desc = ctr_image_target(image->image);
	g_autoptr(Manifest) m = ctr_manifest(cli, desc, matcher, error);
	g_autofree char *id = NULL;
	bool unpacked = false;
	if (m == NULL)
		return false;
	if (!ctr_image_unpack(cli, m, snapshotter, cli_bool(cli, "sync-fs"), error))
		return error_prefix(error, "error unpacking image");
	if (!ctr_image_unpacked(cli, m, snapshotter, &unpacked, &id, error))
		return false;
	puts(id);
	g_autoptr(GPtrArray) mounts = snapshot_for_mount(cli, snapshotter, target, id, error);
	if (mounts == NULL)
		return false;
	if (!mounts_mount(mounts, target, error)) {
		ctr_snapshot_remove(cli, snapshotter, target, NULL);
		return error_prefix(error, "failed to mount on %s", target);
	}
	puts(target);
	return true;
}

static bool mount_run(Cli *cli, GError **error)
{
	const char *ref = cli_arg(cli, 0), *target = cli_arg(cli, 1);
	if (*ref == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "please provide an image reference to mount");
	if (*target == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "please provide a target path to mount to");
	g_autofree char *lease = NULL;
	g_autoptr(GHashTable) none = strmap_new();
	g_autoptr(GError) failed = NULL;
	bool made = ctr_lease_create(cli, target, cli_duration(cli, "expiration"), none, &lease, &failed);
	if (!made && !error_is(failed, CTRD_ERR_ALREADY_EXISTS)) {
		g_propagate_error(error, g_steal_pointer(&failed));
		return false;
	}
	ctr_set_lease(cli, target);
	bool ok = mount_image(cli, ref, target, ctr_snapshotter(cli), error);
	ctr_set_lease(cli, NULL);
	if (!ok && made)
		ctr_lease_delete(cli, target, false, NULL);
	return ok;
}

static bool unmount_run(Cli *cli, GError **error)
{
	const char *target = cli_arg(cli, 0);
	if (*target == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "please provide a target path to unmount from");
	if (!mount_unmount_all(target, 0, error))
		return false;
	if (cli_bool(cli, "rm")) {
		g_autoptr(GError) failed = NULL;
		if (!ctr_lease_delete(cli, target, false, &failed) && !error_is(failed, CTRD_ERR_NOT_FOUND)) {
			g_propagate_error(error, g_steal_pointer(&failed));
			return error_prefix(error, "error deleting lease");
		}
		g_clear_error(&failed);
		if (!ctr_snapshot_remove(cli, ctr_snapshotter(cli), target, &failed) &&
		    !error_is(failed, CTRD_ERR_NOT_FOUND)) {
			g_propagate_error(error, g_steal_pointer(&failed));
			return error_prefix(error, "error removing snapshot");
		}
	}
	puts(target);
	return true;
}

static const CliFlag check_flags[] = {
        {"quiet",
         FLAG_BOOL,
         "Print only the ready image refs (fully downloaded and unpacked)",
         {"q"},
         "false"},
        {0},
};
static const CliFlag sync_flags[] = {
        {"sync", FLAG_BOOL, "Synchronously remove image and all associated resources", .value = "false"},
        {0},
};
static const CliFlag prune_flags[] = {
        {"all", FLAG_BOOL,
         "Remove all unused images, not just dangling ones (if all is not specified no images will be "
         "pruned)",
         .value = "false"},
        {0},
};
static const CliFlag label_flags[] = {{"replace-all", FLAG_BOOL, "Replace all labels", {"r"}, "false"}, {0}};
static const CliFlag mount_flags[] = {
        {"rw", FLAG_BOOL, "Enable write support on the mount", .value = "false"},
        {"platform", FLAG_STRING, "Mount the image for the specified platform"},
        {"sync-fs", FLAG_BOOL,
         "Synchronize the underlying filesystem containing files when unpack images, false by default",
         .value = "false"},
        {"expiration", FLAG_DURATION, "Set the expiration time for the mount and snapshots", {"x"}, "1h0m0s"},
        {0},
};
static const CliFlag unmount_flags[] = {
        {"rm", FLAG_BOOL, "Remove the snapshot after a successful unmount", .value = "false"}, {0}};

static const CliCommand check = {
        .name = "check",
        .usage = "Check existing images to ensure all content is available locally",
        .arguments = "[flags] [<filter>, ...]",
        .flags = {check_flags, flags_snapshotter},
        .run = check_run,
};
static const CliCommand list = {
        .name = "list",
        .aliases = {"ls"},
        .usage = "List images known to containerd",
        .arguments = "[flags] [<filter>, ...]",
        .flags = {flags_quiet, flags_format},
        .run = list_run,
};
static const CliCommand mount_ = {
        .name = "mount",
        .usage = "Mount an image to a target path",
        .arguments = "[flags] <ref> <target>",
        .flags = {flags_snapshotter, mount_flags},
        .run = mount_run,
};
static const CliCommand unmount = {
        .name = "unmount",
        .usage = "Unmount the image from the target",
        .arguments = "[flags] <target>",
        .flags = {flags_snapshotter, unmount_flags},
        .run = unmount_run,
};
static const CliCommand prune = {
        .name = "prune",
        .usage = "Remove unused images",
        .flags = {prune_flags},
        .run = prune_run,
};
static const CliCommand delete_ = {
        .name = "delete",
        .aliases = {"del", "remove", "rm"},
        .usage = "Remove one or more images by reference",
        .arguments = "[flags] <ref> [<ref>, ...]",
        .flags = {sync_flags},
        .run = remove_run,
};
static const CliCommand label = {
        .name = "label",
        .usage = "Set and clear labels for an image",
        .arguments = "[flags] <name> [<key>=<value>, ...]",
        .flags = {label_flags},
        .run = label_run,
};
static const CliCommand usage = {
        .name = "usage",
        .usage = "Display usage of snapshots for a given image ref",
        .arguments = "[flags] <ref>",
        .flags = {flags_snapshotter},
        .run = usage_run,
};
static const CliCommand *const commands[] = {
        &check,
        &ctr_images_convert,
        &ctr_images_export,
        &ctr_images_import,
        &ctr_images_inspect,
        &list,
        &mount_,
        &unmount,
        &ctr_images_pull,
        &ctr_images_push,
        &prune,
        &delete_,
        &ctr_images_tag,
        &label,
        &usage,
        NULL,
};
const CliCommand cmd_images = {
        .name = "images",
        .aliases = {"image", "i"},
        .usage = "Manage images",
        .commands = commands,
};
