// SPDX-License-Identifier: Apache-2.0
/* ctr snapshots diff, unpack (upstream cmd/ctr/commands/snapshots, pkg/rootfs/diff.go) */
#include "base/digest.h"
#include "base/time.h"
#include "ctr/image.h"
#include "ctr/snapshots.h"
#include "ctr/util.h"
#include "oci/media-types.h"
#include "services/diff/v1/diff.pb-c.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DIFF &containerd__services__diff__v1__diff__descriptor

/* The mounts of a snapshot: its own, or those of a view that ends with it. */
typedef struct {
	Cli *cli;
	char *view; // NULL: none was made
	Containerd__Services__Snapshots__V1__MountsResponse *own;
	Containerd__Services__Snapshots__V1__ViewSnapshotResponse *viewed;
} Side;

static void side_clear(Side *s)
{
	if (s->view != NULL)
		ctr_snapshot_remove(s->cli, ctr_snapshotter(s->cli), s->view, NULL);
	g_clear_pointer(&s->view, g_free);
	if (s->own != NULL)
		protobuf_c_message_free_unpacked(&s->own->base, NULL);
	if (s->viewed != NULL)
		protobuf_c_message_free_unpacked(&s->viewed->base, NULL);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Side, side_clear)

static bool side_view(Side *s, const char *parent, GError **error)
{
	g_autofree char *random = g_uuid_string_random();
	g_autofree char *key = g_strdup_printf("%s-view-%s", parent, random);
	if (!ctr_snapshot_view(s->cli, ctr_snapshotter(s->cli), key, parent, &s->viewed, error))
		return false;
	s->view = g_steal_pointer(&key);
	return true;
}

static bool side_load(Side *s, const char *key, char **ret_parent, GError **error)
{
	autopb Containerd__Services__Snapshots__V1__StatSnapshotResponse *stat = NULL;
	const char *snapshotter = ctr_snapshotter(s->cli);
	if (!ctr_snapshot_stat(s->cli, snapshotter, key, &stat, error))
		return false;
	if (ret_parent != NULL)
		*ret_parent = g_strdup(stat->info->parent);
	if (stat->info->kind == CONTAINERD__SERVICES__SNAPSHOTS__V1__KIND__COMMITTED)
		return side_view(s, key, error);
	return ctr_snapshot_mounts(s->cli, snapshotter, key, &s->own, error);
}

static void side_mounts(const Side *s, size_t *ret_n, Containerd__Types__Mount ***ret)
{
	*ret_n = s->own != NULL ? s->own->n_mounts : s->viewed->n_mounts;
	*ret = s->own != NULL ? s->own->mounts : s->viewed->mounts;
}

/* With two names from the first to the second, with one from its parent to it. */
static bool load_sides(Cli *cli, Side *left, Side *right, GError **error)
{
	const char *a = cli_arg(cli, 0), *b = cli_arg(cli, 1);
	left->cli = right->cli = cli;
	if (*b != '\0')
		return side_load(left, a, NULL, error) && side_load(right, b, NULL, error);
	g_autofree char *parent = NULL;
	return side_load(right, a, &parent, error) && side_view(left, parent, error);
}

static bool diff(Cli *cli, GError **error)
{
	g_auto(Side) left = {0}, right = {0};
	if (!load_sides(cli, &left, &right, error))
		return false;
	g_autoptr(GHashTable) labels = label_words(cli_strings(cli, "label"));
	if (cli_bool(cli, "keep")) {
		g_autofree char *now = time_format_rfc3339(time_now() / NS_PER_SEC * NS_PER_SEC);
		strmap_set(labels, "containerd.io/gc.root", now);
	}
	g_autoptr(GPtrArray) entries = label_entries(
	        labels, &containerd__services__diff__v1__diff_request__labels_entry__descriptor);
	Containerd__Services__Diff__V1__DiffRequest req = CONTAINERD__SERVICES__DIFF__V1__DIFF_REQUEST__INIT;
	side_mounts(&left, &req.n_left, &req.left);
	side_mounts(&right, &req.n_right, &req.right);
	req.media_type = cli_string(cli, "media-type");
	req.ref = cli_string(cli, "ref");
	req.labels = (void *)entries->pdata;
	req.n_labels = entries->len;
	autopb Containerd__Services__Diff__V1__DiffResponse *resp = NULL;
	return ctr_call(cli, DIFF, "Diff", &req, &resp, error) &&
	       ctr_blob_copy(cli, resp->diff->digest, STDOUT_FILENO, error);
}

static bool diff_run(Cli *cli, GError **error)
{
	if (*cli_arg(cli, 0) == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "snapshot id must be provided");
	if (!ctr_lease_hold(cli, error))
		return false;
	bool ok = diff(cli, error);
	ctr_lease_release(cli);
	return ok;
}

static bool unpack(Cli *cli, GError **error)
{
	const char *digest = cli_arg(cli, 0);
	Containerd__Services__Images__V1__ListImagesRequest req =
	        CONTAINERD__SERVICES__IMAGES__V1__LIST_IMAGES_REQUEST__INIT;
	autopb Containerd__Services__Images__V1__ListImagesResponse *resp = NULL;
	if (!digest_validate(digest, error) ||
	    !ctr_call(cli, &containerd__services__images__v1__images__descriptor, "List", &req, &resp, error))
		return false;
	for (size_t i = 0; i < resp->n_images; i++) {
		g_autoptr(Descriptor) target = ctr_image_target(resp->images[i]);
		if (!g_str_equal(target->digest, digest))
			continue;
		printf("unpacking %s (%s)...", digest, target->media_type);
		g_autoptr(PlatformMatcher) matcher = platform_matcher_default();
		g_autoptr(Manifest) m = ctr_manifest(cli, target, matcher, error);
		bool ok = m != NULL &&
		          ctr_image_unpack(cli, m, ctr_snapshotter(cli), cli_bool(cli, "sync-fs"), error);
		puts(ok ? "done" : "");
		return ok;
	}
	return error_set(error, CTRD_ERR_NOT_FOUND, "manifest not found");
}

static bool unpack_run(Cli *cli, GError **error)
{
	if (!ctr_lease_hold(cli, error))
		return false;
	bool ok = unpack(cli, error);
	ctr_lease_release(cli);
	return ok;
}

static const CliFlag diff_flags[] = {
        {"media-type", FLAG_STRING, "Media type to use for creating diff",
         .value = MEDIA_TYPE_OCI_LAYER_GZIP},
        {"ref", FLAG_STRING, "Content upload reference to use"},
        {"keep", FLAG_BOOL, "Keep diff content. up to creator to delete it.", .value = "false"},
        {"label", FLAG_STRINGS, "Labels to attach to the image"},
        {0},
};
const CliCommand ctr_snapshots_diff = {
        .name = "diff",
        .usage = "Get the diff of two snapshots. the default second snapshot is the first snapshot's parent.",
        .arguments = "[flags] <idA> [<idB>]",
        .flags = {diff_flags},
        .run = diff_run,
};
static const CliFlag unpack_flags[] = {
        {"sync-fs", FLAG_BOOL,
         "Synchronize the underlying filesystem containing files when unpack images, false by default",
         .value = "false"},
        {0},
};
const CliCommand ctr_snapshots_unpack = {
        .name = "unpack",
        .usage = "Unpack applies layers from a manifest to a snapshot",
        .arguments = "[flags] <digest>",
        .flags = {unpack_flags},
        .run = unpack_run,
};
