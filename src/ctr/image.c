// SPDX-License-Identifier: Apache-2.0
#include "ctr/image.h"
#include "base/digest.h"
#include "base/fs.h"
#include "ctr/snapshots.h"
#include "ctr/util.h"
#include "oci/labels.h"
#include "oci/media-types.h"
#include "services/content/v1/content.pb-c.h"
#include "services/diff/v1/diff.pb-c.h"
#include <string.h>
#include <sys/random.h>

#define IMAGES &containerd__services__images__v1__images__descriptor
#define CONTENT &containerd__services__content__v1__content__descriptor
#define SNAPSHOTS &containerd__services__snapshots__v1__snapshots__descriptor

bool ctr_image_get(Cli *cli, const char *name, Containerd__Services__Images__V1__GetImageResponse **ret,
                   GError **error)
{
	Containerd__Services__Images__V1__GetImageRequest req =
	        CONTAINERD__SERVICES__IMAGES__V1__GET_IMAGE_REQUEST__INIT;
	req.name = name;
	return ctr_call(cli, IMAGES, "Get", &req, ret, error);
}

bool ctr_images_list(Cli *cli, Containerd__Services__Images__V1__ListImagesResponse **ret, GError **error)
{
	Containerd__Services__Images__V1__ListImagesRequest req =
	        CONTAINERD__SERVICES__IMAGES__V1__LIST_IMAGES_REQUEST__INIT;
	req.filters = (const char **)cli_args(cli);
	req.n_filters = (size_t)cli_n_args(cli);
	return ctr_call(cli, IMAGES, "List", &req, ret, error);
}

bool ctr_image_delete(Cli *cli, const char *name, bool sync, GError **error)
{
	Containerd__Services__Images__V1__DeleteImageRequest req =
	        CONTAINERD__SERVICES__IMAGES__V1__DELETE_IMAGE_REQUEST__INIT;
	req.name = name;
	req.sync = sync;
	autopb ProtobufCMessage *resp = NULL;
	return ctr_call(cli, IMAGES, "Delete", &req, &resp, error);
}

Descriptor *ctr_image_target(const Containerd__Services__Images__V1__Image *image)
{
	const Containerd__Types__Descriptor *t = image->target;
	return t != NULL ? descriptor_new(t->media_type, t->digest, t->size) : descriptor_new("", "", 0);
}

/* ---- blobs ---- */

bool ctr_blob_each(Cli *cli, const char *digest, CtrChunkFn fn, void *arg, GError **error)
{
	Containerd__Services__Content__V1__ReadContentRequest req =
	        CONTAINERD__SERVICES__CONTENT__V1__READ_CONTENT_REQUEST__INIT;
	req.digest = digest;
	g_autoptr(RpcStream) stream = ctr_stream(cli, CONTENT, "Read", RPC_SERVER_STREAM, &req, error);
	if (stream == NULL)
		return false;
	for (;;) {
		autopb Containerd__Services__Content__V1__ReadContentResponse *resp = NULL;
		if (!rpc_stream_recv(stream, &resp, error))
			return false;
		if (resp == NULL)
			return true;
		if (!fn(resp->data.data, resp->data.len, arg, error))
			return false;
	}
}

static bool collect(const void *data, size_t len, void *arg, GError **error)
{
	GString *s = arg;
	if (s->len + len > MANIFEST_MAX)
		return error_set_class(error, CTRD_ERR_RESOURCE_EXHAUSTED,
		                       "a document is larger than %zu bytes", MANIFEST_MAX);
	g_string_append_len(s, data, (gssize)len);
	return true;
}

bool ctr_blob_read(Cli *cli, const char *digest, char **ret, size_t *ret_len, GError **error)
{
	g_autoptr(GString) s = g_string_new(NULL);
	if (!ctr_blob_each(cli, digest, collect, s, error))
		return false;
	*ret_len = s->len;
	*ret = g_string_free(g_steal_pointer(&s), FALSE);
	return true;
}

static bool write_out(const void *data, size_t len, void *arg, GError **error)
{
	return fd_write_all(*(int *)arg, data, len, error);
}

bool ctr_blob_copy(Cli *cli, const char *digest, int fd, GError **error)
{
	return ctr_blob_each(cli, digest, write_out, &fd, error);
}

bool ctr_blob_exists(Cli *cli, const char *digest)
{
	Containerd__Services__Content__V1__InfoRequest req =
	        CONTAINERD__SERVICES__CONTENT__V1__INFO_REQUEST__INIT;
	req.digest = digest;
	autopb ProtobufCMessage *resp = NULL;
	return ctr_call(cli, CONTENT, "Info", &req, &resp, NULL);
}

/* ---- documents ---- */

static bool config_platform(Cli *cli, const Manifest *m, Platform *ret, GError **error)
{
	g_autoptr(ImageConfig) config = ctr_image_config(cli, m, error);
	if (config == NULL)
		return false;
	platform_copy(ret, &config->platform);
	platform_normalize(ret);
	return true;
}

Manifest *ctr_manifest(Cli *cli, const Descriptor *target, const PlatformMatcher *matcher, GError **error)
{
	g_autofree char *data = NULL;
	size_t len = 0;
	if (!ctr_blob_read(cli, target->digest, &data, &len, error))
		return NULL;
	if (!media_type_is_index(target->media_type))
		return manifest_parse(data, len, target->media_type, error);
	g_autoptr(Index) index = index_parse(data, len, target->media_type, error);
	if (index == NULL)
		return NULL;
	descriptors_filter_platform(index->manifests, matcher);
	if (!descriptors_limit_manifests(index->manifests, matcher, 0, error))
		return NULL;
	for (guint i = 0; i < index->manifests->len; i++) {
		const Descriptor *d = index->manifests->pdata[i];
		g_auto(Platform) p = {0};
		g_autoptr(Manifest) m =
		        ctr_manifest(cli, d, matcher, i + 1 == index->manifests->len ? error : NULL);
		if (m == NULL)
			continue;
		/* an entry without a platform has one in its configuration */
		if (d->platform != NULL ||
		    (config_platform(cli, m, &p, NULL) && platform_matches(matcher, &p)))
			return g_steal_pointer(&m);
	}
	if (error != NULL && *error == NULL)
		error_set_class(error, CTRD_ERR_NOT_FOUND, "no match for platform in manifest %s",
		                target->digest);
	return NULL;
}

ImageConfig *ctr_image_config(Cli *cli, const Manifest *manifest, GError **error)
{
	g_autofree char *data = NULL;
	size_t len = 0;
	if (!ctr_blob_read(cli, manifest->config.digest, &data, &len, error))
		return NULL;
	return image_config_parse(data, len, error);
}

static int by_text(gconstpointer a, gconstpointer b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_platform(GPtrArray *out, const Platform *p)
{
	char *text = platform_format(p);
	if (g_ptr_array_find_with_equal_func(out, text, g_str_equal, NULL))
		g_free(text);
	else
		g_ptr_array_add(out, text);
}

GPtrArray *ctr_image_platforms(Cli *cli, const Descriptor *target, GError **error)
{
	g_autoptr(GPtrArray) out = g_ptr_array_new_with_free_func(g_free);
	g_autofree char *data = NULL;
	size_t len = 0;
	if (!ctr_blob_read(cli, target->digest, &data, &len, error))
		return NULL;
	if (media_type_is_index(target->media_type)) {
		g_autoptr(Index) index = index_parse(data, len, target->media_type, error);
		if (index == NULL)
			return NULL;
		for (guint i = 0; i < index->manifests->len; i++) {
			const Descriptor *d = index->manifests->pdata[i];
			g_auto(Platform) p = {0};
			if (d->platform != NULL)
				platform_copy(&p, d->platform);
			else {
				g_autoptr(PlatformMatcher) any = platform_matcher_all();
				g_autoptr(Manifest) m = ctr_manifest(cli, d, any, NULL);
				if (m == NULL || !config_platform(cli, m, &p, NULL))
					continue;
			}
			platform_normalize(&p);
			/* attestations are not for any platform */
			if (!g_str_equal(str_or(p.os, "unknown"), "unknown"))
				add_platform(out, &p);
		}
	} else {
		g_auto(Platform) p = {0};
		g_autoptr(Manifest) m = manifest_parse(data, len, target->media_type, error);
		if (m == NULL || !config_platform(cli, m, &p, error))
			return NULL;
		add_platform(out, &p);
	}
	g_ptr_array_sort(out, by_text);
	return g_steal_pointer(&out);
}

/* ---- unpacking ---- */

bool ctr_image_unpacked(Cli *cli, const Manifest *manifest, const char *snapshotter, bool *ret,
                        char **ret_chain_id, GError **error)
{
	g_autoptr(ImageConfig) config = ctr_image_config(cli, manifest, error);
	if (config == NULL)
		return false;
	g_autofree char *id =
	        chain_id((const char *const *)config->diff_ids, g_strv_length(config->diff_ids));
	autopb Containerd__Services__Snapshots__V1__StatSnapshotResponse *stat = NULL;
	g_autoptr(GError) failed = NULL;
	*ret = ctr_snapshot_stat(cli, snapshotter, str_or(id, ""), &stat, &failed);
	if (!*ret && !error_is(failed, CTRD_ERR_NOT_FOUND)) {
		g_propagate_error(error, g_steal_pointer(&failed));
		return false;
	}
	if (ret_chain_id != NULL)
		*ret_chain_id = g_steal_pointer(&id);
	return true;
}

/* "extract-<nanoseconds>-<random> <chain id>", upstream's snapshots.UnpackKeyFormat. */
static char *extract_key(const char *id)
{
	uint8_t r[3] = {0};
	(void)!getrandom(r, sizeof(r), 0);
	g_autofree char *random = g_base64_encode(r, sizeof(r));
	g_strdelimit(random, "+", '-');
	g_strdelimit(random, "/", '_');
	return g_strdup_printf("extract-%d-%s %s", (int)(time_now() % NS_PER_SEC), random, id);
}

static bool apply(Cli *cli, const Descriptor *layer, size_t n_mounts, Containerd__Types__Mount **mounts,
                  const char *diff_id, bool sync_fs, GError **error)
{
	Containerd__Services__Diff__V1__ApplyRequest req =
	        CONTAINERD__SERVICES__DIFF__V1__APPLY_REQUEST__INIT;
	Containerd__Types__Descriptor d = CONTAINERD__TYPES__DESCRIPTOR__INIT;
	d.media_type = layer->media_type;
	d.digest = layer->digest;
	d.size = layer->size;
	req.diff = &d;
	req.mounts = mounts;
	req.n_mounts = n_mounts;
	req.sync_fs = sync_fs;
	autopb Containerd__Services__Diff__V1__ApplyResponse *resp = NULL;
	if (!ctr_call(cli, &containerd__services__diff__v1__diff__descriptor, "Apply", &req, &resp, error))
		return error_prefix(error, "failed to extract layer %s", diff_id);
	if (resp->applied == NULL || !g_str_equal(resp->applied->digest, diff_id))
		return error_set(error, CTRD_ERR_UNKNOWN, "wrong diff id calculated on extraction %s",
		                 Q(resp->applied != NULL ? resp->applied->digest : ""));
	return true;
}

static bool commit_layer(Cli *cli, const char *snapshotter, const char *id, const char *key, GError **error)
{
	Containerd__Services__Snapshots__V1__CommitSnapshotRequest req =
	        CONTAINERD__SERVICES__SNAPSHOTS__V1__COMMIT_SNAPSHOT_REQUEST__INIT;
	req.snapshotter = snapshotter;
	req.name = id;
	req.key = key;
	autopb ProtobufCMessage *resp = NULL;
	g_autoptr(GError) failed = NULL;
	if (ctr_call(cli, SNAPSHOTS, "Commit", &req, &resp, &failed))
		return true;
	ctr_snapshot_remove(cli, snapshotter, key, NULL);
	if (error_is(failed, CTRD_ERR_ALREADY_EXISTS))
		return true;
	g_propagate_error(error, g_steal_pointer(&failed));
	return error_prefix(error, "failed to commit snapshot %s", key);
}

static bool unpack_layer(Cli *cli, const char *snapshotter, const Descriptor *layer, const char *diff_id,
                         const char *parent, const char *id, bool sync_fs, GError **error)
{
	autopb Containerd__Services__Snapshots__V1__StatSnapshotResponse *stat = NULL;
	if (ctr_snapshot_stat(cli, snapshotter, id, &stat, NULL))
		return true;
	g_autofree char *key = extract_key(id);
	g_autoptr(GHashTable) labels = strmap_new();
	autopb Containerd__Services__Snapshots__V1__PrepareSnapshotResponse *prepared = NULL;
	g_autoptr(GError) failed = NULL;
	strmap_set(labels, "containerd.io/snapshot.ref", id);
	if (!ctr_snapshot_prepare(cli, snapshotter, key, parent, labels, &prepared, &failed)) {
		/* somebody else unpacked it, or a remote snapshotter has it */
		if (error_is(failed, CTRD_ERR_ALREADY_EXISTS))
			return true;
		g_propagate_error(error, g_steal_pointer(&failed));
		return error_prefix(error, "failed to prepare extraction snapshot %s", Q(key));
	}
	if (!apply(cli, layer, prepared->n_mounts, prepared->mounts, diff_id, sync_fs, error)) {
		ctr_snapshot_remove(cli, snapshotter, key, NULL);
		return false;
	}
	return commit_layer(cli, snapshotter, id, key, error);
}

/* The label that keeps the snapshot as long as the configuration is there. */
static bool label_config(Cli *cli, const char *digest, const char *snapshotter, const char *id,
                         GError **error)
{
	g_autoptr(GHashTable) labels = strmap_new();
	g_autofree char *key = g_strconcat(LABEL_GC_REF_SNAPSHOT, snapshotter, NULL);
	g_autofree char *path = g_strconcat("labels.", key, NULL);
	char *paths[] = {path};
	strmap_set(labels, key, id);
	g_autoptr(GPtrArray) entries =
	        label_entries(labels, &containerd__services__content__v1__info__labels_entry__descriptor);
	Containerd__Services__Content__V1__Info info = CONTAINERD__SERVICES__CONTENT__V1__INFO__INIT;
	Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
	Containerd__Services__Content__V1__UpdateRequest req =
	        CONTAINERD__SERVICES__CONTENT__V1__UPDATE_REQUEST__INIT;
	info.digest = digest;
	info.labels = (void *)entries->pdata;
	info.n_labels = entries->len;
	mask.paths = paths;
	mask.n_paths = 1;
	req.info = &info;
	req.update_mask = &mask;
	autopb ProtobufCMessage *resp = NULL;
	return ctr_call(cli, CONTENT, "Update", &req, &resp, error);
}

bool ctr_image_unpack(Cli *cli, const Manifest *manifest, const char *snapshotter, bool sync_fs,
                      GError **error)
{
	g_autoptr(ImageConfig) config = ctr_image_config(cli, manifest, error);
	if (config == NULL)
		return false;
	guint n = g_strv_length(config->diff_ids);
	if (n != manifest->layers->len)
		return error_set(error, CTRD_ERR_UNKNOWN, "mismatched image rootfs and manifest layers");
	g_auto(GStrv) ids = chain_ids((const char *const *)config->diff_ids);
	for (guint i = 0; i < n; i++) {
		if (!unpack_layer(cli, snapshotter, manifest->layers->pdata[i], config->diff_ids[i],
		                  i > 0 ? ids[i - 1] : "", ids[i], sync_fs, error))
			return false;
	}
	return n == 0 || label_config(cli, manifest->config.digest, snapshotter, ids[n - 1], error);
}
